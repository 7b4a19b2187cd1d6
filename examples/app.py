"""Serve a page: drop a clip or record one, type what is said in it, and see the prediction of the whole and of each
modality.

    python examples/app.py --model RUN            the folder of a run, or a name on the Hub
    python examples/app.py --model RUN --port 7861 --max_seconds 300 --max_megabytes 50

A clip longer than half a minute is cut at pauses of speech and shown as a timeline. Nothing is kept: an upload is
deleted when its page is closed, and all uploads when the program ends. As a Space on the Hub: this file with
`requirements.txt` beside it, and the variable MODEL.
"""

import argparse
import io
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from html import escape
from pathlib import Path

# gradio reads both when it is imported: uploads go into a folder that is removed when this process ends, and no
# analytics are sent.
UPLOADS = tempfile.TemporaryDirectory(prefix="semanticmac-app-")
os.environ["GRADIO_TEMP_DIR"] = UPLOADS.name
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

try:
    import gradio as gr
except ImportError:
    raise SystemExit("The page needs gradio; run pip install 'semanticmac[app]'.") from None
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from transformers import pipeline  # noqa: E402

import modeling_semanticmac  # noqa: E402, F401  (registers the classes)
from modeling_semanticmac.affect_results import result_words  # noqa: E402
from modeling_semanticmac.clip_sampling import MediaClip, frame_times  # noqa: E402
from modeling_semanticmac.commands.result_picture import result_bars  # noqa: E402
from modeling_semanticmac.configuration_semanticmac import SPOKEN  # noqa: E402
from modeling_semanticmac.files.picture_style import picture_style  # noqa: E402
from modeling_semanticmac.media_decoding import open_media  # noqa: E402
from modeling_semanticmac.timeline import write_timeline  # noqa: E402
from modeling_semanticmac.timeline.segments import fixed_windows  # noqa: E402
from modeling_semanticmac.timeline.speech_segments import speech_segments  # noqa: E402

LONG_SECONDS = 30.0  # a longer clip is shown as a timeline
WINDOW_SECONDS = 10.0  # of a segment, where no speech is found
FRAMES_SHOWN = 12
COLORS = {"negative": "#0072B2", "neutral": "#555555", "positive": "#D55E00"}


@dataclass(frozen=True)
class Limits:
    """The limits of what the page accepts.

    Args:
        seconds: longest clip.
        megabytes: largest file.
    """

    seconds: float = 600.0
    megabytes: int = 200


def analyse(pipe, limits: Limits, path: str | None, text: str | None) -> dict:
    """Return what the page shows of one clip.

    Returns:
        `summary` (HTML), `bars` and `timeline` (pictures or None), `frames` [(picture, caption)].

    Raises:
        ValueError (MediaError among them): the input cannot be used, in one sentence.
    """
    text = (text or "").strip() or None
    if path is None:
        if text is None:
            raise ValueError("There is neither a clip nor text: drop a video, record one, or type what is said.")
        return one_prediction(pipe, {"text": text}, [])
    if os.path.getsize(path) > limits.megabytes * 1e6:
        raise ValueError(
            f"The file has {os.path.getsize(path) / 1e6:.0f} MB; this page accepts up to {limits.megabytes}."
        )
    with open_media(path) as media:
        duration, has_picture = media.info.duration, media.info.video is not None
    if duration > limits.seconds:
        raise ValueError(f"The clip lasts {duration:.0f} s; this page accepts up to {limits.seconds:.0f} s.")
    frames = frames_used(pipe.processor, path) if has_picture else []
    if duration <= LONG_SECONDS:
        return one_prediction(pipe, {"video": path, "text": text}, frames)
    notes = ["text: it has no times, so segments are predicted without it"] if text else []
    return {**over_time(pipe, path, notes), "bars": None, "frames": frames}


def one_prediction(pipe, clip: dict, frames: list) -> dict:
    """Return what the page shows of a short clip."""
    result = pipe(clip)
    return {"summary": summary(result), "bars": picture(result_bars(result)), "frames": frames, "timeline": None}


