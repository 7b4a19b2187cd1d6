"""Do pseudo labels follow their modality? A study on the synthetic corpus, whose unimodal scores are planted.

    python examples/analysis/label_study.py --quickstart_dir quickstart --output_dir label_study --seeds 1 2 3 4 5

Needs a finished quickstart (corpus, towers, language model, embeddings). Trains with the full objective and with parts of it left out, over several
seeds, and writes `label_study.md` and `.json`:

- Pearson correlation of each modality's pseudo labels with its planted score on the training set, beside that of the multimodal label;
- for every setting, Pearson correlation of each modality's predictor with its planted score, and the error, on the test set.

Finished runs are not repeated.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))

from datasets_scripts import load_corpus  # noqa: E402
from modeling_semanticmac.commands import train as train_command  # noqa: E402
from modeling_semanticmac.configuration_semanticmac import SUBTASKS  # noqa: E402
from modeling_semanticmac.files.atomic_files import write_json, write_text  # noqa: E402
from modeling_semanticmac.runs.output_folder import OutputFolder  # noqa: E402
from modeling_semanticmac.runs.record import FINISHED, read_predictions  # noqa: E402

SETTINGS = {
    "full objective": [],
    "label_start_epoch=2": ["--label_start_epoch", "2"],
    "pseudo_labels=ground_truth": ["--pseudo_labels", "ground_truth"],
    "pseudo_labels=off": ["--pseudo_labels", "off"],
    "no contrastive terms": ["--intra_weight", "0", "--inter_weight", "0"],
}
GENERATED = ("full objective", "label_start_epoch=2")
PLANTED = {"T": "label_text", "A": "label_audio", "V": "label_vision"}


def train(folder: Path, quickstart: Path, seed: int, words: list[str]) -> None:
    """One run of the synthetic recipe; a finished one is kept."""
    if OutputFolder(folder).state == FINISHED:
        return
    train_command.main([
        str(PROJECT / "modeling_semanticmac/training/recipes/synthetic_sentiment.yaml"), "--output_dir", str(folder), "--seed", str(seed), *words, "--overwrite_output_dir",
        "--data_dir", str(quickstart / "corpus"), "--embeddings_dir", str(quickstart / "embeddings"), "--disable_tqdm", "true",
        "--language_model", str(quickstart / "language_model"), "--load_best_model_at_end", "true",
        "--vision_encoder", str(quickstart / "towers/vision"), "--audio_encoder", str(quickstart / "towers/audio"),
    ])  # fmt: skip


def pearson(left, right) -> float:
    return float(np.corrcoef(left, right)[0, 1])


def label_correlations(folder: Path, clips) -> dict[str, float]:
    """Pearson correlation of the last pseudo labels with the planted score, by sub-task; clips without the modality are left out."""
    newest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    state = load_file(newest / "label_state.safetensors")
    found = {}
    for subtask, column in PLANTED.items():
        position = SUBTASKS.index(subtask)
        has = state["present"][position].numpy()
        found[subtask] = pearson(state["labels"][position, :, 0].numpy()[has], np.array(clips[column])[has])
    return found


def head_correlations(folder: Path, clips) -> dict[str, float]:
    """Pearson correlation of each modality's predictor with its planted score on the test set."""
    rows = read_predictions(folder / "predictions_test.csv")
    assert [row["id"] for row in rows] == clips["id"]
    return {s: pearson([float(row[f"prediction_{s}"]) for row in rows], clips[column]) for s, column in PLANTED.items()}


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} +- {np.std(values, ddof=1) if len(values) > 1 else 0:.3f}"


def report(results: dict, multimodal: dict[str, float]) -> str:
    """The tables in Markdown."""
    lines = [
        "| sub-task | label and planted score | " + " | ".join(f"pseudo label, {name}" for name in GENERATED) + " |"
    ]
    lines += ["| --- " * (len(GENERATED) + 2) + "|"]
    for subtask in PLANTED:
        columns = [spread([row["labels"][subtask] for row in results[name]]) for name in GENERATED]
        lines.append(f"| {subtask} | {multimodal[subtask]:.3f} | {' | '.join(columns)} |")
    lines += ["", "| setting | head T | head A | head V | test MAE | test Pearson |", "| --- " * 6 + "|"]
    for name, rows in results.items():
        heads = [spread([row["heads"][subtask] for row in rows]) for subtask in PLANTED]
        scores = [spread([row[key] for row in rows]) for key in ("mae", "pearson")]
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
        for name, words in SETTINGS.items():
            folder = args.output_dir / f"{name.replace(' ', '_')}_{seed}"
            train(folder, args.quickstart_dir, seed, words)
            scores = json.loads((folder / "all_results.json").read_text())
            row = {"seed": seed, "mae": scores["test_mae"], "pearson": scores["test_pearson"]}
            row["heads"] = head_correlations(folder, corpus["test"])
            if name in GENERATED:
                row["labels"] = label_correlations(folder, corpus["train"])
            results.setdefault(name, []).append(row)
    text = report(results, multimodal)
    write_json(args.output_dir / "label_study.json", {"multimodal": multimodal, "results": results})
    write_text(args.output_dir / "label_study.md", text)
    print(text)


if __name__ == "__main__":
    main()
