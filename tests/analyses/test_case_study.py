"""Cases: neighbours against the formula on the kept features, media, the page, and the two scripts on a run."""

import csv
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from examples.analysis import case_study as case_script
from examples.analysis import modality_contribution as contribution_script
from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.analyses.case_media import COPY_HEIGHT, read_case_media, write_case_copy
from modeling_semanticmac.analyses.case_page import write_case_page
from modeling_semanticmac.analyses.case_picture import case_numbers, window_density, wrap_text
from modeling_semanticmac.analyses.case_study import (
    HEADS,
    collect_cases,
    modality_spread,
    prediction_spread,
    pseudo_label_spread,
    pseudo_labels_of,
    rows_of_largest,
    value_text,
)
from modeling_semanticmac.baselines.training_state import Observed
from modeling_semanticmac.configuration_semanticmac import SUBTASKS
from modeling_semanticmac.media_decoding import open_media
from modeling_semanticmac.training.collator import SemanticMACCollator
from modeling_semanticmac.training.label_history import LabelHistoryWriter, read_label_history
from modeling_semanticmac.training.semantic_labels import SemanticLabels
from tests.helpers.media_files import read_number, write_media
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT, tiny_config, word_corpus
from tests.helpers.trainers import WordProcessor

SAMPLING = SimpleNamespace(frames_per_second=2.0, num_frames=None, audio_window=2.0)


