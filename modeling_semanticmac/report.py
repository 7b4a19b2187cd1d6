"""What a run did and found, on one page: `report.md`; and runs side by side.

python -m modeling_semanticmac.report RUN                   writes RUN/report.md anew (run_mac.py does it at the end)
python -m modeling_semanticmac.report compare RUN RUN ...   differences with bootstrap intervals
"""

import argparse
import csv
import json
import math
from pathlib import Path

from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from . import metrics
from .atomic_files import write_whole
from .run_comparison import comparison_table

TIMING = ("_runtime", "_per_second", "_flos")
# What the paper prints for its own model (with BERT on MOSI and MOSEI, with sBERT on the others), as shares.
PAPER = {
    ("mosi", "sentiment"): {"acc7": 0.483, "f1_neg_pos": 0.864, "mae": 0.685, "pearson": 0.811},
    ("mosei", "sentiment"): {"acc7": 0.545, "f1_neg_pos": 0.872, "mae": 0.518, "pearson": 0.792},
    ("iemocap", "emotion"): {"w_acc": 0.704, "w_f1": 0.698},
    ("meld", "emotion"): {"w_acc": 0.622, "w_f1": 0.614},
}
CURVE = ("loss", "loss_M", "loss_S", "loss_T", "loss_A", "loss_V", "loss_intra", "loss_inter", "eval_loss", "eval_w_f1")


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _table(header: list[str], rows: list[list]) -> list[str]:
    return ["| " + " | ".join(map(str, row)) + " |" for row in (header, ["---"] * len(header), *rows)] + [""]


def _number(value) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return "undefined" if math.isnan(value) else f"{value:.4f}"


def write_report(folder: Path, expected: dict[str, int] | None = None) -> str:
    """Write `report.md` from what a run left in its folder.

    Args:
        folder: of the run; without `run.json` there is nothing to report.
        expected: split -> clips that the corpus is known to have; None: unknown.

    Raises:
        FileNotFoundError: no run lies there.
    """
    record = _json(folder / "run.json")
    if not record:
        raise FileNotFoundError(f"no run.json in {folder}: it is no folder of a run.")
    data, results = record["data"], _json(folder / "all_results.json")
    lines = [f"# {data['corpus']}, {data['task'] or 'its first task'}", ""]
    lines += _clips(folder, data, expected or {})
    lines += _test(results, (data["corpus"], data["task"]))
    lines += _classes(folder / "predictions_test.csv")
    history = _json(folder / "trainer_state.json").get("log_history", [])
    lines += _curves(history) + _labels(history)
    lines += _circumstances(record, results)
    text = "\n".join(lines) + "\n"
    write_whole(folder / "report.md", lambda path: path.write_text(text, encoding="utf-8"))
    return text


def _clips(folder: Path, data: dict, expected: dict[str, int]) -> list[str]:
    """Counts, and every clip whose media were not all usable."""
    used = _json(folder / "splits.json")
    store = Path(data["embeddings_dir"] or folder / "embeddings")
    rows, odd = [], []
    for split, ids in used.items():
        report = _json(store / f"report_{split}.json")
        failed, partial = (sum(report.get(name, {}).values()) for name in ("failed", "partial"))
        rows.append([split, expected.get(split, "unknown"), len(ids), failed, partial])
        for clip in report.get("clips", []):
            if clip["status"] != "ok":
                odd.append([clip["id"], clip["status"], clip["reason"]])
    lines = ["## Clips", "", *_table(["split", "expected", "used", "media failed", "media in part"], rows)]
    shown = odd[:20]
    if shown:
        more = f" (the first {len(shown)} of {len(odd)})" if len(odd) > len(shown) else ""
        lines += [f"Clips whose media are not whole{more}:", "", *_table(["clip", "status", "reason"], shown)]
    return lines


def _test(results: dict, row: tuple) -> list[str]:
    """Test metrics with their definitions, the paper's beside them."""
    if "test_opened" not in results:
        return ["## Test", "", "The test split was not opened.", ""]
    paper = PAPER.get(row, {})
    rows = []
    for key, value in results.items():
        name = key.removeprefix("test_")
        if key.startswith("test_") and key not in ("test_opened", "test_loss") and not key.endswith(TIMING):
            function = getattr(metrics, name, None)
            definition = (
                (function.__doc__ or "").strip().splitlines()[0] if function else "of one class, see docs/metrics.md"
            )
            rows.append(
                [name, _number(value), _number(paper[name]) if name in paper else "", definition.replace("|", "\\|")]
            )
    opened = f"Opened after the choice: {results['test_opened']}."
    return ["## Test", "", opened, "", *_table(["metric", "here", "the paper", "definition"], rows)]


