"""Study whether pseudo labels follow their modality, on the synthetic corpus, whose unimodal scores are known.

    python examples/analysis/label_study.py --quickstart_dir quickstart --output_dir label_study --seeds 1 2 3 4 5

Needs a finished quickstart (corpus, towers, language model, embeddings). Trains with the full objective and without
parts of it, over several seeds, and writes `label_study.md` and `.json`:

- Pearson correlation of the pseudo labels of each modality with its planted score on the training set, beside that of
  the multimodal label;
- for every setting, Pearson correlation of the predictor of each modality with its planted score, and the error, on the
  test set.

Finished runs are not repeated.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from datasets_scripts import load_corpus
from modeling_semanticmac.commands import train as train_command
from modeling_semanticmac.configuration_semanticmac import SUBTASKS
from modeling_semanticmac.files.atomic_files import write_json, write_text
from modeling_semanticmac.runs.output_folder import OutputFolder
from modeling_semanticmac.runs.record import FINISHED, read_predictions

SETTINGS = {
    "full objective": [],
    "label_start_epoch=2": ["--label_start_epoch", "2"],
    "pseudo_labels=ground_truth": ["--pseudo_labels", "ground_truth"],
    "pseudo_labels=off": ["--pseudo_labels", "off"],
    "no contrastive terms": ["--intra_weight", "0", "--inter_weight", "0"],
}
GENERATED = ("full objective", "label_start_epoch=2")
PLANTED = {"T": "label_text", "A": "label_audio", "V": "label_vision"}


def train(folder: Path, quickstart: Path, seed: int, arguments: list[str]) -> None:
    """Train by the synthetic recipe; keep a finished run."""
    if OutputFolder(folder).state == FINISHED:
        return
    train_command.main([
        "synthetic_sentiment", "--output_dir", str(folder), "--seed", str(seed), *arguments,
        "--data_dir", str(quickstart / "corpus"), "--embeddings_dir", str(quickstart / "embeddings"),
        "--disable_tqdm", "true", "--overwrite_output_dir",
        "--language_model", str(quickstart / "language_model"), "--load_best_model_at_end", "true",
        "--vision_encoder", str(quickstart / "towers/vision"), "--audio_encoder", str(quickstart / "towers/audio"),
    ])  # fmt: skip


def pearson(left, right) -> float:
    """Return the Pearson correlation of two lists of numbers."""
    return float(np.corrcoef(left, right)[0, 1])


def label_correlations(folder: Path, clips) -> dict[str, float]:
    """Return the correlation of the last pseudo labels with the planted scores, over clips that have the modality."""
    newest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    state = load_file(newest / "label_state.safetensors")
    found = {}
    for subtask, column in PLANTED.items():
        position = SUBTASKS.index(subtask)
        has = state["present"][position].numpy()
        found[subtask] = pearson(state["labels"][position, :, 0].numpy()[has], np.array(clips[column])[has])
    return found


def head_correlations(folder: Path, clips) -> dict[str, float]:
    """Return the Pearson correlation of the predictor of each modality with its planted score on the test set."""
    rows = read_predictions(folder / "predictions_test.csv")
    assert [row["id"] for row in rows] == clips["id"]
    return {s: pearson([float(row[f"prediction_{s}"]) for row in rows], clips[column]) for s, column in PLANTED.items()}


def mean_and_spread(values: list[float]) -> str:
    """Return mean and standard deviation as text."""
    return f"{np.mean(values):.3f} +- {np.std(values, ddof=1) if len(values) > 1 else 0:.3f}"


def tables(results: dict, multimodal: dict[str, float]) -> str:
    """Return the tables in Markdown."""
    lines = [
        "| sub-task | label and planted score | " + " | ".join(f"pseudo label, {name}" for name in GENERATED) + " |"
    ]
    lines += ["| --- " * (len(GENERATED) + 2) + "|"]
    for subtask in PLANTED:
        columns = [mean_and_spread([row["labels"][subtask] for row in results[name]]) for name in GENERATED]
        lines.append(f"| {subtask} | {multimodal[subtask]:.3f} | {' | '.join(columns)} |")
    lines += ["", "| setting | head T | head A | head V | test MAE | test Pearson |", "| --- " * 6 + "|"]
    for name, rows in results.items():
        heads = [mean_and_spread([row["heads"][subtask] for row in rows]) for subtask in PLANTED]
        scores = [mean_and_spread([row[key] for row in rows]) for key in ("mae", "pearson")]
        lines.append(f"| {name} | {' | '.join(heads + scores)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train what is missing, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quickstart_dir", type=Path, default=Path("quickstart"))
    parser.add_argument("--output_dir", type=Path, default=Path("label_study"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    args = parser.parse_args()
    torch.set_num_threads(1)
    corpus = load_corpus("synthetic", args.quickstart_dir / "corpus", "sentiment")
    multimodal = {s: pearson(corpus["train"]["label"], corpus["train"][column]) for s, column in PLANTED.items()}
    results: dict[str, list] = {}
    for seed in args.seeds:
        for name, arguments in SETTINGS.items():
            folder = args.output_dir / f"{name.replace(' ', '_')}_{seed}"
            train(folder, args.quickstart_dir, seed, arguments)
            scores = json.loads((folder / "all_results.json").read_text())
            row = {"seed": seed, "mae": scores["test_mae"], "pearson": scores["test_pearson"]}
            row["heads"] = head_correlations(folder, corpus["test"])
            if name in GENERATED:
                row["labels"] = label_correlations(folder, corpus["train"])
            results.setdefault(name, []).append(row)
    text = tables(results, multimodal)
    write_json(args.output_dir / "label_study.json", {"multimodal": multimodal, "results": results})
    write_text(args.output_dir / "label_study.md", text)
    print(text)


if __name__ == "__main__":
    main()
