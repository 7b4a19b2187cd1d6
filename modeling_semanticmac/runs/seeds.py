"""The same run with several seeds: which are finished, and what they say together."""

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files.atomic_files import write_json, write_text
from ..files.markdown_tables import format_number, markdown_table
from .folder import split_results

FINISHED = "finished.json"


@dataclass(frozen=True)
class SeedRun:
    """One seed of a run.

    Args:
        seed: its seed.
        folder: its output folder.
        words: the arguments of the run, without seed and folders.
    """

    seed: int
    folder: Path
    words: tuple[str, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256("\0".join(self.words).encode()).hexdigest()[:16]

    def is_finished(self) -> bool:
        """Whether this seed ran to its end, with these arguments.

        Raises:
            ValueError: it did with others.
        """
        path = self.folder / FINISHED
        if not path.is_file():
            return False
        if json.loads(path.read_text(encoding="utf-8"))["digest"] != self.digest:
            raise ValueError(
                f"{self.folder} holds a finished run with other arguments; give another --output_dir, or remove it."
            )
        return True

    def finish(self, metric: str, value: float | None, greater_is_better: bool) -> None:
        """Mark the end, with the validation metric that chose the checkpoint."""
        record = {
            "digest": self.digest,
            "seed": self.seed,
            "metric": metric,
            "value": value,
            "greater_is_better": greater_is_better,
        }
        write_json(self.folder / FINISHED, record)


def summarize(runs: Sequence[SeedRun], folder: Path) -> dict:
    """Each result of every seed with mean and standard deviation (n - 1), and the seed that is best on validation; as `seeds.json` and `seeds.md`.

    The best seed is chosen by the validation metric that chose each run's checkpoint, never by the test split.

    Args:
        runs: finished runs.
        folder: where the two files go.
    """
    records = [json.loads((run.folder / FINISHED).read_text(encoding="utf-8")) for run in runs]
    results = [json.loads((run.folder / "all_results.json").read_text(encoding="utf-8")) for run in runs]
    table = {}
    for split in ("eval", "test"):
        of_seeds = [split_results(found, split) for found in results]
        for name in of_seeds[0]:
            if all(name in found for found in of_seeds):
                values = [found[name] for found in of_seeds]
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                table[f"{split}_{name}"] = {"values": values, "mean": statistics.fmean(values), "std": spread}
    chosen = [(record["value"], run) for record, run in zip(records, runs) if record["value"] is not None]
    better = max if records[0]["greater_is_better"] else min
    best = better(chosen, key=lambda pair: pair[0])[1] if chosen else None
    summary = {
        "seeds": [run.seed for run in runs],
        "results": table,
        "chosen_by": f"validation {records[0]['metric']}",
        "best_seed": best.seed if best else None,
        "best_folder": best.folder.name if best else None,
    }
    write_json(folder / "seeds.json", summary)
    write_text(folder / "seeds.md", _markdown(summary))
    return summary


def _markdown(summary: dict) -> str:
    header = ["", *(f"seed {seed}" for seed in summary["seeds"]), "mean", "std"]
    rows = [
        [name, *map(format_number, (*found["values"], found["mean"], found["std"]))]
        for name, found in summary["results"].items()
    ]
    table = markdown_table(header, rows)
    if not summary["best_folder"]:
        return table
    return f"{table}\nBest by {summary['chosen_by']}: seed {summary['best_seed']} (`{summary['best_folder']}`).\n"


__all__ = ["SeedRun", "summarize"]
