"""The report of a run: `report.md` with its pictures and the same data in `report.json`; comparisons of runs.

semanticmac report RUN            write RUN/report.md again (`semanticmac train` writes it at the end of a run)
semanticmac compare RUN RUN ...   differences, with intervals of a paired bootstrap over clips; seeds are pooled
"""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from ..files.atomic_files import write_json, write_text
from ..files.markdown_tables import format_number
from ..runs.comparison import RESAMPLES, comparison_table
from ..runs.folder import SEMANTICMAC, RunFolder, split_results
from .feature_section import features_section
from .glance import glance_section
from .modality_section import modality_section
from .predictions import covered_clips, predictions_section
from .section import PICTURES, Section
from .sections import (
    circumstances_section,
    clips_section,
    cost_section,
    metrics_section,
    pseudo_label_section,
    training_section,
)
from .trust_sections import certainty_section, groups_section

# In the order of the page. A function returns None where its section has no content. To add a section, add its
# function.
SECTIONS: tuple[Callable[[RunFolder], Section | None], ...] = (
    metrics_section,
    glance_section,
    predictions_section,
    modality_section,
    certainty_section,
    groups_section,
    clips_section,
    features_section,
    training_section,
    pseudo_label_section,
    cost_section,
    circumstances_section,
)


def write_report(folder: Path | str) -> str:
    """Write `report.md`, `report.json` and the folder of their pictures from the files of a run.

    Args:
        folder: the output folder of the run.

    Returns:
        The Markdown of the report.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: files that contradict each other.
    """
    run = RunFolder(folder)
    shutil.rmtree(run.path / PICTURES, ignore_errors=True)  # pictures of an earlier report
    sections = [section for make in SECTIONS if (section := make(run)) is not None]
    title, summary = _head(run)
    text = f"# {title}\n\n{summary}\n" + "".join(f"\n## {section.title}\n\n{section.text}" for section in sections)
    data = {"corpus": run.record["data"]["corpus"], "task": run.record["task"], "summary": summary}
    write_json(run.path / "report.json", data | {section.name: section.data for section in sections})
    write_text(run.path / "report.md", text)
    return text


def _head(run: RunFolder) -> tuple[str, str]:
    """Return the title and a summary of two sentences."""
    data, task = run.record["data"], run.task
    kind = {
        "regression": "a score in [{:g}, {:g}]".format(*(task.label_range or (0, 0))),
        "single_label_classification": f"one of {task.num_labels} classes",
        "multi_label_classification": f"any of {task.num_labels} labels",
    }[task.problem_type]
    system = "" if run.architecture == SEMANTICMAC else f"Comparison system `{run.architecture}`. "
    words = [
        f"{system}Predicts {kind} from {run.modality_text}; language model `{run.language_model}`, "
        f"seed {run.record['seed']}."
    ]
    name = "sims_mae" if task.metrics == "sims" else "mae" if task.is_regression else "w_f1"
    found = {
        word: split_results(run.results, split).get(name) for split, word in (("test", "test"), ("eval", "validation"))
    }
    told = [f"{format_number(value)} on {split}" for split, value in found.items() if value is not None]
    if told:
        words.append(f"**`{name}` {', '.join(told)}**{' (lower is better)' if task.is_regression else ''}.")
    if run.changed_settings:
        words.append(f"**Resumed with changed settings**: {'; '.join(run.changed_settings)}.")
    options = f" Corpus options: `{data['corpus_options']}`." if data["corpus_options"] else ""
    lacking = covered_clips(run)[1]
    warning = f" **{lacking.partition('. ')[0]}.**" if lacking else ""
    return f"{data['corpus']}, {task.name}", " ".join(words) + options + warning


def main(argv: list[str] | None = None) -> int:
    """Write the report of each run again.

    `compare RUN RUN ...`, the former spelling of `semanticmac compare`, compares runs.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["compare"]:
        return compare_main(argv[1:])
    parser = argparse.ArgumentParser(
        prog="semanticmac report", description="Write report.md and report.json of a run again, with their pictures."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a run")
    args = parser.parse_args(argv)
    try:
        for run in args.runs:
            print(write_report(run))
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    return 0


def compare_main(argv: list[str] | None = None) -> int:
    """Print the differences of runs with their bootstrap intervals."""
    parser = argparse.ArgumentParser(
        prog="semanticmac compare",
        description="Compare runs on the same clips: differences with intervals of a paired bootstrap over clips; "
        "seeds are pooled.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folders of two runs or more; the first is the reference"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default %(default)s)")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="bootstrap resamples (default %(default)s)")
    args = parser.parse_args(argv)
    if len(args.runs) < 2:
        parser.error("compare needs two runs or more")
    try:
        print(comparison_table(args.runs, args.seed, args.resamples)[0])
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    return 0
