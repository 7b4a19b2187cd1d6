"""Predict the label linearly from manual features, tower embeddings and perceiver tokens (Table XI of the paper).

    python examples/ablations/linear_probe.py --recipe mosei_sentiment_bert --data_dir MOSEI --output_dir ablations \\
        --manual_features features.npz

Trains the full model where it is not finished, freezes everything, and fits on the training split, for audio, vision
and both:

- manual features: one vector a clip from a file (`feature_files.py` describes it), if one is given;
- tower embeddings: E_m of eq. (2), mean over time;
- perceiver tokens: F_m of eq. (4) of the trained model of each seed, mean over the N tokens.

The probe is Ridge (scores) or LogisticRegression (classes) of scikit-learn on standardised features; its regularisation
is chosen on validation (mean absolute error, weighted F1). The test split is opened after all probes are chosen. A clip
that lacks a modality has zeros. Manual features and tower embeddings have no seed. Writes `linear_probe.md` and
`linear_probe.json`.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from datasets_scripts import load_corpus  # noqa: E402
from datasets_scripts.sealed_test import SealedCorpus  # noqa: E402
from examples.ablations import ablation_runs as runs  # noqa: E402
from examples.ablations.feature_files import select_features  # noqa: E402
from modeling_semanticmac import SemanticMACForAffect, TaskSpecification  # noqa: E402
from modeling_semanticmac.embedding_store import EmbeddingStore  # noqa: E402
from modeling_semanticmac.metrics import compute_metrics, logit_predictions  # noqa: E402
from modeling_semanticmac.processing_semanticmac import pad_streams  # noqa: E402

GRID = np.logspace(-4, 5, 19)
PARTS = {"audio": ("audio",), "vision": ("vision",), "audio + vision": ("audio", "vision")}
REFERENCE = "tower embeddings"
CHUNK = 64
Features = dict[str, np.ndarray]  # modality -> (n, D)


def tower_embeddings(store: EmbeddingStore, clips: list[str]) -> Features:
    """Return E_m, mean over time; zeros where a clip has none."""
    streams = zip(*(store[clip] for clip in clips))
    means = ([stream.float().sum(dim=0) / max(len(stream), 1) for stream in modality] for modality in streams)
    return {modality: torch.stack(rows).numpy() for modality, rows in zip(("audio", "vision"), means)}


@torch.no_grad()
def perceiver_tokens(model: SemanticMACForAffect, store: EmbeddingStore, clips: list[str]) -> Features:
    """Return F_m, mean over the tokens; zeros where a clip has none."""
    found = {"audio": [], "vision": []}
    for start in range(0, len(clips), CHUNK):
        chunk = clips[start : start + CHUNK]
        for modality, streams in zip(found, zip(*(store[clip] for clip in chunk))):
            embeds = [stream.float() for stream in streams]
            batch = pad_streams(f"{modality}_embeds", f"{modality}_mask", embeds)
            rows = torch.zeros(len(chunk), model.config.hidden_size)
            if batch:
                perceiver = getattr(model.semanticmac, f"{modality}_perceiver")
                mask = batch[f"{modality}_mask"]
                rows = perceiver(batch[f"{modality}_embeds"], mask).mean(dim=1) * mask.any(
                    dim=1, keepdim=True
                )  # (B, d)
            found[modality].append(rows)
    return {modality: torch.cat(rows).numpy() for modality, rows in found.items()}


class LinearProbe:
    """A linear model of one kind of features.

    Args:
        task: its problem type chooses the model.
        strength: strength of the regularisation: Ridge's alpha, the inverse of LogisticRegression's C.
    """

    def __init__(self, task: TaskSpecification, strength: float):
        self.task, self.strength = task, float(strength)
        model = Ridge(alpha=strength) if task.is_regression else LogisticRegression(C=1 / strength, max_iter=2000)
        self.pipeline = make_pipeline(StandardScaler(), OneVsRestClassifier(model) if task.is_multi_label else model)

    def fit(self, features: np.ndarray, labels: np.ndarray) -> "LinearProbe":
        self.pipeline.fit(features, labels)
        return self

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return logits (n, C), as the head of the model returns them."""
        if self.task.is_regression:
            return self.pipeline.predict(features)[:, None]
        if self.task.is_multi_label:
            return self.pipeline.decision_function(features)
        found = np.full((len(features), self.task.num_labels), -np.inf)
        found[:, self.pipeline.classes_] = self.pipeline.predict_log_proba(
            features
        )  # a class that training lacks is never chosen
        return np.maximum(found, -1e3)

    def quality(self, features: np.ndarray, labels: np.ndarray) -> float:
        """Return the score that validation chooses by; higher is better."""
        logits = self.logits(features)
        if self.task.is_regression:
            return -float(np.abs(logits[:, 0] - labels).mean())
        return compute_metrics(self.task, logits, labels)["w_f1"]


