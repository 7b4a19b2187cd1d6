"""Test whether semantic balance follows a known truth: three synthetic corpora of the same clips, whose labels depend
mostly on text, audio or vision.

    python examples/analysis/planted_strengths.py --output_dir planted_strengths --seeds 1 2 3

Renders, trains and compares; writes `planted_strengths.md` and `.csv`: the area of each modality and pair in each
corpus. Every clip holds a contradiction, so that no modality tells what the others say. Finished parts are not
repeated.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from datasets_scripts import load_corpus  # noqa: E402
from examples.analysis import semantic_balance  # noqa: E402
from examples.tiny_models import save_tiny_language_model, save_tiny_towers  # noqa: E402
from modeling_semanticmac.commands import train as train_command  # noqa: E402
from modeling_semanticmac.files.atomic_files import write_csv, write_text  # noqa: E402
from modeling_semanticmac.files.markdown_tables import markdown_table, mean_and_deviation  # noqa: E402
from modeling_semanticmac.runs.output_folder import OutputFolder  # noqa: E402
from modeling_semanticmac.runs.record import FINISHED  # noqa: E402

STRENGTHS = {"text": [0.7, 0.15, 0.15], "audio": [0.15, 0.7, 0.15], "vision": [0.15, 0.15, 0.7]}
SIZES = {"train": 360, "contradiction_share": 1.0}


def model_arguments(folder: Path, texts: list[str]) -> list[str]:
    """Write tiny random towers and a language model once, and return the arguments that name them."""
    if not (folder / "language_model").is_dir():
        save_tiny_towers(folder / "towers")
        save_tiny_language_model(folder / "language_model", texts)
    towers = ["--vision_encoder", str(folder / "towers/vision"), "--audio_encoder", str(folder / "towers/audio")]
    return ["--language_model", str(folder / "language_model"), *towers]


def trained_run(folder: Path, strong: str, seed: int) -> Path:
    """Train on one corpus with one seed where that is not finished, and return the folder of the run."""
    run, corpus = folder / strong / f"run_{seed}", folder / strong / "corpus"
    if OutputFolder(run).state == FINISHED:
        return run
    options = {**SIZES, "label_weights": STRENGTHS[strong]}
    clips = load_corpus("synthetic", corpus, "sentiment", **options)
    train_command.main([
        "synthetic_sentiment", "--data_dir", str(corpus), "--output_dir", str(run),
        *model_arguments(folder, clips["train"]["text"]), "--corpus_options", json.dumps(options), "--seed", str(seed),
        "--embeddings_dir", str(folder / "embeddings"), "--disable_tqdm", "true", "--overwrite_output_dir",
    ])  # fmt: skip
    return run


def main(argv: list[str] | None = None) -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("planted_strengths"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows, table = [], []
    for strong in STRENGTHS:
        areas: dict[str, list[float]] = {}
        for seed in args.seeds:
            found = semantic_balance.main([str(trained_run(args.output_dir, strong, seed))])
            for name, balance in found.items():
                rows.append([strong, seed, name, balance.area])
                areas.setdefault(name, []).append(balance.area)
        table.append([strong, *(mean_and_deviation(values) for values in areas.values())])
    header = ["strong modality", *areas]
    write_csv(args.output_dir / "planted_strengths.csv", ["strong", "seed", "compared", "area"], rows)
    write_text(args.output_dir / "planted_strengths.md", markdown_table(header, table))
    print(markdown_table(header, table))


if __name__ == "__main__":
    main()
