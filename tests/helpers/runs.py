"""A small rendered corpus and a run on it."""

import csv
import hashlib
import json

import pytest
from transformers import pipeline

from datasets_scripts import load_corpus
from examples.tiny_models import save_tiny_language_model, save_tiny_towers
from modeling_semanticmac.commands import train
from tests.helpers.project import RECIPE

CLIPS = {"train": 12, "validation": 5, "test": 5}


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A small rendered corpus, tiny towers and a tiny language model, and one trained run."""
    folder = tmp_path_factory.mktemp("world")
    clips = load_corpus("synthetic", folder / "corpus", "sentiment", cache_dir=folder / "cache", num_proc=1, **CLIPS)
    vision, audio = save_tiny_towers(folder / "towers")
    language_model = save_tiny_language_model(folder / "language_model", clips["train"]["text"])
    models = ["--language_model", str(language_model), "--vision_encoder", str(vision), "--audio_encoder", str(audio)]
    data = [
        "--corpus",
        "synthetic",
        "--data_dir",
        str(folder / "corpus"),
        "--corpus_options",
        json.dumps({**CLIPS, "num_proc": 1}),
    ]
    common = [
        *data,
        "--embeddings_dir",
        str(folder / "embeddings"),
        "--extraction_workers",
        "0",
        "--disable_tqdm",
        "true",
        "--use_cpu",
    ]
    train.main(
        [
            RECIPE,
            *common,
            *models,
            "--output_dir",
            str(folder / "run"),
            "--num_train_epochs",
            "2",
            "--label_start_epoch",
            "1",
        ]
    )
    return {"folder": folder, "run": folder / "run", "common": common, "models": models, "clips": clips}


def content(folder) -> dict[str, str]:
    """Return the digest of each file below a folder, by its name."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def record(folder, name: str = "run.json") -> dict:
    """Return a JSON file of a run."""
    return json.loads((folder / name).read_text())


def rows(path) -> list[dict]:
    """Return the rows of a CSV file."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> list[str]:
    """Arguments that name a tiny language model and tiny towers."""
    folder = tmp_path_factory.mktemp("models")
    vision, audio = save_tiny_towers(folder / "towers")
    language_model = save_tiny_language_model(folder / "language_model", ["a good film and a bad day", "no words"])
    return ["--language_model", str(language_model), "--vision_encoder", str(vision), "--audio_encoder", str(audio)]


@pytest.fixture(scope="session")
def pipe(world):
    """The pipeline of the run of `world`."""
    return pipeline("video-affect", model=str(world["run"]), device="cpu")


@pytest.fixture
def encoded(pipe, monkeypatch) -> dict[str, int]:
    """The frames and windows that the pipeline has encoded, counted by modality."""
    counts = {"vision": 0, "audio": 0}
    embed = pipe.embed

    def counting(modality, inputs):
        counts[modality] += len(inputs)
        return embed(modality, inputs)

    monkeypatch.setattr(pipe, "embed", counting)
    return counts
