"""The page itself: its fields, and what happens at each of them."""

import tempfile
from pathlib import Path

import gradio as gr

from ..pipeline_semanticmac import SemanticMACPipeline
from .analysis import Limits, analyse, arrival_html
from .example_clips import EXAMPLE_CLIPS, write_example_clips
from .live_tab import add_live_tab
from .notices import introduction, notice_html, responsible_use
from .result_html import block, note_html
from .uploads import Uploads, without_folders

STYLE = Path(__file__).with_name("page.css")
EMPTY = block('<p class="smac-empty">The prediction appears here.</p>')
WELCOME = note_html("Drop a clip, record one, or try an example.")
SUBTITLE_KINDS = [".srt", ".vtt", ".sbv", ".ass", ".ttml", ".lrc", ".json"]
DELETE_EVERY, DELETE_AFTER = 300, 1800  # seconds: what a page left that was never closed goes after half an hour


def build_page(pipe: SemanticMACPipeline, limits: Limits, lock) -> gr.Blocks:
    """Return the page of a pipeline, to be served with `STYLE`.

    Args:
        pipe: the pipeline.
        limits: of what the page accepts.
        lock: held while the pipeline predicts, which does one thing at a time.
    """
    clips = ClipFields(pipe, limits, Uploads(), lock)
    task = pipe.model.config.task_name
    with gr.Blocks(title=f"SemanticMAC: {task}", delete_cache=(DELETE_EVERY, DELETE_AFTER)) as page:
        gr.Markdown(introduction(task, limits))
        with gr.Tabs():
            with gr.Tab("A clip"):
                clips.add()
            with gr.Tab("Live"):
                add_live_tab(pipe)
        gr.HTML(notice_html(pipe.model.config))
        with gr.Accordion("Responsible use", open=False, elem_id="responsible-use"):
            gr.Markdown(responsible_use())
        page.unload(clips.forget)
    return page


class ClipFields:
    """The fields of a recorded clip: video or sound, subtitles, words, and the result.

    Args:
        pipe: the pipeline.
        limits: of the page.
        uploads: who holds which upload.
        lock: held while the pipeline predicts, which does one thing at a time.
    """

    def __init__(self, pipe: SemanticMACPipeline, limits: Limits, uploads: Uploads, lock):
        self.pipe, self.limits, self.uploads, self.lock = pipe, limits, uploads, lock
        self._folder = tempfile.TemporaryDirectory(prefix="semanticmac-examples-")
        self.examples = write_example_clips(self._folder.name)

    def add(self) -> None:
        """Add the fields to the page that is being built."""
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=300):
                with gr.Tabs():
                    with gr.Tab("Video"):
                        video = gr.Video(label="Video", sources=["upload", "webcam"], elem_id="video")
                    with gr.Tab("Sound"):
                        sound = gr.Audio(
                            label="Sound", sources=["upload", "microphone"], type="filepath", elem_id="sound"
                        )
                note = gr.HTML(WELCOME, elem_id="note")
                with gr.Row():
                    buttons = [
                        gr.Button(f"Example: {clip.name}", size="sm", elem_id=f"example-{number}")
                        for number, clip in enumerate(EXAMPLE_CLIPS)
                    ]
                words = gr.Textbox(label="What is said (optional)", lines=2, elem_id="words")
                subtitles = gr.File(
                    label="Subtitles (optional)",
                    file_types=SUBTITLE_KINDS,
                    height=140,
                    elem_id="subtitles",
                )
                button = gr.Button("Predict", variant="primary", elem_id="predict")
            with gr.Column(scale=3, min_width=300):
                result = gr.HTML(EMPTY, elem_id="result")
        done = gr.State(False)  # whether the words and subtitles belong to a clip that was predicted
        private = {"show_progress": "hidden", "api_visibility": "private"}
        for field, other in ((video, sound), (sound, video)):
            # A clip that is dropped while the last one is still being told about must not be passed over.
            inputs, outputs = [field, done], [note, result, other, words, subtitles, done]
            events, mode = [field.input, field.stop_recording, field.clear], "always_last"
            gr.on(events, self.arrive, inputs, outputs, trigger_mode=mode, **private)
        gr.on([subtitles.upload], self.hold, subtitles, None, **private)
        fields = [video, sound, words, subtitles]
        for number, example in enumerate(buttons):
            example.click(lambda n=number: self.example(n), None, [*fields, note, result, done], **private)
        # On a phone the result lies below the fields.
        show = "() => document.querySelector('#result').scrollIntoView({behavior: 'smooth', block: 'nearest'})"
        button.click(
            self.predict, fields, [result, done], concurrency_limit=1, api_name="predict",
            api_description="Predict one clip: a video or sound file, the words, subtitles. Returns HTML.",
        ).success(None, js=show)  # fmt: skip

    def arrive(self, path: str | None, done: bool, request: gr.Request) -> tuple:
        """Take note of a clip that was dropped or recorded, or of an empty field: old results vanish, and the words and
        subtitles of a clip that was predicted before.

        Returns:
            The note, the empty result, what the other field, of video or sound, holds now, the words, the subtitles,
            and False.
        """
        self.uploads.hold(request.session_hash, path)
        if path is None:
            return WELCOME, EMPTY, gr.skip(), gr.skip(), gr.skip(), gr.skip()
        words, subtitles = ("", None) if done else (gr.skip(), gr.skip())
        return arrival_html(self.limits, path), EMPTY, None, words, subtitles, False

    def hold(self, path: str | None, request: gr.Request) -> None:
        """Keep an upload until its visitor leaves."""
        self.uploads.hold(request.session_hash, path)

    def forget(self, request: gr.Request) -> None:
        """Delete the uploads of a visitor who has left."""
        self.uploads.leave(request.session_hash)

    def example(self, number: int) -> tuple:
        """Return the fields of an example clip, its note, an empty result, and that the words belong to it."""
        path = str(self.examples[number])
        return path, None, EXAMPLE_CLIPS[number].text, None, arrival_html(self.limits, path), EMPTY, True

    def predict(
        self, video: str | None, sound: str | None, words: str | None, subtitles: str | None, request: gr.Request
    ) -> tuple[str, bool]:
        """Return the result of the clip that is there, as HTML, and that its words have been used."""
        path = video or sound
        for given in (path, subtitles):
            self.uploads.hold(request.session_hash, given)
        try:
            with self.lock:
                return analyse(self.pipe, self.limits, path, words, subtitles), True
        except ValueError as error:
            sentence = without_folders(str(error), path, subtitles)
            raise gr.Error(sentence, duration=None, print_exception=False) from error


__all__ = ["STYLE", "ClipFields", "build_page"]
