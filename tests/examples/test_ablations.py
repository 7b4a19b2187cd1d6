"""Test the scripts of examples/ablations: the fields that settings change, and each script on a small corpus."""

import json
import statistics
from dataclasses import asdict
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error

from datasets_scripts import load_corpus, task_specification
from examples.ablations import ablation_runs as runs
from examples.ablations import components, cross_corpus, frame_counts, linear_probe, missing_modalities, simple_features
from examples.tiny_models import save_tiny_language_model, save_tiny_towers
from modeling_semanticmac import SemanticMACConfig, SemanticMACForAffect
from modeling_semanticmac.benchmark.plan import read_plan
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.runs.comparison import compare_runs
from modeling_semanticmac.runs.record import read_predictions
from modeling_semanticmac.training import main as training_main
from modeling_semanticmac.training import seed_runs
from modeling_semanticmac.training.run_arguments import as_arguments, given_arguments, parse_arguments
from tests.helpers.project import PROJECT

RECIPES = PROJECT / "modeling_semanticmac/training/recipes"
CLIPS = {"train": 12, "validation": 5, "test": 6}
SEEDS = (1, 2)
# The rows of the paper's Table X, and the fields that each turns.
TABLE_X = {
    "without frame embedding": {"use_frame_embeddings": False},
    "without layer normalisation": {"perceiver_norm": "none"},
    "without residual connection": {"perceiver_residual": False},
    "without modality embedding": {"use_modality_embeddings": False},
    "without multi-query": {"multi_query": False},
    "without bridge tokens": {"use_bridge_tokens": False},
    "without gated ReLU": {"gate": "none"},
    "without momentum": {"label_momentum": False},
    "ground truth in place of pseudo labels": {"pseudo_labels": "ground_truth"},
    "sub-task M alone": {"pseudo_labels": "off"},
    "without the loss within samples": {"intra_weight": 0.0},
    "without the loss between samples": {"inter_weight": 0.0},
    "without both": {"intra_weight": 0.0, "inter_weight": 0.0},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return a small rendered corpus, tiny models, and the arguments of every script."""
    folder = tmp_path_factory.mktemp("study")
    clips = load_corpus("synthetic", folder / "corpus", "sentiment", cache_dir=folder / "cache", num_proc=1, **CLIPS)
    vision, audio = save_tiny_towers(folder / "towers")
    language_model = save_tiny_language_model(folder / "language_model", clips["train"]["text"])
    words = [
        "--recipe",
        str(RECIPES / "synthetic_sentiment.yaml"),
        "--data_dir",
        str(folder / "corpus"),
        "--output_dir",
        str(folder / "out"),
    ]
    words += ["--language_model", str(language_model), "--vision_encoder", str(vision), "--audio_encoder", str(audio)]
    words += [
        "--num_train_epochs",
        "1",
        "--per_device_train_batch_size",
        "4",
        "--extraction_workers",
        "0",
        "--disable_tqdm",
        "true",
        "--use_cpu",
        "true",
    ]
    return {"folder": folder, "out": folder / "out", "words": [*words, "--seeds", *map(str, SEEDS)], "clips": clips}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """Use a small bootstrap; its own tests are elsewhere."""
    monkeypatch.setattr(runs, "compare_runs", partial(compare_runs, resamples=50))


def tables(study, name: str) -> dict[str, dict[str, dict]]:
    """Return title -> row -> its record from the JSON of a script."""
    found = json.loads((study["out"] / f"{name}.json").read_text())
    return {title: {record["name"]: record for record in records} for title, records in found.items()}


def predictions(folder) -> np.ndarray:
    return np.array([float(row["prediction"]) for row in read_predictions(folder / "predictions_test.csv")])


def train_nothing(monkeypatch):
    for module in (training_main, seed_runs):
        monkeypatch.setattr(module, "run_once", lambda *_: pytest.fail("a finished run was repeated"))


@pytest.mark.parametrize(
    "recipe", ["mosei_sentiment_bert.yaml", "synthetic_sentiment.yaml", "meld_emotion_conversation_sbert.yaml"]
)
def test_a_row_of_table_x_turns_the_named_fields_and_nothing_else(recipe, tmp_path):
    settings = {name: words for block in components.BLOCKS.values() for name, words in block.items()}
    assert settings.keys() == TABLE_X.keys()

    def fields(words):
        common = [str(RECIPES / recipe), "--data_dir", "x", "--output_dir", str(tmp_path), "--use_cpu", "true"]
        model, data, training = parse_arguments([*common, *words])
        config = SemanticMACConfig(**model.config_fields()).to_dict()
        return {**config, **asdict(data), **{k: v for k, v in training.to_dict().items() if k != "logging_dir"}}

    full = fields([])
    for name, words in settings.items():
        turned = fields(words)
        assert {key: turned[key] for key in full if turned[key] != full[key]} == TABLE_X[name], name
        assert turned.keys() == full.keys()


def test_our_own_rows_turn_the_scale_and_the_start_where_the_recipe_has_them(tmp_path):
    def own(recipe, *more):
        words = ["--recipe", str(RECIPES / recipe), "--data_dir", "x", "--output_dir", str(tmp_path), "--use_cpu"]
        args = runs.parse(runs.ablation_parser(""), [*words, *more])
        titles = list(found := components.blocks(args))
        assert titles[: len(components.BLOCKS)] == list(components.BLOCKS)
        rows = [row for title in titles[len(components.BLOCKS) :] for row in found[title].items()]
        fields = {name: runs.resolved(args, words)[0].config_fields() for name, words in rows}
        configs = {name: SemanticMACConfig(**values) for name, values in fields.items()}
        return {name: (config.input_scaling, config.linear_start) for name, config in configs.items()}

    scale, start = "without standardised input", "without the linear start"
    assert own("ravdess_emotion_minilm.yaml") == {scale: ("unit", True), start: ("standardize", False)}
    assert own("mosei_sentiment_bert.yaml") == {scale: ("unit", False)}
    assert own("mosei_sentiment_bert.yaml", "--input_scaling", "unit") == {}


@pytest.mark.slow
def test_components(study, monkeypatch):
    """Two rows from clips to table; the values equal the files of the runs and scikit-learn."""
    names = ["without gated ReLU", "sub-task M alone"]
    block = {name: words for rows in components.BLOCKS.values() for name, words in rows.items() if name in names}
    monkeypatch.setattr(components, "BLOCKS", {"block": block})
    monkeypatch.setattr(components, "BEGINNING", {})
    components.main(study["words"])
    text = (study["out"] / "components.md").read_text()
    found = tables(study, "components")["block"]
    assert list(found) == sorted(found, key=["full model", *names].index)
    errors = {}
    for name, record in found.items():
        places = [study["out"] / runs.slug(name) / f"seed_{seed}" for seed in SEEDS]
        labels = study["clips"]["test"]["label"]
        errors[name] = [mean_absolute_error(labels, predictions(place)) for place in places]
        assert record["values"]["mae"] == pytest.approx(errors[name], rel=1e-5)
        values = record["values"]["mae"]
        assert f"| {name} | {statistics.mean(values):.3f} +- {statistics.stdev(values):.3f} |" in text
        assert not any(key.endswith(("runtime", "per_second")) for key in record["values"])
    for name in names:
        difference = found[name]["differences"]["mae"]
        expected = np.subtract(errors[name], errors["full model"])
        assert difference["seed_differences"] == pytest.approx(expected, abs=1e-6)
        assert difference["difference"] == pytest.approx(expected.mean(), abs=1e-6)
        assert difference["low"] <= difference["difference"] <= difference["high"]
        assert difference["same_sign"] == (np.sign(expected) == np.sign(expected.mean())).sum()
    assert found["full model"]["reference"] is None and found[names[0]]["reference"] == "full model"
    train_nothing(monkeypatch)
    components.main(study["words"])
    assert (study["out"] / "components.md").read_text() == text
    with pytest.raises(ValueError, match="finished run with other arguments"):
        components.main([*study["words"], "--dropout", "0.5"])


@pytest.mark.slow
def test_frame_counts(study, monkeypatch):
    monkeypatch.setattr(frame_counts, "COUNTS", (2, 20))
    frame_counts.main([*study["words"], "--seeds", "1"])
    found = tables(study, "frame_counts")["Frames a clip"]
    assert list(found) == ["2 frames", "20 frames", "varying number of frames"]
    assert found["20 frames"]["differences"].keys() >= {"mae", "pearson", "acc7", "acc2_neg_pos", "f1_neg_pos"}
    clip = study["clips"]["test"]["id"][0]
    lengths = {}
    for name in found:
        record = json.loads((study["out"] / runs.slug(name) / "seed_1/run.json").read_text())
        assert record["model"]["max_frames"] == 20  # the recipe's frame embedding has 16 rows
        lengths[name] = [len(stream) for stream in EmbeddingStore.open(record["data"]["embeddings_dir"])[clip]]
    assert lengths["2 frames"] == [2, 2] and lengths["20 frames"] == [20, 20]
    assert lengths["varying number of frames"] not in ([2, 2], [20, 20])


@pytest.mark.slow
def test_missing_modalities(study, monkeypatch):
    """One subset equals the model with the other masks at zero; all three equal the test of the training run."""
    subsets = ["text + audio + vision", "text + audio", "text + vision", "audio + vision", "text", "audio", "vision"]
    assert [" + ".join(subset) for subset in missing_modalities.SUBSETS] == subsets
    subsets = [subsets[0], "text", "vision"]
    monkeypatch.setattr(missing_modalities, "SUBSETS", [tuple(name.split(" + ")) for name in subsets])
    words = [*study["words"], "--modality_dropout", "0.4", "--seeds", "2"]
    missing_modalities.main(words)
    found = tables(study, "missing_modalities")
    assert list(found) == ["full model", "modality_dropout=0.4"] and all(
        list(rows) == subsets for rows in found.values()
    )
    record = json.loads((study["out"] / "modality_dropout=0.4/seed_2/run.json").read_text())
    assert record["training"]["modality_dropout"] == 0.4
    folder = study["out"] / "full_model/seed_2"
    again = study["out"] / "full_model"
    np.testing.assert_allclose(
        predictions(again / "test_text_+_audio_+_vision/seed_2".replace("+", "_")), predictions(folder), atol=1e-5
    )
    model, store = SemanticMACForAffect.from_pretrained(folder).eval(), EmbeddingStore.open(study["out"] / "embeddings")
    expected = []
    for clip in study["clips"]["test"]["id"]:
        audio, vision = (stream.float()[None] for stream in store[clip])
        masks = {"audio_mask": torch.zeros(audio.shape[:2]), "vision_mask": torch.ones(vision.shape[:2])}
        with torch.no_grad():
            expected.append(model(audio_embeds=audio, vision_embeds=vision, **masks).logits.item())
    np.testing.assert_allclose(predictions(again / "test_vision/seed_2"), expected, atol=1e-5)
    with_dropout = found["modality_dropout=0.4"]["text"]
    difference = np.subtract(with_dropout["values"]["mae"], found["full model"]["text"]["values"]["mae"])
    assert with_dropout["differences"]["mae"]["seed_differences"] == pytest.approx(difference, abs=1e-6)
    train_nothing(monkeypatch)
    missing_modalities.main(words)


@pytest.mark.slow
def test_cross_corpus(study):
    other = study["folder"] / "other"
    options = {"train": 9, "validation": 4, "test": 5, "seed": 3, "num_proc": 1}
    words = [
        "--other_corpus",
        "synthetic",
        "--other_data_dir",
        str(other),
        "--other_corpus_options",
        json.dumps(options),
    ]
    cross_corpus.main([*study["words"], *words, "--seeds", "2"])
    found = tables(study, "cross_corpus")
    names = ["synthetic (corpus)", "synthetic (other)"]
    assert list(found) == [f"Tested on {name}" for name in names]
    clips = load_corpus("synthetic", other, "sentiment", cache_dir=study["folder"] / "cache")
    for (title, own, foreign), labels in zip(
        ((f"Tested on {names[0]}", *names), (f"Tested on {names[1]}", *reversed(names))),
        (study["clips"]["test"]["label"], clips["test"]["label"]),
    ):
        assert list(found[title]) == [f"trained on {own}", f"trained on {foreign}"]
        for name in (own, foreign):
            folder = study["out"] / ("full_model" if name == names[0] else runs.slug(f"trained on {names[1]}"))
            folder = folder if name == own else folder / "test_other_corpus"
            error = mean_absolute_error(labels, predictions(folder / "seed_2"))
            assert found[title][f"trained on {name}"]["values"]["mae"] == [pytest.approx(error, rel=1e-5)]


def test_corpora_of_other_tasks_are_not_crossed():
    mosi, sims = (task_specification(name) for name in ("mosi", "ch_sims"))
    with pytest.raises(ValueError, match=r"label_range is \(-3.0, 3.0\) and \(-1.0, 1.0\).*nothing is rescaled"):
        cross_corpus.check_same_task(["mosi", "ch_sims"], [mosi, sims])
    cross_corpus.check_same_task(["mosi", "mosei"], [mosi, task_specification("mosei", "sentiment")])


@pytest.mark.slow
def test_linear_probe(study, tmp_path):
    simple_features.main(
        [
            "--corpus",
            "synthetic",
            "--data_dir",
            str(study["folder"] / "corpus"),
            "--output",
            str(tmp_path / "features.npz"),
        ]
    )
    linear_probe.main([*study["words"], "--manual_features", str(tmp_path / "features.npz")])
    found = tables(study, "linear_probe")
    rows = ["manual features", "tower embeddings", "perceiver tokens", "full model"]
    assert [list(found[f"Linear probe, {part}"]) for part in ("audio", "vision", "audio + vision")] == [rows] * 3
    for part in found.values():
        assert [len(part[name]["values"]["mae"]) for name in rows] == [1, 1, 2, 2]
        assert part["tower embeddings"]["reference"] is None and part["full model"]["reference"] is None
    # What the probe sees is what the model's own forward pass makes of the clip.
    model, store = (
        SemanticMACForAffect.from_pretrained(study["out"] / "full_model/seed_1").eval(),
        EmbeddingStore.open(study["out"] / "embeddings"),
    )
    seen = {}
    for name in ("audio", "vision"):
        getattr(model.semanticmac, f"{name}_perceiver").register_forward_hook(
            lambda _, __, out, name=name: seen.setdefault(name, []).append(out)
        )
    clips = study["clips"]["test"]["id"]
    for clip in clips:
        audio, vision = (stream.float()[None] for stream in store[clip])
        with torch.no_grad():
            model(audio_embeds=audio, vision_embeds=vision)
    expected = {name: torch.cat(tokens).mean(dim=1).numpy() for name, tokens in seen.items()}
    tokens, embeds = linear_probe.perceiver_tokens(model, store, clips), linear_probe.tower_embeddings(store, clips)
    for column, name in enumerate(("audio", "vision")):
        np.testing.assert_allclose(tokens[name], expected[name], atol=1e-5)
        np.testing.assert_allclose(embeds[name][3], store[clips[3]][column].float().numpy().mean(axis=0), atol=1e-5)


def test_the_plan_for_folds_has_the_same_rows():
    plan = read_plan(PROJECT / "examples/ablations/parts_ravdess.yaml")
    full, *rows = plan.rows
    blocks = [*components.BLOCKS.values(), components.BEGINNING]
    assert (full.name, dict(full.arguments)) == (runs.FULL, {})
    expected = {name: words for block in blocks for name, words in block.items()}
    assert {row.name: given_arguments(as_arguments(dict(row.arguments))) for row in rows} == {
        name: given_arguments(words) for name, words in expected.items()
    }