def choose_probe(task: TaskSpecification, train: tuple, validation: tuple) -> LinearProbe:
    """Return the probe of the training split whose regularisation is best on validation; among equals the strongest.

    Args:
        train, validation: features (n, D) and labels of each split.
    """
    probes = [LinearProbe(task, strength).fit(*train) for strength in GRID]
    return max(reversed(probes), key=lambda probe: probe.quality(*validation))


class Splits:
    """The clips that the trained model used, and their labels."""

    def __init__(self, data_args, run_folder: Path):
        corpus = load_corpus(data_args.corpus, data_args.data_dir, data_args.task, **data_args.options)
        self.corpus = SealedCorpus(corpus)
        self.ids = json.loads((run_folder / "splits.json").read_text(encoding="utf-8"))

    def labels(self, split: str) -> np.ndarray:
        clips = self.corpus[split]
        labels = dict(zip(clips["id"], clips["label"]))
        return np.array([labels[clip] for clip in self.ids[split]])


def feature_sources(args, store: EmbeddingStore, models: Path) -> list[tuple[str, Callable[[list[str]], Features]]]:
    """Return (name, function from clips to features); the trained model of each seed is one source."""
    sources = [(REFERENCE, lambda clips: tower_embeddings(store, clips))]
    if args.manual_features:
        sources.insert(0, ("manual features", lambda clips: select_features(args.manual_features, clips)))
    for seed in args.seeds:
        model = SemanticMACForAffect.from_pretrained(models / f"seed_{seed}").eval()
        sources.append(("perceiver tokens", lambda clips, model=model: perceiver_tokens(model, store, clips)))
    return sources


def columns(features: Features, part: str) -> np.ndarray:
    """Return the features of a part, concatenated."""
    return np.concatenate([features[modality] for modality in PARTS[part]], axis=1).astype(np.float64)


def choose_probes(task: TaskSpecification, splits: Splits, sources: list) -> dict[tuple[str, str], list]:
    """Return (part, name) -> (source, probe) of each seed; the test split is not read."""
    chosen: dict[tuple[str, str], list] = {}
    for name, source in sources:
        given = {split: source(splits.ids[split]) for split in ("train", "validation")}
        for part, modalities in PARTS.items():
            if given["train"].keys() >= set(modalities):
                pairs = [(columns(features, part), splits.labels(split)) for split, features in given.items()]
                chosen.setdefault((part, name), []).append((source, choose_probe(task, *pairs)))
    return chosen


def probe_result(name: str, part: str, probes: list, splits: Splits, full: runs.Result) -> runs.Result:
    """Return the test metrics of the seeds of a probe, on the clips of the full model."""
    ids, labels = splits.ids["test"], splits.labels("test")
    rows = [ids.index(clip) for clip in full.predictions.ids]
    values: dict[str, list[float]] = {}
    predictions = []
    for source, probe in probes:
        logits = probe.logits(columns(source(ids), part))
        for metric, value in {**compute_metrics(probe.task, logits, labels), "regularisation": probe.strength}.items():
            values.setdefault(metric, []).append(value)
        predictions.append(logit_predictions(probe.task, logits)[rows])
    pooled = replace(full.predictions, name=name, predictions=np.stack(predictions), thresholds=[None] * len(probes))
    return runs.Result(name, values, pooled)


def main(argv: list[str] | None = None) -> None:
    """Train what is missing, fit the probes, then write the tables."""
    parser = runs.ablation_parser(__doc__)
    parser.add_argument("--manual_features", help="npz file of manual features")
    args = runs.parse(parser, argv)
    folder = runs.train(args, {runs.FULL: []})[runs.FULL]
    full = runs.read_result(runs.FULL, folder, args.seeds)
    data, store = runs.resolved(args)[1], EmbeddingStore.open(args.embeddings_dir)
    task, splits = runs.task_of(data), Splits(data, folder / f"seed_{args.seeds[0]}")
    chosen = choose_probes(task, splits, feature_sources(args, store, folder))
    splits.corpus.open_test("the probes are chosen by validation")
    tables = {}
    for part in PARTS:
        found = [
            probe_result(name, where, probes, splits, full) for (where, name), probes in chosen.items() if where == part
        ]
        reference = next(result for result in found if result.name == REFERENCE)
        rows = [(result, None if result is reference else reference) for result in found]
        tables[f"Linear probe, {part}"] = runs.result_table([*rows, (full, None)], task.metrics)
    note = runs.table_note(args, f"the {REFERENCE} of the same modalities", len(full.predictions.ids))
    runs.write_tables(args.output_dir / "linear_probe", tables, note)


if __name__ == "__main__":
    main()
