"""The analysis commands on the folder of one tiny run, from the run to pictures and tables."""

import csv
import importlib
import json
import runpy
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from datasets_scripts import load_corpus
from examples.tiny_models import save_tiny_language_model, save_tiny_towers
from modeling_semanticmac.commands import train as train_command
from modeling_semanticmac.configuration_semanticmac import SUBTASKS
from modeling_semanticmac.training.label_history import read_label_history
from tests.helpers.project import PROJECT

OPTIONS = {"train": 42, "validation": 3, "test": 3, "num_proc": 1}


def analysis(name: str):
    """Import a script of examples/analysis."""
    return importlib.import_module(f"examples.analysis.{name}")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Train a run on a rendered corpus with text, audio and vision."""
    folder = tmp_path_factory.mktemp("world")
    clips = load_corpus("synthetic", folder / "corpus", "sentiment", cache_dir=folder / "cache", **OPTIONS)
    vision, audio = save_tiny_towers(folder / "towers")
    language_model = save_tiny_language_model(folder / "language_model", clips["train"]["text"])
    train_command.main([
        str(PROJECT / "modeling_semanticmac/training/recipes/synthetic_sentiment.yaml"),
        "--data_dir", str(folder / "corpus"), "--output_dir", str(folder / "run"),
        "--corpus_options", json.dumps(OPTIONS), "--language_model", str(language_model),
        "--vision_encoder", str(vision), "--audio_encoder", str(audio),
        "--num_train_epochs", "3", "--label_start_epoch", "1", "--disable_tqdm", "true", "--use_cpu",
        "--extraction_workers", "0",
    ])  # fmt: skip
    return folder, clips


def rows(path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pictures(folder, *names) -> bool:
    return all((folder / f"{name}.{kind}").stat().st_size > 5_000 for name in names for kind in ("png", "svg"))


def test_semantic_balance(world, capsys):
    folder, _ = world
    found = analysis("semantic_balance").main([str(folder / "run")])
    assert list(found)[:3] == ["text", "audio", "vision"] and len(found) == 6
    written = folder / "run" / "analysis"
    areas = {row["compared"]: float(row["area"]) for row in rows(written / "semantic_balance_areas.csv")}
    assert areas == {name: balance.area for name, balance in found.items()}
    assert f"| text | {areas['text']:.3f} |" in capsys.readouterr().out
    curve = [
        row
        for row in rows(written / "semantic_balance.csv")
        if (row["compared"], row["measure"]) == ("audio", "clusters")
    ]
    assert [float(row["precision"]) for row in curve] == found["audio"].precision.tolist()
    assert pictures(written, "semantic_balance")
    generator = np.random.default_rng(0)
    features = {modality: generator.standard_normal((42, 30)) for modality in ("text", "audio", "vision")}
    save_file(features, folder / "features.safetensors")
    words = ["--features", str(folder / "features.safetensors"), "--output_dir", str(folder / "manual")]
    assert analysis("semantic_balance").main([str(folder / "run"), *words])["text"].area != areas["text"]
    save_file({"text": features["text"]}, folder / "features.safetensors")
    with pytest.raises(ValueError, match="expected text, audio, vision; audio, vision missing"):
        analysis("semantic_balance").main([str(folder / "run"), *words])


def test_embedding_space(world, capsys):
    folder, clips = world
    out = folder / "space"
    found = analysis("embedding_space").main([str(folder / "run"), "--output_dir", str(out), "--epoch", "2"])
    drawn = [row for row in rows(out / "embedding_space.csv") if row["representation"] == "audio"]
    assert [row["id"] for row in drawn] == clips["train"]["id"] and drawn[0]["label_of"] == "pseudo label"
    expected = read_label_history(folder / "run").labels(2)[SUBTASKS.index("A"), :, 0]
    np.testing.assert_allclose([float(row["label"]) for row in drawn], expected, rtol=1e-6)
    assert f"| multimodal | ground truth | {found['multimodal'].silhouette:.3f} |" in capsys.readouterr().out
    assert pictures(out, "embedding_space")
    with pytest.raises(ValueError, match="no split 'dev' in synthetic; expected train, validation, test"):
        analysis("embedding_space").main([str(folder / "run"), "--split", "dev"])


def test_label_curves(world, capsys):
    folder, clips = world
    out = folder / "curves"
    curves = analysis("label_curves").main([str(folder / "run"), "--output_dir", str(out)])
    assert curves.epochs.tolist() == [1, 2, 3] and pictures(out, "label_curves", "label_agreement")
    first = [row for row in rows(out / "label_agreement.csv") if row["epoch"] == "1" and row["measure"] == "Pearson"]
    expected = np.corrcoef(clips["train"]["label"], clips["train"]["label_vision"])[0, 1]
    assert float(first[2]["value"]) == pytest.approx(expected, abs=1e-5) and first[2]["subtask"] == "V"
    assert len(rows(out / "label_curves.csv")) == 3 * 4
    assert f"| Pearson | V | {expected:.3f} |" in capsys.readouterr().out
    with pytest.raises(ValueError, match="only the training set has pseudo labels"):
        analysis("label_curves").main([str(folder / "run"), "--split", "test"])


def test_a_model_without_a_run_is_enough(world):
    """A model folder with a corpus and an output folder is enough; clips that are in no store are encoded."""
    folder, clips = world
    model = folder / "model"
    shutil.copytree(folder / "run", model, ignore=shutil.ignore_patterns("run.json", "checkpoint-*", "embeddings"))
    trained_run = analysis("trained_run")
    words = ["--corpus", "synthetic", "--task", "sentiment", "--data_dir", str(folder / "corpus")]
    words += ["--split", "validation", "--output_dir", str(folder / "out")]
    run = trained_run.TrainedRun.of(trained_run.run_parser("").parse_args([str(model), *words]))
    with pytest.raises(ValueError, match="give --output_dir"):
        trained_run.TrainedRun.of(trained_run.run_parser("").parse_args([str(model), *words[:-2]]))
    with pytest.raises(ValueError, match="give --corpus and --data_dir"):
        trained_run.TrainedRun.of(trained_run.run_parser("").parse_args([str(model)]))
    assert run.representations.ids == clips["validation"]["id"]
    assert (folder / "out" / "embeddings" / "fingerprint.json").is_file()
    same = trained_run.TrainedRun.of(
        trained_run.run_parser("").parse_args([str(folder / "run"), "--split", "validation"])
    )
    torch.testing.assert_close(run.representations.logits, same.representations.logits, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["label_curves.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="^error: no label history in "):
        runpy.run_path(str(PROJECT / "examples/analysis/label_curves.py"), run_name="__main__")


def test_the_study_of_planted_strengths_writes_its_table(tmp_path, monkeypatch, capsys):
    """Areas of 0.5 and 0.7 over two seeds have the mean 0.6 and the deviation 0.1 sqrt(2); nothing is trained."""
    study = analysis("planted_strengths")
    assert all(sum(weights) == pytest.approx(1) for weights in study.STRENGTHS.values())
    monkeypatch.setattr(study, "trained_run", lambda folder, strong, seed: folder / strong / str(seed))
    areas = {"1": 0.5, "2": 0.7}
    monkeypatch.setattr(
        study.semantic_balance, "main", lambda words: {"text": SimpleNamespace(area=areas[words[0].rsplit("/", 1)[1]])}
    )
    study.main(["--output_dir", str(tmp_path), "--seeds", "1", "2"])
    written = rows(tmp_path / "planted_strengths.csv")
    assert [row["strong"] for row in written] == ["text", "text", "audio", "audio", "vision", "vision"]
    table = (tmp_path / "planted_strengths.md").read_text()
    assert "| vision | 0.600 +- 0.141 |" in table and table in capsys.readouterr().out


@pytest.mark.slow
def test_run_summary_puts_four_pictures_on_the_report(world, tmp_path, capsys, monkeypatch):
    folder = shutil.copytree(world[0] / "run", tmp_path / "run")
    (folder / "analysis").exists() and shutil.rmtree(folder / "analysis")
    cases = SimpleNamespace(main=lambda words: analysis("case_study").main([*words, "--most", "2"]))
    monkeypatch.setitem(analysis("run_summary").ANALYSES, "cases", cases)  # all twenty would take half a minute
    assert analysis("run_summary").main([str(folder), "--embeddings_dir", str(world[0] / "run" / "embeddings")]) == {}
    report = (folder / "report.md").read_text()
    told = report.split("## At a glance")[1].split("\n## ")[0]
    names = ["label_agreement", "semantic_balance", "contribution", "embedding_space"]
    assert [line.split("(")[-1].strip(")\n") for line in told.splitlines() if line.startswith("![")] == [
        f"report/{name}.png" for name in names
    ]
    assert all(
        (folder / "report" / f"{n}.png").read_bytes() == (folder / "analysis" / f"{n}.png").read_bytes() for n in names
    )
    assert "(analysis/cases.html)" in told and (folder / "analysis" / "cases.html").is_file()
    # Without one's material the others are made, and what is missing is named; pictures of before do not come back.
    shutil.rmtree(folder / "label_history")
    shutil.rmtree(folder / "analysis")
    two = {"pseudo labels over epochs": analysis("label_curves"), "semantic balance": analysis("semantic_balance")}
    monkeypatch.setattr(analysis("run_summary"), "ANALYSES", two)
    left_out = analysis("run_summary").main([str(folder), "--embeddings_dir", str(world[0] / "run" / "embeddings")])
    assert "pseudo labels over epochs" in left_out and "left out. no label history" in capsys.readouterr().err
    report = (folder / "report.md").read_text()
    assert "semantic_balance.png" in report and "label_agreement" not in report
