"""Show cases of a run, as Table I of the paper, on one page: clips whose modalities disagree, or chosen clips.

    python examples/analysis/case_study.py RUN
    python examples/analysis/case_study.py RUN --data_dir CORPUS --clips train_0001 train_0007 --output_dir cases
    python examples/analysis/case_study.py RUN --split test --most 10

Clips are found by the largest difference between the pseudo labels of text, audio and vision (split `train`), or
between the predictions of these three heads (other splits). Writes `cases.html`, which needs no network, `cases.csv`
with the disagreement of every clip of the split, and in `cases/` for each case a picture (PNG, SVG, its numbers as CSV)
and a small copy of its clip. Of a run with `--keep_bank` each case names the nearest training clips.
"""

import logging
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.analysis.trained_run import TrainedRun, run_command, run_parser  # noqa: E402
from modeling_semanticmac.analyses.case_page import write_case_page  # noqa: E402
from modeling_semanticmac.analyses.case_study import (
    collect_cases,
    prediction_spread,
    pseudo_label_spread,
    pseudo_labels_of,
    rows_of_largest,
)
from modeling_semanticmac.analyses.modality_contribution import base_prediction  # noqa: E402
from modeling_semanticmac.files.atomic_files import write_csv  # noqa: E402
from modeling_semanticmac.neighbor_bank import BANK, NeighborBank  # noqa: E402
from modeling_semanticmac.training.label_history import LabelHistory, read_label_history  # noqa: E402

logger = logging.getLogger("case_study")


def read_history(run: TrainedRun) -> LabelHistory | None:
    """Return the pseudo labels of the run; None for clips that it was not trained on, or where it kept none."""
    if run.split != "train":
        return None
    try:
        return read_label_history(run.name)
    except FileNotFoundError as error:
        logger.warning("%s Clips are compared by the predictions of the heads.", error)
        return None


def disagreement(run: TrainedRun, history: LabelHistory | None, epoch: int | None) -> tuple[np.ndarray, str]:
    """Return how much the modalities of each clip disagree, (n,), and what was compared."""
    if history is not None:
        by_id = dict(zip(history.ids, pseudo_label_spread(history, epoch)))
        return np.array([by_id.get(clip, 0.0) for clip in run.clips["id"]]), f"pseudo labels of epoch {epoch}"
    found = run.representations
    return prediction_spread(found.subtask_logits, found.modality_mask, run.task), "predictions"


def choose(clips, requested: list[str] | None, spread: np.ndarray, most: int, compared: str) -> tuple[list[int], dict]:
    """Return the rows of the cases, and the reason for each.

    Raises:
        ValueError: a requested clip is not in the split.
    """
    rows = {clip: row for row, clip in enumerate(clips["id"])}
    missing = [clip for clip in requested or () if clip not in rows]
    if missing:
        raise ValueError(
            f"no clip {', '.join(missing)} among the {len(rows)} clips of this split ({', '.join(list(rows)[:3])}, "
            "...); give ids of this split."
        )
    chosen = [rows[clip] for clip in requested] if requested else rows_of_largest(spread, most)
    ids = clips["id"]
    reason = f"disagreement of text, audio and vision {{:.2f}}, by {compared}"
    return chosen, {ids[row]: reason.format(spread[row]) for row in chosen}


def main(argv: list[str] | None = None) -> None:
    """Write the page and print its path."""
    parser = run_parser(__doc__)
    parser.add_argument("--clips", nargs="+", metavar="ID", help="these clips instead of those that disagree most")
    parser.add_argument("--most", type=int, default=20, help="how many clips to find (default: %(default)s)")
    parser.add_argument("--epoch", type=int, help="of the pseudo labels (default: the last)")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.INFO)
    run = TrainedRun.of(args)
    clips, history = run.clips, read_history(run)
    epoch = (args.epoch or history.epochs[-1]) if history is not None else None
    spread, compared = disagreement(run, history, epoch)
    rows, reasons = choose(clips, args.clips, spread, args.most, compared)
    if not rows:
        raise ValueError(f"by {compared}, no clip has two modalities that disagree; name clips with --clips.")
    ranking = sorted(zip(clips["id"], spread.tolist()), key=lambda row: -row[1])
    write_csv(run.output_dir / "cases.csv", ["id", "disagreement"], ranking)
    train = run.corpus["train"]
    chosen, pseudo_labels, texts = clips.select(rows), {}, dict(zip(train["id"], train["text"]))
    if history is not None:
        pseudo_labels = pseudo_labels_of(history, epoch, chosen["id"], texts)
    base = base_prediction(train["label"], run.task)
    bank = NeighborBank.of_model(run.model) if (Path(run.name) / BANK).is_file() else None
    cases = collect_cases(run.model, chosen, run.collator, reasons, base, pseudo_labels, epoch, bank, texts)
    how = "chosen by name" if args.clips else f"whose modalities disagree most, by {compared}"
    introduction = (
        f"{len(cases)} of {len(clips)} clips, {how}. Contributions begin at the mean label of the training set."
    )
    if not run.model.config.reads_words:
        introduction += " The words are shown for reading: the model reads vectors of text in their place."
    print(write_case_page(cases, run.output_dir, run.processor, f"Cases: {run.title}", introduction))


if __name__ == "__main__":
    run_command(main)
