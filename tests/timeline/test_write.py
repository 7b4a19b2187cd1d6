"""Timelines: rows against the pipeline clip by clip, resuming, contradictions, table, subtitles, plot, speech."""

import csv
import json
from collections import Counter

import pytest
from transformers import pipeline

from modeling_semanticmac import media_decoding
from modeling_semanticmac.files.row_file import RowFile
from modeling_semanticmac.media_decoding import open_media
from modeling_semanticmac.media_pyav import _Stream
from modeling_semanticmac.timeline import write_timeline
from modeling_semanticmac.timeline.picture import CONTRADICTING, UNUSABLE, timeline_picture
from modeling_semanticmac.timeline.rows import contradictions, make_row, subtitle, table_columns, table_row
from modeling_semanticmac.timeline.segments import Segment, fixed_windows
from modeling_semanticmac.timeline.speech_recognition import recognized_segments
from modeling_semanticmac.timeline.transcripts import read_transcript
from tests.helpers.media_files import babble, write_media
from tests.helpers.timelines import FILES, Recognizer
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint

SPEECH = [(1.0, 3.0), (4.0, 5.5), (7.0, 9.0)]
SEGMENTS = [
    Segment(1.0, 3.0, "good day"),
    Segment(4.0, 5.5, "bad talk"),
    Segment(5.0, 7.0, None),
    Segment(7.0, 9.0, "fine"),
    Segment(20.0, 21.0, None),
]


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    checkpoint = save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return pipeline("video-affect", model=str(checkpoint), device="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """10 s; speech at 1-3, 4-5.5 and 7-9 s."""
    return write_media(tmp_path_factory.mktemp("media") / "talk.mp4", 10.0, sound=babble(SPEECH))


@pytest.fixture(scope="module")
def whole(pipe, video, tmp_path_factory):
    """The folder of a timeline that was never stopped, and what was returned."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, write_timeline(pipe, video, SEGMENTS, folder, batch_size=2)


class Watched:
    """A pipeline that counts its clips, and is stopped before one of them."""

    def __init__(self, pipe, stop_before=None):
        self.pipe, self.model, self.processor = pipe, pipe.model, pipe.processor
        self.stop_before, self.clips = stop_before, []

    def __call__(self, clips, **options):
        return self.pipe((self._watch(clip) for clip in clips), **options)

    def _watch(self, clip):
        if len(self.clips) == self.stop_before:
            raise KeyboardInterrupt
        self.clips.append((clip["start"], clip["end"]))
        return clip


def rows_of(folder):
    return [json.loads(line) for line in (folder / "timeline.jsonl").read_text().splitlines()]


# Rows


def test_rows_are_the_results_of_the_clips_one_by_one(pipe, video, whole):
    folder, summary = whole
    rows = rows_of(folder)
    assert [(row["start"], row["end"], row["text"]) for row in rows] == [(s.start, s.end, s.text) for s in SEGMENTS]
    for row, segment in zip(rows[:4], SEGMENTS):
        alone = pipe({"video": str(video), "start": segment.start, "end": segment.end, "text": segment.text})
        assert row["score"] == pytest.approx(alone["score"], abs=1e-5)
        assert {name: view["polarity"] for name, view in row["subtasks"].items()} == {
            name: view["polarity"] for name, view in alone["subtasks"].items()
        }
        assert row["modalities"] == ["text", "audio", "vision"][segment.text is None :]
    assert rows[4] == {"start": 20.0, "end": 21.0, "text": None, "error": rows[4]["error"]}
    assert "the cut begins at 20 s but the file ends at 10" in rows[4]["error"]
    assert summary["segments"] == 5 and summary["unusable"] == 1 and summary["task"] == "sentiment"
    assert summary == json.loads((folder / "timeline.json").read_text())
    assert sorted(path.name for path in folder.iterdir()) == FILES


def test_segments_are_taken_as_they_are_needed(pipe, video, tmp_path):
    ahead, rows = [], RowFile(tmp_path / "timeline.jsonl")

    def watched():
        for number, segment in enumerate(fixed_windows(10.0, 1.0)):
            ahead.append(number - sum(1 for _ in rows.read()))
            yield segment

    write_timeline(pipe, video, watched(), tmp_path, batch_size=2)
    assert len(ahead) == 10 and max(ahead) <= 3


def test_no_segment_is_an_error(pipe, video, tmp_path):
    with pytest.raises(ValueError, match="there is no segment to predict"):
        write_timeline(pipe, video, [], tmp_path)


# Stopping and resuming


@pytest.mark.parametrize("half_line", [b"", b'{"start": 5.0, "en'])
def test_a_stopped_run_goes_on_and_gives_the_same_files(pipe, video, whole, tmp_path, half_line):
    stopped = Watched(pipe, stop_before=2)
    with pytest.raises(KeyboardInterrupt):
        write_timeline(stopped, video, SEGMENTS, tmp_path, batch_size=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["timeline.json", "timeline.jsonl.partial"]
    with open(tmp_path / "timeline.jsonl.partial", "ab") as file:
        file.write(half_line)
    resumed = Watched(pipe)
    write_timeline(resumed, video, SEGMENTS, tmp_path, batch_size=2)
    assert resumed.clips == [(s.start, s.end) for s in SEGMENTS[2:]]
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (whole[0] / name).read_bytes(), name
    again = Watched(pipe)
    write_timeline(again, video, SEGMENTS, tmp_path, batch_size=2)
    assert again.clips == []


def test_a_folder_of_another_timeline_is_left_alone(pipe, video, whole, tmp_path):
    folder = whole[0]
    other_video = write_media(tmp_path / "other.mp4", 2.0)
    before = {name: (folder / name).read_bytes() for name in FILES}
    cases = [
        (other_video, SEGMENTS, "with different video: .*'talk.mp4'.*, now .*'other.mp4'"),
        (video, [Segment(0.0, 1.0), *SEGMENTS[1:]], "goes on from 1 s to 3 s at the segment from 0 s to 1 s"),
        (video, [*SEGMENTS, Segment(22.0, 23.0)], "ends before the segment from 22 s to 23 s"),
        (video, SEGMENTS[:3], "a timeline of more segments"),
        (
            video,
            [Segment(1.0, 3.0, "good night"), *SEGMENTS[1:]],
            "a timeline of other words: from 1 s to 3 s it has 'good day', now there is 'good night'; choose",
        ),
    ]
    for path, segments, message in cases:
        with pytest.raises(ValueError, match=message):
            write_timeline(pipe, path, segments, folder)
    with pytest.raises(ValueError, match="different modalities: .*.vision.., now ..text., .audio.."):
        write_timeline(pipe, video, SEGMENTS, folder, modalities=["audio", "text"])
    settings = json.loads(before["timeline.json"])
    settings["model"] = {"name_or_path": "elsewhere", "weights_hash": "other"}
    (tmp_path / "timeline.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="with different model: .*'elsewhere'.*, now "):
        write_timeline(pipe, video, SEGMENTS, tmp_path)
    assert {name: (folder / name).read_bytes() for name in FILES} == before


@pytest.mark.parametrize("hop", [2.0, 1.0], ids=["one behind the other", "overlapping"])
def test_a_file_without_key_frames_is_decoded_in_one_pass(pipe, tmp_path, monkeypatch, hop):
    """A browser's recording has one key frame: from it every frame before a segment would be decoded again."""
    video = write_media(tmp_path / "recording.mkv", 20.0, rate=10, sound=babble(SPEECH), codec_options={"g": "1000"})
    monkeypatch.setattr(media_decoding, "decoding_backend", lambda: "pyav")
    monkeypatch.setattr(media_decoding, "WORTH_A_READER", 20)  # frames; in so short a file going back costs little
    decoded, decode = Counter(), _Stream._decode

    def counted(stream, packets):
        for frame in decode(stream, packets):
            decoded[type(stream).__name__] += 1
            yield frame

    monkeypatch.setattr(_Stream, "_decode", counted)
    segments = list(fixed_windows(20.0, 2.0, hop))
    write_timeline(pipe, video, segments, tmp_path / "out", batch_size=3)
    overlap = 2.0 / hop
    assert 190 <= decoded["PyAVFrames"] <= 230 * overlap  # of 200; 1,100 and more where each starts at the key frame
    packets = 20.0 * 16000 / 1024
    assert decoded["PyAVSound"] <= 3 * packets * overlap  # a second before and after each segment is decoded too
    rows = rows_of(tmp_path / "out")
    for row in rows[:: len(rows) - 1]:
        alone = pipe({"video": str(video), "start": row["start"], "end": row["end"]})
        assert row["score"] == pytest.approx(alone["score"], abs=1e-5) and row["media"] == alone["media"]


# Contradictions


def score(value):
    return {"score": value, "polarity": "positive" if value > 0.5 else "negative" if value < -0.5 else "neutral"}


def one_of(label, probability):
    return {"label": label, "score": probability, "probabilities": {"no": 1 - probability, "yes": probability}}


def several(*labels):
    probabilities = {name: 0.9 if name in labels else 0.1 for name in EMOTIONS.label_names}
    return {"labels": list(labels), "probabilities": probabilities}


@pytest.mark.parametrize(
    ("text", "audio", "vision", "expected"),
    [
        (score(1.0), score(-1.0), score(0.0), [["text", "audio"]]),
        (score(1.0), score(0.4), score(-0.4), []),
        (score(-2.0), score(-1.0), score(0.6), [["text", "vision"], ["audio", "vision"]]),
        (score(-2.0), None, score(0.6), [["text", "vision"]]),
        (one_of("no", 0.5), one_of("yes", 0.9), one_of("no", 0.49), [["text", "audio"]]),
        (one_of("no", 0.9), one_of("no", 0.9), None, []),
        (several("happy"), several("sad", "angry"), several("sad"), [["text", "audio"], ["text", "vision"]]),
        (several("happy", "sad"), several("sad"), several(), []),
    ],
)
def test_contradictions(text, audio, vision, expected):
    views = {"shared": score(-3.0), "text": text, "audio": audio, "vision": vision}
    assert contradictions({name: view for name, view in views.items() if view}) == expected


# Table and subtitles


def result(own, text, audio, notes=()):
    media = {"path": "a.mp4", "missing": {"vision": "no video stream"}, "notes": list(notes)}
    subtasks = {"shared": own, "text": text, "audio": audio}
    return {"task": "t", **own, "subtasks": subtasks, "modalities": ["text", "audio"], "media": media}


TASKS = {
    "score": (SENTIMENT, result(score(0.2), score(1.0), score(-1.25), ["damaged packets"])),
    "one": (SARCASM, result(one_of("yes", 0.75), one_of("no", 0.5), one_of("yes", 0.875))),
    "several": (EMOTIONS, result(several("happy", "sad"), several("happy"), several())),
}


@pytest.mark.parametrize(
    ("kind", "cells", "words"),
    [
        (
            "score",
            {
                "start": 1.0, "end": 2.5, "text": "so", "score": 0.2, "polarity": "neutral", "score_shared": 0.2,
                "score_text": 1.0, "score_audio": -1.25, "score_vision": None, "modalities": "text|audio",
                "contradictions": "words against voice",
                "notes": "damaged packets; no vision: no video stream", "error": None,
            },
            "so\n[neutral +0.20]\n[words: positive +1.00, voice: negative -1.25]",
        ),
        (
            "one",
            {
                "start": 1.0, "end": 2.5, "text": "so", "label": "yes", "probability_no": 0.25,
                "probability_yes": 0.75, "label_shared": "yes",
                "label_text": "no", "label_audio": "yes", "label_vision": None, "modalities": "text|audio",
                "contradictions": "words against voice",
                "notes": "no vision: no video stream", "error": None,
            },
            "so\n[yes 75%]\n[words: no 50%, voice: yes 88%]",
        ),
        (
            "several",
            {
                "start": 1.0, "end": 2.5, "text": "so", "labels": "happy|sad", "probability_happy": 0.9,
                "probability_sad": 0.9, "probability_angry": 0.1,
                "labels_shared": "happy|sad", "labels_text": "happy", "labels_audio": "",
                "labels_vision": None, "modalities": "text|audio",
                "contradictions": "", "notes": "no vision: no video stream", "error": None,
            },
            "so\n[happy 90%, sad 90%]",
        ),
    ],
)  # fmt: skip
def test_rows_of_every_kind_of_task_as_table_and_subtitle(kind, cells, words):
    task, found = TASKS[kind]
    row = make_row(Segment(1.0, 2.5, "so"), found)
    assert dict(zip(table_columns(task), table_row(row, task), strict=True)) == cells
    assert subtitle(row) == Segment(1.0, 2.5, words)
    failed = make_row(Segment(1.0, 2.5), {"error": "a.mp4: none; look.", "media": "a.mp4"})
    failed_cells = dict(zip(table_columns(task), table_row(failed, task), strict=True))
    filled = {name: value for name, value in failed_cells.items() if value is not None}
    assert filled == {"start": 1.0, "end": 2.5, "error": "a.mp4: none; look."}
    assert subtitle(failed).text == "[no prediction]"


def test_table_and_subtitles_of_a_video_can_be_read(whole):
    folder, rows = whole[0], rows_of(whole[0])
    with open(folder / "timeline.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["score"]) for row in table[:4]] == [row["score"] for row in rows[:4]]
    assert table[4]["error"] == rows[4]["error"] and table[2]["text"] == ""
    for ending in ("srt", "vtt"):
        cues = read_transcript(folder / f"timeline.{ending}")
        assert [(cue.start, cue.end) for cue in cues] == [(s.start, s.end) for s in SEGMENTS]
        assert cues[0].text.startswith(f"good day [{rows[0]['polarity']} {rows[0]['score']:+.2f}]")


# Plot


def boxes(collection):
    """(left, bottom, right, top) of each rectangle."""
    return [tuple(path.get_extents().extents) for path in collection.get_paths()]


def spans(collection):
    return [(box[0], box[2]) for box in boxes(collection)]


def test_scores_over_time(tmp_path):
    rows = [
        make_row(Segment(1.0, 2.5), result(score(2.0), score(1.0), score(-5.0))),
        make_row(Segment(3.0, 4.0), result(score(-1.0), score(0.0), score(0.0))),
        make_row(Segment(4.0, 6.0), {"error": "none."}),
    ]
    figure = timeline_picture(rows, SENTIMENT, 10.0)
    axes = figure.axes
    assert [axis.get_title(loc="left") for axis in axes] == [
        "sentiment, all together", "words alone", "voice alone", "contradictions: one positive, the other negative"
    ]  # fmt: skip
    assert boxes(axes[0].collections[0]) == [(1.0, 0.0, 2.5, 2.0), (3.0, -1.0, 4.0, 0.0)]
    # A score below the range ends at its edge.
    assert boxes(axes[2].collections[0]) == [(1.0, -3.0, 2.5, 0.0), (3.0, 0.0, 4.0, 0.0)]
    assert axes[0].get_ylim() == (-3.0, 3.0) and axes[0].get_xlim() == (0.0, 10.0)
    assert [label.get_text() for label in axes[3].get_yticklabels()] == ["words / voice"]
    contradicting, unusable = axes[3].collections
    assert spans(contradicting) == [(1.0, 2.5)] and spans(unusable) == [(4.0, 6.0)]
    assert [patch.get_label() for patch in figure.legends[0].get_patches()] == ["no prediction"]
    assert CONTRADICTING != UNUSABLE


@pytest.mark.parametrize(("kind", "stripes"), [("one", ["yes", "no"]), ("several", ["happy"])])
def test_classes_over_time(kind, stripes):
    task, found = TASKS[kind]
    figure = timeline_picture([make_row(Segment(60.0, 90.0), found)], task, 3600.0)
    shades, said, contradicting = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
    assert [label.get_text() for label in shades.get_yticklabels()] == list(reversed(task.label_names))
    assert len(shades.collections) == task.num_labels and spans(shades.collections[0]) == [(60.0, 90.0)]
    colors = {patch.get_label(): patch.get_facecolor() for patch in figure.legends[0].get_patches()}
    assert list(colors) == list(task.label_names)
    # From the lowest row: voice, then words.
    found = [tuple(color) for lane in said.collections for color in lane.get_facecolor()]
    assert found == [colors[name] for name in stripes]
    assert sum(len(spans(part)) for part in contradicting.collections) == (kind == "one")
    assert contradicting.get_xlabel() == "time (h:min)"
    assert contradicting.xaxis.get_major_formatter()(3900, 0) == "1:05"


def test_a_timeline_without_any_prediction_is_drawn():
    figure = timeline_picture([make_row(Segment(0.0, 1.0), {"error": "none."})], SENTIMENT, 1.0)
    assert len(figure.axes) == 1 and spans(figure.axes[0].collections[-1]) == [(0.0, 1.0)]


def test_many_scores_have_a_line_of_their_means():
    # (0.25 * 2 + 0.25 * 2 - 0.25 + 0.125 - 0.125) / 1 in each of 60 s, but for the second.
    each = ((0.0, 0.25, 2.0), (0.25, 0.25, 2.0), (0.5, 0.25, -1.0), (0.5, 0.125, 1.0), (0.8, 0.125, -1.0))
    rows = [
        make_row(Segment(second + at, second + at + width), result(score(value), score(value / 2), score(0.0)))
        for second in range(60)
        if second != 1
        for at, width, value in each
    ]
    axes = timeline_picture(rows, SENTIMENT, 60.0).axes
    times, means = axes[0].lines[0].get_data()
    assert list(times) == [second + 0.5 for second in range(60)]
    assert means[1] != means[1] and [*means[:1], *means[2:]] == pytest.approx([0.75] * 59)
    assert axes[1].lines[0].get_ydata()[0] == pytest.approx(0.375)
    assert axes[0].get_title(loc="left") == "sentiment, all together; lines: means of 1 s"


# Recognised words


def recognize(video, recognizer, folder, name="fake"):
    with open_media(video, "pyav") as media:
        return list(recognized_segments(recognizer, name, media, RowFile(folder / "words.jsonl")))


def test_recognized_words_have_the_times_of_the_video(video, tmp_path):
    recognizer = Recognizer()
    found = recognize(video, recognizer, tmp_path)
    assert len(recognizer.heard) == 3 and recognizer.heard[1] == pytest.approx(1.7, abs=0.05)
    assert recognizer.options == [{"return_timestamps": True}] * 3
    start, end = 3.9, 5.6
    expected = [
        (start, start + 0.5, "call 2 begins."),
        (start + 0.5, end, "goes on."),
        (start + 1.0, start + 1.0, "turns back."),
        (start + 1.5, end, "and ends."),
    ]
    for segment, (begin, stop, text) in zip(found[4:8], expected, strict=True):
        assert segment.text == text and (segment.start, segment.end) == pytest.approx((begin, stop), abs=0.05)


@pytest.mark.parametrize(("kind", "options"), [("ctc", {"return_timestamps": "word"}), ("seq2seq", {})])
def test_other_kinds_of_recognizers(video, tmp_path, kind, options):
    recognizer = Recognizer(kind)
    found = recognize(video, recognizer, tmp_path)
    assert recognizer.options[0] == options
    if not options:
        assert [segment.text for segment in found] == ["all of it"] * 3


def test_what_was_recognized_is_not_recognized_again(video, tmp_path):
    whole, recognizer = recognize(video, Recognizer(), tmp_path / "whole"), Recognizer()
    with open_media(video, "pyav") as media:
        segments = recognized_segments(recognizer, "fake", media, RowFile(tmp_path / "words.jsonl"))
        first = next(segments)
        segments.close()
    assert first == whole[0] and len(recognizer.heard) == 1
    assert recognize(video, recognizer, tmp_path) == whole and len(recognizer.heard) == 3
    assert recognize(video, recognizer, tmp_path) == whole and len(recognizer.heard) == 3
    with pytest.raises(ValueError, match="words that fake recognised"):
        recognize(video, recognizer, tmp_path, name="another")