def _classes(path: Path) -> list[str]:
    """Precision, recall and F1 of each class with the confusion matrix; for scores, the error by label."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels, predictions = ([row[name] for row in rows] for name in ("label", "prediction"))
    try:
        pairs = [(float(label), float(prediction)) for label, prediction in zip(labels, predictions)]
    except ValueError:
        pairs = None
    if pairs is not None:
        bins: dict[int, list[tuple[float, float]]] = {}
        for label, prediction in pairs:
            bins.setdefault(round(label), []).append((label, prediction))
        table = [
            [
                name,
                len(found),
                _number(sum(p for _, p in found) / len(found)),
                _number(sum(abs(p - y) for y, p in found) / len(found)),
            ]
            for name, found in sorted(bins.items())
        ]
        return [
            "## By label",
            "",
            *_table(["label, rounded", "clips", "mean prediction", "mean absolute error"], table),
        ]
    if any("|" in value or value == "" for value in (*labels, *predictions)):
        return []  # several labels a clip: the metrics above are by class
    names = sorted({*labels, *predictions})
    scores = precision_recall_fscore_support(labels, predictions, labels=names, zero_division=0)
    table = [
        [name, int(scores[3][i]), *(_number(float(column[i])) for column in scores[:3])] for i, name in enumerate(names)
    ]
    matrix = confusion_matrix(labels, predictions, labels=names)
    return [
        "## By class", "", *_table(["class", "clips", "precision", "recall", "F1"], table),
        "Rows are labels, columns predictions:", "", *_table(["", *names], [[name, *row] for name, row in zip(names, matrix.tolist())]),
    ]  # fmt: skip


def _curves(history: list[dict]) -> list[str]:
    """The last logged value of each part of the loss in every epoch."""
    epochs: dict[int, dict] = {}
    for row in history:
        epochs.setdefault(math.ceil(row.get("epoch", 0)), {}).update({name: row[name] for name in CURVE if name in row})
    names = [name for name in CURVE if any(name in row for row in epochs.values())]
    if not names:
        return []
    rows = [
        [epoch, *(_number(found[name]) if name in found else "" for name in names)]
        for epoch, found in sorted(epochs.items())
    ]
    return [
        "## Training",
        "",
        "Loss of training as logged last in the epoch, of validation at its end.",
        "",
        *_table(["epoch", *names], rows),
    ]


def _labels(history: list[dict]) -> list[str]:
    made = [row for row in history if any(name.startswith("labels/") for name in row)]
    if not made:
        return []
    names = [name for name in made[0] if name.startswith("labels/")]
    rows = [[round(row["epoch"]) + 1, *(_number(row[name]) for name in names)] for row in made]
    heading = "Mean weight of the neighbours, mean movement of the labels, share that has another sign or class than the ground truth; by sub-task."
    return [
        "## Pseudo labels",
        "",
        heading,
        "",
        *_table(["epoch", *(name.removeprefix("labels/") for name in names)], rows),
    ]


def _circumstances(record: dict, results: dict) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    lines = [
        "## Circumstances",
        "",
        f"- command: `{' '.join(map(str, record['command']))}`",
        f"- seed {record['seed']}, git revision {record['git_revision']}",
    ]
    lines.append(f"- {versions}")
    for name, label in (("train_runtime", "training"), ("test_runtime", "prediction of the test split")):
        if name in results:
            lines.append(f"- {label}: {float(results[name]):.0f} s")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Report or compare, by the given arguments or those of the command line."""
    parser = argparse.ArgumentParser(prog="python -m modeling_semanticmac.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("words", nargs="+", metavar="[compare] RUN", help="a run folder, or compare and several")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    args = parser.parse_args(argv)
    try:
        if args.words[0] == "compare":
            if len(args.words) < 3:
                parser.error("compare needs two runs or more")
            print(comparison_table([Path(word) for word in args.words[1:]], args.seed)[0])
        else:
            for word in args.words:
                print(write_report(Path(word)))
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    main()
