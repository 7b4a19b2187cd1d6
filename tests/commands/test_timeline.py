"""Test `semanticmac timeline`: segments from each source, and its error messages."""

import json

import pytest

from modeling_semanticmac.commands import timeline as timeline_command
from modeling_semanticmac.hub.responsible_use import NOTICE
from semanticmac import main
from tests.helpers.media_files import babble, write_media
from tests.helpers.timelines import FILES, Recognizer
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint")))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Write a video of 6 s with speech at 1-2.5 and 4-5 s."""
    sound = babble([(1.0, 2.5), (4.0, 5.0)])
    return write_media(tmp_path_factory.mktemp("media") / "talk.mp4", 6.0, sound=sound)


def run(capsys, *arguments):
    """Return (exit code, standard output, standard error) of the command."""
    code = main(["predict", *(str(argument) for argument in arguments), "--device", "cpu"])
    return code, *capsys.readouterr()


SOURCES = {
    "transcript": (["--transcript", "talk.srt"], [(1.0, 2.5, "good day"), (4.0, 5.0, "bad")]),
    "pauses": (["--pauses"], [(0.9, 2.6, None), (3.9, 5.1, None)]),
    "window": (["--window", "4"], [(0.0, 4.0, None), (4.0, 6.0, None)]),
    "hop": (["--window", "4", "--hop", "1.5"], [(0.0, 4.0, None), (1.5, 5.5, None), (3.0, 6.0, None)]),
    "asr": (
        ["--asr", "whisper"],
        [(0.9, 1.4, "call 1 begins."), (1.4, 2.6, "goes on."), (1.9, 1.9, "turns back."), (2.4, 2.6, "and ends.")],
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_segments_from_each_source(capsys, monkeypatch, model, video, tmp_path, source):
    cues = ("00:00:01,000 --> 00:00:02,500\ngood day\n", "00:00:04,000 --> 00:00:05,000\nbad\n")
    (tmp_path / "talk.srt").write_text("\n".join(f"{number}\n{cue}" for number, cue in enumerate(cues, start=1)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(timeline_command, "load_recognizer", lambda name, device: Recognizer())
    arguments, expected = SOURCES[source]
    options = ["--batch_size", "3", *(["--modalities", "text", "audio"] if source == "transcript" else [])]
    code, out, _ = run(capsys, video, "--model", model, "--timeline", "out", *options, *arguments)
    assert code == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "timeline.jsonl").read_text().splitlines()]
    assert out.startswith(f"{len(rows)} segments, ") and "0 without a prediction" in out and "timeline.csv" in out
    assert out.endswith(f"{NOTICE}\n")
    assert len(rows) == len(expected) * (2 if source == "asr" else 1)
    for row, (start, end, text) in zip(rows, expected):
        assert (row["start"], row["end"]) == pytest.approx((start, end), abs=0.05) and row["text"] == text
    used = {tuple(row["modalities"]) for row in rows}
    with_text = {"transcript": ("text", "audio"), "asr": ("text", "audio", "vision")}
    assert used == {with_text.get(source, ("audio", "vision"))}
    kept = {"words.jsonl"} if source == "asr" else set()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*FILES, *kept}


def test_a_transcript_in_another_encoding_and_whole_seconds_within_the_video(capsys, model, video, tmp_path):
    """Whole numbers that lie within the video are not taken for milliseconds."""
    path, out = tmp_path / "talk.srt", tmp_path / "out"
    path.write_bytes("00:00:01,000 --> 00:00:02,500\n算了。\n".encode("gbk"))
    arguments = [video, "--model", model, "--modalities", "text", "--timeline", out, "--transcript", path]
    code, _, err = run(capsys, *arguments)
    assert code == 1 and "would both make text of it" in err and "--transcript_encoding" in err
    assert run(capsys, *arguments, "--transcript_encoding", "gbk")[0] == 0
    assert [json.loads(line)["text"] for line in (out / "timeline.jsonl").read_text().splitlines()] == ["算了。"]
    path.write_text('{"words": [{"text": "a", "start": 0, "end": 6}]}')
    arguments[-3] = tmp_path / "more"
    assert run(capsys, *arguments)[0] == 0
    row = json.loads((tmp_path / "more" / "timeline.jsonl").read_text())
    assert (row["start"], row["end"], row["text"]) == (0, 6, "a")


def test_pauses_of_silence_are_a_sentence(capsys, model, tmp_path):
    video = write_media(tmp_path / "silent.mp4", 2.0, sound=babble([], noise=0.0))
    code, _, err = run(capsys, video, "--model", model, "--timeline", tmp_path / "out", "--pauses")
    assert code == 1 and "silent.mp4: no speech is found in the sound; use --window SECONDS." in err


def test_only_unusable_segments_are_a_failure(capsys, model, video, tmp_path):
    (tmp_path / "late.srt").write_text("00:01:00,000 --> 00:01:02,000\nlater than the video\n")
    options = ["--timeline", tmp_path / "out", "--transcript", tmp_path / "late.srt"]
    code, out, _ = run(capsys, video, "--model", model, *options)
    assert code == 1 and "1 without a prediction" in out
    assert "the cut begins at 60 s but the file ends at 6" in (tmp_path / "out" / "timeline.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pauses"], "--pauses needs --timeline OUT_DIR"),
        (["--hop", "2"], "--hop needs --timeline OUT_DIR"),
        (["--transcript_encoding", "gbk"], "--transcript_encoding needs --timeline OUT_DIR"),
        (
            ["--timeline", "out", "--pauses", "--transcript_encoding", "gbk"],
            "--transcript_encoding goes with --transcript",
        ),
        (["--timeline", "out"], "--timeline needs one of --transcript, --pauses, --window, --asr; found none"),
        (["--timeline", "out", "--pauses", "--window", "3"], "found --pauses and --window"),
        (["--timeline", "out", "--pauses", "--hop", "3"], "--hop goes with --window"),
        (["other.mp4", "--timeline", "out", "--pauses"], "a timeline is of one video file; found 2"),
        (["--timeline", "out", "--pauses", "--text", "words"], "--text does not go with --timeline"),
        (["--timeline", "out", "--pauses", "--json", "-"], "--json does not go with --timeline"),
        (
            ["--timeline", "out", "--pauses", "--batch_size", "0"],
            "--batch_size: '0' is not a batch size; expected at least 1",
        ),
    ],
)
def test_arguments_that_do_not_fit(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        run(capsys, "talk.mp4", *arguments, "--model", "none")
    assert stopped.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("video_name", "arguments", "message"),
    [
        ("none.mp4", ["--pauses"], "none.mp4: there is no such file"),
        (None, ["--transcript", "none.srt"], "none.srt: there is no such file"),
        (None, ["--window", "-1"], "window is -1.0; expected a positive number of seconds"),
        (None, ["--asr", "no_such_recogniser"], "--asr no_such_recogniser: it cannot be loaded as a speech recogniser"),
    ],
)
def test_files_that_do_not_fit_are_said_before_the_model_is_loaded(
    capsys, video, monkeypatch, tmp_path, video_name, arguments, message
):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, video_name or video, *arguments, "--timeline", "out", "--model", "no_such_model")
    assert code == 1 and message in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
