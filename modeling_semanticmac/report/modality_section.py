"""The section on what each modality predicts by itself, against a constant."""

import numpy as np

from ..configuration_semanticmac import MODALITIES, SUBTASK_NAMES
from ..files.markdown_tables import format_number, markdown_table
from ..runs.comparison import RESAMPLES, interval
from ..runs.folder import SEMANTICMAC, RunFolder
from ..runs.record import prediction_arrays, read_predictions
from .section import Section


def modality_section(run: RunFolder) -> Section | None:
    """Return the validation error of the predictor of each modality, and whether it is below that of a constant.

    None where the run had one modality, did not train these predictors, has several labels a clip, or kept no
    predictions of validation. The constant is the median of the labels of these clips, or their most frequent class:
    no other constant does better here. The intervals are those of the bootstrap over clips.
    """
    path, subtasks = run.path / "predictions_validation.csv", _subtasks(run)
    if len(subtasks) < 2 or run.task.is_multi_label or not path.is_file():
        return None
    rows = read_predictions(path)
    errors = {"all together": _errors(run, rows, "prediction")}
    errors |= {name: _errors(run, rows, f"prediction_{subtask}") for subtask, name in subtasks.items()}
    constant = _constant_errors(run, rows)
    gains = constant - np.stack(list(errors.values()))  # (predictors, clips)
    generator = np.random.default_rng(0)
    # One draw at a time: memory does not grow with the number of draws.
    draws = [gains[:, generator.integers(0, len(rows), len(rows))].mean(axis=1) for _ in range(RESAMPLES)]
    data = {}
    for (name, error), gain, drawn in zip(errors.items(), gains, np.stack(draws, axis=1)):
        low, high = interval(drawn)
        data[name] = {"error": float(error.mean()), "gain": float(gain.mean()), "low": low, "high": high}
    useless = [name for name in subtasks.values() if data[name]["low"] <= 0]
    what = "mean absolute error" if run.task.is_regression else "error rate"
    text = (
        f"The {what} of each modality's own predictor on {len(rows):,} validation clips. The best constant has "
        f"{format_number(float(constant.mean()))}; gain: how far the error is below it, with its 95 % interval.\n\n"
    )
    text += markdown_table(
        ["predictor", what, "gain over the constant"],
        [[name, format_number(row["error"]), _with_interval(row)] for name, row in data.items()],
    )
    text += "".join(f"\n{_advice(run, name)}\n" for name in useless)
    return Section("modalities", "Each modality by itself", text, {"constant": float(constant.mean()), **data})


def _subtasks(run: RunFolder) -> dict[str, str]:
    """Return the sub-tasks of single modalities that a run trained, with the names of their modalities."""
    if run.architecture != SEMANTICMAC or run.record["training"]["pseudo_labels"] == "off":
        return {}
    used = run.record["data"]["modalities"]
    return {subtask: name for subtask, name in SUBTASK_NAMES.items() if name in MODALITIES and name in used}


def _errors(run: RunFolder, rows: list[dict[str, str]], column: str) -> np.ndarray:
    """Return the error of each clip (n,): absolute for scores, else 0 or 1."""
    predictions, labels = prediction_arrays(run.task, [{**row, "prediction": row[column]} for row in rows])
    return np.abs(predictions - labels) if run.task.is_regression else (predictions != labels).astype(float)


def _constant_errors(run: RunFolder, rows: list[dict[str, str]]) -> np.ndarray:
    """Return the error of each clip (n,) for the best constant."""
    labels = prediction_arrays(run.task, rows)[1]
    if run.task.is_regression:
        return np.abs(labels - np.median(labels))
    return (labels != np.bincount(labels).argmax()).astype(float)


def _with_interval(row: dict[str, float]) -> str:
    """Return a gain and its interval as text."""
    gain, low, high = (f"{row[name]:+.4f}" for name in ("gain", "low", "high"))
    return f"{gain} ({low} to {high})"


def _advice(run: RunFolder, name: str) -> str:
    """Return what to do about a modality that says nothing by itself."""
    others = " ".join(other for other in run.record["data"]["modalities"] if other != name)
    return (
        f"**No gain is shown for {name}.** A stream that says nothing can still cost accuracy for new speakers, also "
        f"where validation does not show it. Train with `--modalities {others}` too, and compare."
    )


__all__ = ["modality_section"]
