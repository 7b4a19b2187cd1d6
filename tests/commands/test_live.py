"""`semanticmac live`: a repeated file in place of a camera."""

import json

import numpy as np
import pytest
from transformers import pipeline

from modeling_semanticmac.commands import live as command
from modeling_semanticmac.serving.live import LiveClip
from modeling_semanticmac.serving.live_sources import Piece
from semanticmac import main


@pytest.fixture(scope="module")
def pipe(world):
    return pipeline("video-affect", model=str(world["run"]), device="cpu")


def test_a_file_is_predicted_again_and_again(world, plain, capsys):
    run = ["live", str(world["run"]), "--file", str(plain), "--device", "cpu"]
    options = ["--tick", "0.25", "--seconds", "0.75", "--text", "a good film"]
    assert main([*run, *options, "--json"]) == 0
    out, err = capsys.readouterr()
    results = [json.loads(line) for line in out.splitlines()]
    assert [result["media"]["end"] for result in results] == pytest.approx([0.25, 0.5, 0.75])
    assert results[0]["modalities"] == ["text"] and results[1]["modalities"] == ["text", "vision"]
    assert all(result["latency"] > 0 for result in results)
    assert "a frame takes" in err and "3 results, each after" in err
    line = command.live_text(results[1])
    smoothed = results[1]["smoothed"]
    assert f"{smoothed['polarity']} {smoothed['score']:+.2f}" in line and "words, picture" in line


def test_devices_give_sound_with_its_time(pipe):
    """After a gap of the microphone, no window reaches over it."""
    live = LiveClip(pipe)
    sound = (0.1 * np.random.default_rng(0).standard_normal(3 * 16000)).astype(np.float32)
    pieces = [Piece(3.0, None, 0.0, sound, 0.0), Piece(9.0, None, 0.0, sound, 6.0)]
    results = list(command.live_results(live, iter(pieces)))
    # Of each piece the latest two, as far as they lie within the last 8 s: at 1, 6.5 and 7 s.
    assert [number for number, _, _ in live._windows] == [2, 13, 14]
    assert results[-1]["modalities"] == ["audio"]


@pytest.mark.parametrize(
    "options, sentence",
    [
        ([], "give --file, or --camera"),
        (["--file", "a.mp4", "--camera", "0"], "give --file, or --camera"),
        (["--file", "a.mp4", "--tick", "0"], "--tick is 0"),
    ],
)
def test_wrong_usage_is_said(options, sentence, capsys):
    with pytest.raises(SystemExit) as exit:
        main(["live", "RUN", *options])
    assert exit.value.code == 2 and sentence in capsys.readouterr().err


def test_a_missing_file_is_said(world, capsys):
    assert main(["live", str(world["run"]), "--file", "absent.mp4"]) == 1
    assert "absent.mp4" in capsys.readouterr().err
