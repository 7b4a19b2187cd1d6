"""Definitions of the figures of a run, from the docstrings of their functions, and which figure selects a model."""

import inspect
import re
from collections.abc import Callable

from ..configuration_semanticmac import TaskSpecification
from . import classification, scores, sentiment

LOSS = (
    "of sub-task M, mean over the clips: absolute error of scores (on your own scale in sixths of the range), "
    "cross entropy of classes"
)
_MODULES = (classification, scores, sentiment)


def definition(metric: str) -> str:
    """Return the definition of a key of `compute_metrics`: first sentence and formula of its function's docstring.

    Suffixes are spelled out: `_tuned` (thresholds tuned on validation) and `_<class>` (of one class).

    Args:
        metric: e.g. "acc7", "loss", "w_f1_tuned", "b_f1_happy", "f1_joy".

    Returns:
        The definition; empty for names that are not those of a metric.
    """
    if metric == "loss":
        return LOSS
    function, tuned, label = _parts(metric)
    if function is None:
        return f"F1 of the class {label}" if label else ""
    lines = re.split("\n(?:Args|Example):", inspect.getdoc(function) or "")[0].splitlines()
    sentence = lines[0].split(". ")[0].rstrip(".").replace("`", "").removeprefix("Return ").removeprefix("the ")
    sentence = sentence[:1].upper() + sentence[1:]
    formula = " ".join(" ".join(line.split()) for line in lines if line.startswith("    "))
    text = f"{sentence}: {formula}" if formula else sentence
    text += "; thresholds tuned on validation" if tuned else ""
    return text + (f"; class {label}" if label else "")


def is_of_one_class(metric: str) -> bool:
    """Return whether a figure measures one class or label alone, e.g. "f1_joy", "n_acc_happy", "b_f1_tuned_sad"."""
    return bool(_parts(metric)[2])


def selection_metric(task: TaskSpecification) -> str:
    """Return the validation figure that selects a model by default: "loss" (scores) or "w_f1" (classes)."""
    return "loss" if task.minimize else "w_f1"


def _functions() -> dict[str, Callable]:
    """Return the functions that compute one figure, by name."""
    found = [member for module in _MODULES for member in inspect.getmembers(module, inspect.isfunction)]
    return {name: function for name, function in found if not name.startswith("_") and not name.endswith("_metrics")}


def _parts(metric: str) -> tuple[Callable | None, bool, str]:
    """Return the function of a metric, whether it is tuned, and its class or "".

    The function is None for `f1_<class>` and for names that are not metrics.
    """
    functions = _functions()
    known = [name for name in functions if metric == name or metric.startswith(f"{name}_")]
    if not known:
        return None, False, metric.removeprefix("f1_") if metric.startswith("f1_") else ""
    base = max(known, key=len)
    rest = metric.removeprefix(base)
    tuned = rest == "_tuned" or rest.startswith("_tuned_")
    return functions[base], tuned, (rest.removeprefix("_tuned") if tuned else rest).removeprefix("_")


__all__ = ["definition", "is_of_one_class", "selection_metric"]