@torch.no_grad()
def frames_used(processor, path: str) -> list[tuple[Image.Image, str]]:
    """Return some of the frames that the model sees, evenly spaced, each with its time."""
    with MediaClip(path) as clip:
        times = frame_times(clip.duration, processor.frames_per_second, processor.num_frames)
        number = min(len(times), FRAMES_SHOWN)
        shown = [times[(2 * index + 1) * len(times) // (2 * number)] for index in range(number)]
        frames = [frame for part in clip.iter_frames(shown, 1) for frame in part]  # uint8 (3, H, W) each
    pictures = [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in frames]
    for image in pictures:
        image.thumbnail((480, 480))
    return [(image, f"{time:.1f} s") for image, time in zip(pictures, shown)]


def over_time(pipe, path: str, notes: list[str]) -> dict:
    """Return the timeline of a long clip, cut at pauses of speech or, without speech, into fixed windows."""
    with tempfile.TemporaryDirectory(dir=UPLOADS.name) as folder:
        with open_media(path) as media:
            segments = list(speech_segments(media)) if media.info.audio is not None else []
            segments = segments or fixed_windows(media.info.duration, WINDOW_SECONDS)
        write_timeline(pipe, path, segments, folder)
        lines = (Path(folder) / "timeline.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if "error" not in row]
        if not rows:
            raise ValueError("No segment of the clip can be used; try another clip.")
        if len(rows) < len(lines):
            notes = [*notes, f"segments: {len(lines) - len(rows)} of {len(lines)} cannot be used"]
        return {"summary": timeline_summary(rows, notes), "timeline": opened(Path(folder) / "timeline.png")}


def picture(figure) -> Image.Image:
    """Return a figure as the picture that the package would write."""
    png = io.BytesIO()
    with picture_style():
        figure.savefig(png, format="png")
    return opened(png)


def opened(png: Path | io.BytesIO) -> Image.Image:
    with Image.open(png) as image:
        return image.convert("RGB")


def headline(result: dict) -> tuple[str, str]:
    """Return the prediction in words, and its colour."""
    if "range" in result:
        low, high = result["range"]
        return f"{result_words(result)} on a scale from {low:g} to {high:g}", COLORS[result["polarity"]]
    return result_words(result, ".0%"), "#000000"


def summary(result: dict) -> str:
    """Return the prediction, the modalities used, and what was missing, as HTML."""
    used = ", ".join(SPOKEN[name] for name in result["modalities"])
    media = result["media"] or {"missing": {}, "notes": []}
    notes = [f"{SPOKEN[name]}: {reason}" for name, reason in media["missing"].items()]
    if "text" not in result["modalities"]:
        notes.append("text: none was given")
    return card(
        result["task"], *headline(result), f"Made from: {used}.", notes + media["notes"] + result.get("notes", [])
    )


def timeline_summary(rows: list[dict], notes: list[str]) -> str:
    """Return the summary of all segments as HTML."""
    contradicting = sum(bool(row["contradictions"]) for row in rows)
    more = f"{len(rows)} segments, {contradicting} with modalities that contradict each other."
    if "range" in rows[0]:
        scores = [row["score"] for row in rows]
        words = f"{statistics.fmean(scores):+.2f} on average, from {min(scores):+.2f} to {max(scores):+.2f}"
    else:
        labels = Counter(label for row in rows for label in ([row["label"]] if "label" in row else row["labels"]))
        words = ", ".join(f"{label} in {count}" for label, count in labels.most_common(3)) or "none of the labels"
    return card(rows[0]["task"], words, "#000000", more, notes)


def card(task: str, words: str, color: str, more: str, notes: list[str]) -> str:
    """Return the HTML of a result, with everything in it escaped."""
    lines = [
        f"<p>{escape(task.capitalize())}</p>",
        f'<p style="font-size:1.6em;font-weight:600;color:{color}">{escape(words)}</p>',
        f"<p>{escape(more)}</p>",
    ]
    if notes:
        lines.append("<p>Missing or odd: " + "; ".join(map(escape, notes)) + ".</p>")
    return '<div class="result">' + "".join(lines) + "</div>"


def build(pipe, limits: Limits) -> gr.Blocks:
    """Build the page of a pipeline."""
    uploads: dict[str | None, set[Path]] = defaultdict(set)  # of each open page

    def show(path: str | None, text: str | None, request: gr.Request):
        if path is not None:
            uploads[request.session_hash].add(Path(path).parent)
        try:
            found = analyse(pipe, limits, path, text)
        except ValueError as error:
            # A message names the file without its folder on this machine.
            raise gr.Error(
                str(error).replace(path, Path(path).name) if path else str(error), duration=None, print_exception=False
            ) from error
        names = ("bars", "timeline", "frames")
        return found["summary"], *(gr.update(value=found[name] or None, visible=bool(found[name])) for name in names)

    def forget(request: gr.Request):
        for folder in uploads.pop(request.session_hash, ()):
            shutil.rmtree(folder, ignore_errors=True)

    task = pipe.model.config.task_name
    # Pictures that were shown, and what a page left that was never closed, go after half an hour.
    with gr.Blocks(title=f"SemanticMAC: {task}", delete_cache=(300, 1800)) as page:
        gr.Markdown(
            "# What does this clip express?\nDrop a video of a person speaking, or record one. The model predicts "
            f"**{escape(task)}** from words, voice and "
            f"picture, and says what each of them says alone. Up to {limits.seconds:.0f} s and {limits.megabytes} MB. "
            "Nothing is kept."
        )
        with gr.Row(equal_height=False):
            with gr.Column(scale=2):
                clip = gr.Video(label="Clip", sources=["upload", "webcam"], elem_id="clip")
                text = gr.Textbox(label="What is said (optional)", lines=2, elem_id="words")
                button = gr.Button("Predict", variant="primary", elem_id="predict")
            with gr.Column(scale=3):
                result = gr.HTML("<p>The prediction appears here.</p>", elem_id="result")
                bars = gr.Image(label="Alone and together", visible=False, buttons=["download"], elem_id="bars")
        timeline = gr.Image(label="Over time", visible=False, buttons=["download"], elem_id="timeline")
        gallery = {"columns": 6, "height": "auto", "visible": False, "buttons": [], "elem_id": "frames"}
        frames = gr.Gallery(label="Frames that the model saw", **gallery)
        gr.Markdown(
            "This is a model's estimate, not a fact about a person: do not base decisions about people on it. "
            "Tell people who are recorded that a model rates them: in the European Union the AI Act, Article 50, "
            "asks for it."
        )
        button.click(show, [clip, text], [result, bars, timeline, frames], concurrency_limit=1, api_name="predict")
        page.unload(forget)
    return page


def main(argv: list[str] | None = None) -> None:
    """Serve the page until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        default=os.environ.get("MODEL"),
        help="folder of a run or a checkpoint, or name on the Hub (default: the variable MODEL)",
    )
    parser.add_argument("--device", help="e.g. cuda; default: a GPU where there is one")
    parser.add_argument("--host", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, help="default: the first free port from 7860 on")
    parser.add_argument("--max_seconds", type=float, default=Limits.seconds, help="longest clip")
    parser.add_argument("--max_megabytes", type=int, default=Limits.megabytes, help="largest file")
    args = parser.parse_args(argv)
    if args.model is None:
        parser.error("give --model, or set the variable MODEL")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # exit in order, which removes the uploads
    pipe = pipeline("video-affect", model=args.model, device=args.device)
    limits = Limits(args.max_seconds, args.max_megabytes)
    page = build(pipe, limits)
    page.queue(max_size=20)
    page.launch(
        server_name=args.host,
        server_port=args.port,
        max_file_size=f"{limits.megabytes}mb",
        show_error=True,
        footer_links=[],
    )


if __name__ == "__main__":
    main()