def test_disagreement_by_hand():
    values = np.array([[[1.0], [-2.0], [0.5]], [[1.0], [-2.0], [9.0]], [[3.0], [0.0], [0.0]]])
    has = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=bool)
    np.testing.assert_allclose(modality_spread(values, has), [3.0, 3.0, 0.0])
    classes = np.array([[[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]]])
    np.testing.assert_allclose(modality_spread(classes, has[:1]), [0.5])
    assert rows_of_largest(np.array([0.0, 2.0, 5.0, 2.0]), 3) == [2, 1, 3] and rows_of_largest(np.zeros(3), 2) == []
    logits = torch.tensor([[[9.0, 9.0], [0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]])  # S says nothing here
    expected = 1 / (1 + np.exp(-2)) - 1 / (1 + np.exp(2))
    np.testing.assert_allclose(prediction_spread(logits, torch.ones(1, 3).bool(), SARCASM), [expected], atol=1e-6)


@pytest.fixture(scope="module", params=[SENTIMENT, EMOTIONS], ids=["score", "labels"])
def kept(request, tmp_path_factory):
    """Write labels of four epochs from random features; clip 3 has no sound. Return features and history."""
    task, folder = request.param, tmp_path_factory.mktemp("run")
    generator = torch.Generator().manual_seed(0)
    clips = word_corpus(30, task)
    state = SemanticLabels(torch.tensor(clips["label"]), task, 8, num_neighbors=4, start_epoch=2)
    writer, features = LabelHistoryWriter(folder, clips["id"], state), None
    writer.keep()
    for epoch in range(2, 6):
        features = torch.randn(4, 30, 8, generator=generator)
        mask = torch.ones(30, 3, dtype=torch.bool)
        mask[3, 1] = False
        state.observe(torch.arange(30), None, Observed(mask, embeds=dict(zip(SUBTASKS, features))))
        state.begin_epoch(epoch)
        writer.keep()
    return clips, features.double().numpy(), read_label_history(folder), task


def test_who_moved_a_label_is_what_the_formula_says_on_the_kept_features(kept):
    clips, features, history, task = kept
    found = pseudo_labels_of(history, 5, [*clips["id"], "unknown"], dict(zip(clips["id"], clips["text"])))
    assert list(found) == clips["id"]
    truth = np.array(clips["label"], dtype=float).reshape(30, -1)
    for position, subtask in enumerate(SUBTASKS):
        for i, clip in enumerate(clips["id"]):
            label = found[clip][subtask]
            np.testing.assert_allclose(label.label, history.labels(5)[position, i])
            if subtask == "A" and i == 3:
                assert label.neighbors == [] and not label.movement.any()
                np.testing.assert_allclose(label.label, truth[3])
                continue
            others = [j for j in range(30) if j != i and not (subtask == "A" and j == 3)]
            apart = {j: np.linalg.norm(features[position, i] - features[position, j]) / 8**0.5 for j in others}
            nearest = sorted(others, key=apart.get)[:4]
            assert [neighbor.id for neighbor in label.neighbors] == [clips["id"][j] for j in nearest]
            assert [neighbor.text for neighbor in label.neighbors] == [clips["text"][j] for j in nearest]
            moves = [np.exp(-(apart[j] ** 2)) * (truth[j] - truth[i]) / 4 for j in nearest]
            np.testing.assert_allclose([neighbor.move for neighbor in label.neighbors], moves, atol=1e-6)
            # eq. (15): these moves are what took the label from that of the epoch before to its own
            target = 2 / 6 * (truth[i] + sum(moves)) + 4 / 6 * history.labels(4)[position, i]
            np.testing.assert_allclose(label.label, target, atol=1e-5)


def test_clips_are_ranked_by_the_labels_of_the_modalities_that_they_have(kept):
    _, _, history, _ = kept
    found, labels = pseudo_label_spread(history, 5), history.labels(5)
    for i in range(30):
        three = [labels[s, i] for s in (1, 2, 3) if not (s == 2 and i == 3)]
        assert found[i] == pytest.approx(max(np.max(np.abs(a - b)) for a in three for b in three), abs=1e-6)
    assert not pseudo_label_spread(history, 2).any()  # no label was moved yet


def words(task, text: str, path, **cut) -> dict:
    row = word_corpus(1, task)[0]
    return row | {"text": text, "media": {"path": str(path or ""), "start": None, "end": None, "crop": None, **cut}}


@pytest.fixture(scope="module")
def odd_cases(tmp_path_factory):
    """Return four clips: complete; without sound and with markup in the text; broken; text alone, in Chinese."""
    folder = tmp_path_factory.mktemp("odd_cases")
    whole = write_media(folder / "whole.mp4", seconds=3)
    silent = write_media(folder / "silent.mp4", seconds=2, sound=None)
    (folder / "broken.mp4").write_bytes(b"")
    rows = [
        words(SARCASM, "good film", whole, start=1.0, end=2.5, crop="left"),
        words(SARCASM, "<script>alert(1)</script> & $5 and $6 of a day", silent),
        words(SARCASM, "", folder / "broken.mp4"),
        words(SARCASM, "电影 " * 3, None),
    ]
    rows = [row | {"id": f"<clip> {index}"} for index, row in enumerate(rows)]
    rows[1]["context"] = ["was <i>it</i>?"]
    store = {row["id"]: (torch.randn(a, 12), torch.randn(v, 20)) for row, a, v in zip(rows, (3, 0, 4, 0), (3, 4, 4, 0))}
    torch.manual_seed(0)
    model = SemanticMACForAffect(tiny_config(SARCASM, initializer_range=0.3)).eval()
    collator = SemanticMACCollator(WordProcessor(), SARCASM, store)
    base = np.array([0.75, 0.25])
    return model, collator, rows, collect_cases(model, rows, collator, {rows[0]["id"]: "a reason"}, base)


def test_a_case_holds_what_the_model_says_of_the_clip_alone(odd_cases):
    model, collator, rows, cases = odd_cases
    for row, case in zip(rows, cases):
        batch = collator([row])
        batch.pop("labels")
        with torch.no_grad():
            output = model(**batch)
        logits = torch.cat([output.logits[:, None], output.subtask_logits], dim=1)[0]  # (5, C)
        there = dict(zip(HEADS, (True, True, *output.modality_mask[0].tolist())))
        assert list(case.predictions) == [head for head in HEADS if there[head]]
        for head, expected in zip(HEADS, logits.softmax(dim=-1)):
            if there[head]:
                np.testing.assert_allclose(case.predictions[head], expected, atol=1e-5)
        found = case.contribution
        np.testing.assert_allclose(found.prediction[0], case.predictions["M"], atol=1e-5)
        np.testing.assert_allclose(found.shapley.sum(axis=1), found.prediction - [[0.75, 0.25]], atol=1e-5)
        lengths = {m: len(s) for m, s in zip(("audio", "vision"), collator.store[row["id"]]) if len(s)}
        assert {name: len(shares) for name, shares in case.attention.items()} == lengths
        assert all(shares.sum() == pytest.approx(1, abs=1e-5) for shares in case.attention.values())
        np.testing.assert_allclose(case.truth, np.eye(2)[row["label"]])
    assert cases[0].reason == "a reason" and cases[1].reason == ""


def test_the_page_needs_no_network_and_escapes_every_word(odd_cases, tmp_path):
    _, _, rows, cases = odd_cases
    path = write_case_page(cases, tmp_path, SAMPLING, "Odd <title>", "Some & more.")
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text and "<i>" not in text and "<clip>" not in text and "<title>Odd &lt;title&gt;" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; $5" in text and "was &lt;i&gt;it&lt;/i&gt;?" in text
    assert "电影" in text and "http" not in text
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert {link for link in links if link.startswith("#")} == {f"#case_{n:02d}" for n in range(1, 5)}
    files = {link for link in links if not link.startswith("#")}
    assert all((tmp_path / link).is_file() for link in files)
    assert {link for link in files if link.endswith("mp4")} == {"cases/case_01.mp4", "cases/case_02.mp4"}
    assert "The media file cannot be used" in text and "The clip has no media file" in text and "No sound" in text
    tall, short = (Image.open(tmp_path / "cases" / f"case_0{n}.png").size for n in (1, 4))
    assert tall[1] > 1.5 * short[1]  # words alone have no rows over time
    with open(tmp_path / "cases/case_01.csv", newline="") as file:
        drawn = list(csv.reader(file))[1:]
    assert drawn == [[str(cell) for cell in row] for row in case_numbers(cases[0])]
    assert sum(float(row[3]) for row in drawn if row[:2] == ["attention", "vision"]) == pytest.approx(1, abs=1e-5)


def test_strip_outline_and_copy_show_the_cut(plain, tmp_path):
    """Frames of `plain` show their number, 25 per second."""
    media = {"path": str(plain), "start": 1.0, "end": 3.0, "crop": None}
    found = read_case_media(media, num_frames=4)
    assert [read_number(torch.tensor(frame).permute(2, 0, 1)) for frame in found.frames] == [31, 43, 56, 68]
    assert found.duration == pytest.approx(2) and found.missing == ()
    assert found.outline.shape == (600, 2) and found.outline.max() == pytest.approx(0.5, abs=0.05)
    assert found.outline.min() == pytest.approx(-0.5, abs=0.05)
    assert write_case_copy(media, tmp_path / "copy.mp4") == "video"
    with open_media(tmp_path / "copy.mp4") as copy:
        assert copy.info.duration == pytest.approx(2, abs=0.1)
        numbers = [read_number(frame) for frame in copy.frames([0.5 / 12, 1 + 0.5 / 12])]
        assert numbers == [26, 51]
        sound = copy.waveform(0.5, 1.5)
        assert sound.square().mean().sqrt() == pytest.approx(0.5 / 2**0.5, rel=0.1)
    wide = write_media(
        tmp_path / "wide.mp4", seconds=1, picture=lambda n: np.full((482, 640, 3), n, np.uint8), sound=None
    )
    write_case_copy({"path": str(wide), "start": None, "end": None, "crop": "right"}, tmp_path / "half.mp4")
    with open_media(tmp_path / "half.mp4") as copy:
        height, width = copy.frames([0.0]).shape[2:]
        assert height == COPY_HEIGHT and width == pytest.approx(COPY_HEIGHT * 320 / 482, abs=2) and width % 2 == 0
    sound_alone = write_media(tmp_path / "sound.mp4", seconds=1, picture=None)
    assert (
        write_case_copy({"path": str(sound_alone), "start": None, "end": None, "crop": None}, tmp_path / "s.mp4")
        == "audio"
    )
    assert write_case_copy({"path": "", "start": None, "end": None, "crop": None}, tmp_path / "n.mp4") is None


def test_shares_of_overlapping_windows_become_a_density():
    """Three windows of 2 s in 3 s begin at 0, 0.5 and 1: all contain the middle second."""
    edges, density = window_density(
        np.array([0.5, 0.3, 0.2]), 3.0, SimpleNamespace(frames_per_second=1.0, num_frames=None, audio_window=2.0)
    )
    np.testing.assert_allclose(edges, [0, 0.5, 1, 2, 2.5, 3])
    np.testing.assert_allclose(density, [0.25, 0.4, 0.5, 0.25, 0.1])
    for duration, steps in ((0.7, 2), (5.667, 12), (61.3, 123), (4.0, 3)):
        shares = np.random.default_rng(0).dirichlet(np.ones(steps))
        edges, density = window_density(shares, duration, SAMPLING)
        assert (density * np.diff(edges)).sum() == pytest.approx(1, abs=1e-4) and (density > 0).all()


def test_lines_have_so_many_columns():
    assert wrap_text("the  film was good", 8) == ["the film", "was good"]
    assert wrap_text("电影很好看", 4) == ["电影", "很好", "看"]
    assert wrap_text("a" * 10, 4) == ["aaaa", "aaaa", "aa"]
    assert (
        value_text(np.array([0.2, 0.8]), SARCASM) == "yes 0.80" and value_text(np.array([-1.5]), SENTIMENT) == "-1.50"
    )
    assert value_text(np.array([0.2, 0.6, 0.9]), EMOTIONS) == "sad 0.60, angry 0.90"
    assert value_text(np.zeros(3), EMOTIONS) == "none of the labels"
    assert value_text(np.array([0.2, 0.6, 0.9]), EMOTIONS, [0.1, 0.7, 0.7]) == "happy 0.20, angry 0.90"


def table(path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run_words(world, output) -> list[str]:
    folders = ["--data_dir", str(world["folder"] / "corpus"), "--embeddings_dir", str(world["folder"] / "embeddings")]
    return [str(world["run"]), *folders, "--output_dir", str(output)]


@pytest.mark.slow
def test_the_cases_of_a_run(world, tmp_path):
    case_script.main([*run_words(world, tmp_path / "train"), "--most", "2"])
    history = read_label_history(world["run"])
    labels = history.labels(history.epochs[-1])[1:, :, 0]
    expected = dict(zip(history.ids, (labels.max(axis=0) - labels.min(axis=0)).tolist()))
    ranking = [(row["id"], float(row["disagreement"])) for row in table(tmp_path / "train/cases.csv")]
    assert [clip for clip, _ in ranking] == sorted(expected, key=lambda clip: -expected[clip])
    assert all(value == pytest.approx(expected[clip], abs=1e-6) for clip, value in ranking)
    page = (tmp_path / "train/cases.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>\d+\. (\w+)</h2>", page) == [clip for clip, _ in ranking[:2]]
    row = history.ids.index(ranking[0][0])
    for j in history.neighbors(history.epochs[-1])[1, row]:
        assert history.ids[j] in page
    case_script.main([*run_words(world, tmp_path / "test"), "--split", "test", "--clips", "test_0002"])
    predicted = {row["id"]: row for row in table(world["run"] / "predictions_test.csv")}
    drawn = {(row["what"], row["of"]): float(row["value"]) for row in table(tmp_path / "test/cases/case_01.csv")}
    for head in HEADS:
        column = "prediction" if head == "M" else f"prediction_{head}"
        assert drawn["prediction", head] == pytest.approx(float(predicted["test_0002"][column]), abs=1e-4)
    assert ("pseudo label", "T") not in drawn
    with pytest.raises(ValueError, match="no clip test_0002"):
        case_script.main([*run_words(world, tmp_path / "wrong"), "--clips", "test_0002"])


def test_the_contributions_of_a_split(world, tmp_path, capsys):
    contribution_script.main([*run_words(world, tmp_path), "--split", "test", "--most", "3"])
    predicted = {row["id"]: float(row["prediction"]) for row in table(world["run"] / "predictions_test.csv")}
    rows = table(tmp_path / "contribution.csv")
    assert [row["id"] for row in rows] == list(predicted)
    base = np.mean(world["clips"]["train"]["label"])
    for row in rows:
        assert float(row["base"]) == pytest.approx(base, abs=1e-6)
        assert float(row["prediction"]) == pytest.approx(predicted[row["id"]], abs=1e-4)
        total = sum(float(row[name]) for name in ("text", "audio", "vision"))
        assert total == pytest.approx(float(row["prediction"]) - float(row["base"]), abs=1e-5)
    size = np.abs([float(row["audio"]) for row in rows]).mean()
    assert f"| sentiment | audio | {size:.4f} |" in (tmp_path / "contribution.md").read_text()
    assert (tmp_path / "contribution.png").is_file() and "audio" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no output 'joy'"):
        contribution_script.main([*run_words(world, tmp_path), "--output", "joy"])
    assert contribution_script.evenly_ranked(np.array([3.0, 1.0, 2.0, 5.0, 4.0]), 3) == [1, 0, 3]
