"""The same run with several seeds: which are finished, and their results together."""

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
        arguments: of the run, as `name=value`, without seed and folders; digests of its clips likewise.
    """

    seed: int
    folder: Path
    arguments: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Return the digest of the arguments."""
        return hashlib.sha256("\0".join(self.arguments).encode()).hexdigest()[:16]

    def is_finished(self) -> bool:
        """Return whether this seed ran to its end with these arguments.

        Raises:
            ValueError: it ran to its end with others.
        """
        path = self.folder / FINISHED
        if not path.is_file():
            return False
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["digest"] != self.digest:
            before = dict(argument.partition("=")[::2] for argument in record.get("arguments", ()))
            now = dict(argument.partition("=")[::2] for argument in self.arguments)
            names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
            other = "; ".join(f"{name} was {before.get(name)}, is {now.get(name)}" for name in names)
            raise ValueError(
                f"{self.folder} holds a finished run with other arguments; give another --output_dir, or remove it."
                + (f" Different: {other}." if before else "")
            )
        return True

    def finish(self, metric: str, value: float | None, greater_is_better: bool) -> None:
        """Mark the end of the run.

        Args:
            metric: of validation, that chose the checkpoint.
            value: its value; None where nothing was evaluated.
            greater_is_better: whether a higher value is better.
        """
        record = {
            "digest": self.digest,
            "arguments": list(self.arguments),
            "seed": self.seed,
            "metric": metric,
            "value": value,
            "greater_is_better": greater_is_better,
        }
        write_json(self.folder / FINISHED, record)


def summarize(runs: Sequence[SeedRun], folder: Path) -> dict:
    """Write `seeds.json` and `seeds.md`: the results of each seed, mean and standard deviation (n - 1), the best seed.

    The best seed is chosen by the validation metric that chose each run's checkpoint, never by the test split.

    Args:
        runs: finished runs.
        folder: where the two files go.

    Returns:
        The content of `seeds.json`.
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
