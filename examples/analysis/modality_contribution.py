"""Measure how much each modality contributes to the predictions of a split: exact Shapley values of every clip.

    python examples/analysis/modality_contribution.py RUN
    python examples/analysis/modality_contribution.py RUN --data_dir CORPUS --split test --clips test_0003 test_0017 \\
        --output_dir contribution

Writes `contribution.md` (means over the split), `contribution.csv` (every clip and output) and `contribution.png` /
`.svg`: bars of the chosen clips, or of some from the lowest to the highest prediction. Contributions are in units of
the score, or of the probability of a class. Their base is the mean label of the training set.
"""

import logging
import sys
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.analysis.trained_run import TrainedRun, run_command, run_parser  # noqa: E402
from modeling_semanticmac.analyses.modality_contribution import (  # noqa: E402
    ModalityContribution,
    base_prediction,
    modality_contributions,
)
from modeling_semanticmac.configuration_semanticmac import (
    MODALITIES,  # noqa: E402
    TaskSpecification,  # noqa: E402
)
from modeling_semanticmac.files.atomic_files import write_csv, write_text  # noqa: E402
from modeling_semanticmac.files.markdown_tables import markdown_table  # noqa: E402
from modeling_semanticmac.files.picture_style import COLORS, MARKERS, new_figure, picture_style, save_picture  # noqa: E402

HEADER = ["id", "output", "base", *MODALITIES, "prediction"]


def summary_table(found: ModalityContribution, task: TaskSpecification) -> str:
    """Return a Markdown table of the mean absolute contribution, its share and the mean, by output and modality."""
    rows = []
    for index, name in enumerate(task.label_names):
        shapley = found.shapley[..., index]  # (n, 3)
        size = np.abs(shapley).mean(axis=0)
        for m, modality in enumerate(MODALITIES):
            share = f"{size[m] / size.sum():.1%}" if size.sum() else "undefined"
            rows.append([name, modality, f"{size[m]:.4f}", share, f"{shapley[:, m].mean():+.4f}"])
    return markdown_table(["output", "modality", "mean absolute contribution", "share", "mean contribution"], rows)


def clip_rows(ids: list[str], found: ModalityContribution, task: TaskSpecification) -> list[list]:
    """Return one row a clip and output, as in HEADER."""
    return [
        [clip, name, found.base[row, index], *found.shapley[row, :, index], found.prediction[row, index]]
        for row, clip in enumerate(ids)
        for index, name in enumerate(task.label_names)
    ]


def draw_bars(ids: list[str], found: ModalityContribution, task: TaskSpecification, output: int):
    """Draw the contributions to one output, a row a clip: positive ones right of the base, negative ones left."""
    with picture_style():
        figure = new_figure(8, 1.6 + 0.34 * len(ids))
        axes = figure.subplots()
        base, rows = found.base[0, output], np.arange(len(ids))
        ends = {1: np.full(len(ids), base), -1: np.full(len(ids), base)}
        for m, modality in enumerate(MODALITIES):
            for sign, label in ((1, modality), (-1, None)):
                step = np.where(sign * found.shapley[:, m, output] > 0, found.shapley[:, m, output], 0.0)
                axes.barh(
                    rows,
                    step,
                    0.7,
                    left=ends[sign],
                    color=COLORS[modality],
                    edgecolor="white",
                    linewidth=0.6,
                    label=label,
                )
                ends[sign] = ends[sign] + step
        axes.axvline(base, color="0.35", linewidth=1.2, label=f"base {base:+.2f}")
        style = {"color": COLORS["multimodal"], "markersize": 9, "markeredgecolor": "white", "label": "prediction"}
        axes.plot(found.prediction[:, output], rows, MARKERS["multimodal"], **style)
        axes.set_yticks(rows, [clip if len(clip) < 30 else f"{clip[:27]}..." for clip in ids])
        axes.set_ylim(len(ids) - 0.4, -0.6)
        name = task.label_names[output]
        axes.set_xlabel(f"{name}, score" if task.is_regression else f"probability of {name}")
        figure.legend(loc="outside upper center", ncols=5)
    return figure


def evenly_ranked(values: np.ndarray, most: int) -> list[int]:
    """Return rows from the lowest to the highest value, evenly spaced in rank."""
    order = np.argsort(values, kind="stable")
    return [int(order[i]) for i in np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int))]


def main(argv: list[str] | None = None) -> None:
    """Write the tables and the picture, and print the means."""
    parser = run_parser(__doc__)
    parser.set_defaults(split="validation")
    parser.add_argument("--clips", nargs="+", metavar="ID", help="clips of the picture")
    parser.add_argument("--most", type=int, default=16, help="clips of the picture where none are named")
    parser.add_argument("--output", help="class of the picture (default: the first)")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.INFO)
    run = TrainedRun.of(args)
    task, ids = run.task, list(run.clips["id"])
    if args.output is not None and args.output not in task.label_names:
        raise ValueError(f"no output {args.output!r}; the task predicts {', '.join(task.label_names)}.")
    output = task.label_names.index(args.output) if args.output else 0
    missing = [clip for clip in args.clips or () if clip not in ids]
    if missing:
        raise ValueError(
            f"no clip {', '.join(missing)} in {run.split} ({', '.join(ids[:3])}, ...); give ids of this split."
        )
    corpus = run.corpus
    batches = DataLoader(run.clips, run.batch_size, collate_fn=run.collator)
    found = modality_contributions(run.model, batches, base_prediction(corpus["train"]["label"], task))
    write_csv(run.output_dir / "contribution.csv", HEADER, clip_rows(ids, found, task))
    rows = (
        [ids.index(clip) for clip in args.clips]
        if args.clips
        else evenly_ranked(found.prediction[:, output], args.most)
    )
    shown = ModalityContribution(found.subsets[rows], found.shapley[rows])
    save_picture(draw_bars([ids[row] for row in rows], shown, task, output), run.output_dir / "contribution")
    text = f"{len(ids)} clips: {run.title}\n\n{summary_table(found, task)}"
    write_text(run.output_dir / "contribution.md", text)
    print(text)


if __name__ == "__main__":
    run_command(main)
