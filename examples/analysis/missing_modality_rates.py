"""Test trained models with missing modalities: all seven sets of them, and random rates from 0.1 to 0.7.

    python examples/analysis/missing_modality_rates.py bench/missing/runs/*/*/*/seed_* --output_dir bench/missing

Each run is tested on the clips of its own test split. The seeds and folds of a system are one row, their mean. Writes
`missing_modalities.md` and `missing_modalities.json`. The same command continues where it was stopped: runs that were
tested with the same settings, and have not been trained again since, are kept in `tested_runs.json`.
`examples/benchmarks/missing_modalities.yaml` trains the models: SemanticMAC, MissModal and others, without and with
modality dropout.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.analysis.trained_run import TrainedRun, run_command  # noqa: E402
from modeling_semanticmac.analyses.missing_modalities import RATES, missing_modalities  # noqa: E402
from modeling_semanticmac.files.atomic_files import write_json, write_text  # noqa: E402
from modeling_semanticmac.files.markdown_tables import markdown_table  # noqa: E402

PREFERRED = ("mae", "sims_mae", "w_f1")


def main(argv: list[str] | None = None) -> None:
    """Test every run, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    parser.add_argument("--output_dir", required=True, type=Path, help="folder of the tables")
    parser.add_argument("--data_dir", help="folder of the corpus (default: that of each run)")
    parser.add_argument("--split", default="test", help="train, validation or test (default: %(default)s)")
    parser.add_argument("--rates", nargs="*", type=float, default=list(RATES), help="of missing modalities")
    parser.add_argument("--metric", help="of the table (default: mean absolute error, or weighted F1)")
    parser.add_argument("--seed", type=int, default=0, help="of the random draws (default: %(default)s)")
    args = parser.parse_args(argv)
    results: dict[str, list[dict]] = defaultdict(list)
    file = args.output_dir / "tested_runs.json"
    tested = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for folder in tqdm(args.runs, desc="Runs", unit=" runs"):
        key = tested_as(folder, args)
        if key not in tested:
            tested[key] = list(test(folder, args).items())  # a mapping would lose its order in the file
            args.output_dir.mkdir(parents=True, exist_ok=True)
            write_json(file, tested)
        # NaN is null in the file.
        found = {name: {k: np.nan if v is None else v for k, v in values.items()} for name, values in tested[key]}
        results[system_of(folder)].append(found)
    write(results, args)


def test(folder: Path, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the metrics of a run in each test, see `missing_modalities`."""
    options = argparse.Namespace(run=str(folder), data_dir=args.data_dir, split=args.split, output_dir=None,
                                 corpus=None, task=None, embeddings_dir=None, batch_size=64)  # fmt: skip
    run = TrainedRun.of(options)
    return missing_modalities(run.model, run.clips, run.collator, args.rates, args.seed)


def tested_as(folder: Path, args: argparse.Namespace) -> str:
    """Return a text that differs where the run was trained again, or is tested in another way."""
    files = [path for path in sorted(folder.glob("*")) if path.suffix == ".safetensors" or path.name == "config.json"]
    saved = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    return json.dumps([str(folder.resolve()), saved, args.data_dir, args.split, args.rates, args.seed])


def system_of(folder: Path) -> str:
    """Return the row of a run: its folders below `runs` without those of folds and seeds, else its own or its parent's
    name.
    """
    parts = folder.resolve().parts
    if "runs" in parts:
        parts = parts[len(parts) - parts[::-1].index("runs") :]
        return " / ".join(part for part in parts if not part.startswith(("seed_", "fold_")))
    return folder.parent.name if folder.name.startswith("seed_") else folder.name


def write(results: dict[str, list[dict]], args: argparse.Namespace) -> None:
    """Write the results of each system, one mapping a run, as Markdown and JSON."""
    first = next(iter(results.values()))[0]
    tests = list(first)
    metric = args.metric or next((name for name in PREFERRED if name in first[tests[0]]), next(iter(first[tests[0]])))
    rows = []
    for name, runs in results.items():
        values = [[run[test].get(metric, np.nan) for run in runs] for test in tests]
        rows.append([name, *(f"{np.mean(value):.3f}" for value in values)])
    note = (
        f"{metric} on the {args.split} split; the mean of the runs. A set names the modalities that are left; at a "
        "rate each modality of each clip is missing with that probability, but never all. Clips that have none of a "
        "set are not counted in it; the JSON file has their number, and all metrics."
    )
    table = markdown_table(["system", *tests], rows)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    write_text(args.output_dir / "missing_modalities.md", f"# Missing modalities\n\n{table}\n\n{note}\n")
    write_json(args.output_dir / "missing_modalities.json", {"metric": metric, "systems": dict(results)})


if __name__ == "__main__":
    run_command(main)
