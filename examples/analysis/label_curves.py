"""Draw how the pseudo labels of a run change from epoch to epoch (Figures 6b and 6c of the paper).

    python examples/analysis/label_curves.py RUN --data_dir CORPUS --output_dir PICTURES

Writes `label_curves.png`, `.svg` and `.csv`: quantiles of the scores, or the share of clips in each class, by sub-task
and epoch. Where the corpus has labels of single modalities (CH-SIMS, synthetic) also `label_agreement`: Pearson's
correlation and F1 of the pseudo labels with them; the ground truth is the baseline. The run must have kept its label
history (`--pseudo_labels generated`).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.analysis.trained_run import TrainedRun, run_command, run_parser  # noqa: E402
from modeling_semanticmac.analyses.analysis_pictures import draw_agreement, draw_label_curves  # noqa: E402
from modeling_semanticmac.analyses.label_curves import LabelCurves, label_curves  # noqa: E402
from modeling_semanticmac.configuration_semanticmac import SUBTASKS  # noqa: E402
from modeling_semanticmac.files.markdown_tables import format_number, markdown_table  # noqa: E402
from modeling_semanticmac.files.picture_style import save_picture  # noqa: E402
from modeling_semanticmac.training.label_history import read_label_history  # noqa: E402


def value_rows(curves: LabelCurves) -> list[list]:
    """Return one row an epoch and sub-task."""
    pairs = [(place, subtask) for place in range(len(curves.epochs)) for subtask in range(len(SUBTASKS))]
    return [[curves.epochs[e], SUBTASKS[s], *curves.values[e, s].tolist()] for e, s in pairs]


def agreement_rows(curves: LabelCurves) -> list[list]:
    """Return one row a measure, sub-task and epoch."""
    return [
        [measure, subtask, epoch, value]
        for measure, rows in curves.agreement.items()
        for subtask, values in rows.items()
        for epoch, value in zip(curves.epochs.tolist(), values.tolist())
    ]


def main(argv: list[str] | None = None) -> LabelCurves:
    """Draw the pictures and print the first and the last agreement."""
    args = run_parser(__doc__).parse_args(argv)
    if args.split != "train":
        raise ValueError(f"--split is {args.split}; only the training set has pseudo labels.")
    history = read_label_history(args.run)
    run = TrainedRun.of(args)
    curves = label_curves(history, run.task, run.clips)
    title = f"Pseudo labels: {run.title}, {len(history.ids)} clips"
    figure = draw_label_curves(curves, run.task, title)
    save_picture(figure, run.output_dir / "label_curves", ["epoch", "subtask", *curves.names], value_rows(curves))
    if curves.agreement:
        figure = draw_agreement(
            curves, f"Pseudo labels and labels of single modalities: {run.title}, {len(history.ids)} clips"
        )
        header = ["measure", "subtask", "epoch", "value"]
        save_picture(figure, run.output_dir / "label_agreement", header, agreement_rows(curves))
        ends = [
            [measure, subtask, format_number(float(values[0]), 3), format_number(float(values[-1]), 3)]
            for measure, rows in curves.agreement.items()
            for subtask, values in rows.items()
        ]
        print(markdown_table(["measure", "subtask", "ground truth", f"epoch {curves.epochs[-1]}"], ends))
    return curves


if __name__ == "__main__":
    run_command(main)
