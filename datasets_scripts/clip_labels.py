"""The meaning of the labels in a table of your own clips, for each task."""

import math
import re
import unicodedata

from modeling_semanticmac.configuration_semanticmac import TaskSpecification

from .clip_table import SCORES, SEPARATOR, Row

BINARY = {"humor": ("not_humorous", "humorous"), "sarcasm": ("not_sarcastic", "sarcastic")}
BINARY_WORDS = {"0": 0, "false": 0, "no": 0, "1": 1, "true": 1, "yes": 1}
MOST_DIGITS = 20  # in a class that is a number
TASKS = ("sentiment", "emotion", *BINARY)


def task_of(
    task: str, rows: list[Row] | None, label_range=None, label_names=None, multi_label: bool | None = None
) -> TaskSpecification:  # fmt: skip
    """Return what the labels of a table predict.

    Args:
        task: one of `TASKS`.
        rows: rows of the table; None without a table.
        label_range, label_names, multi_label: options of `VideoFolderConfig`.

    Raises:
        ValueError: an option belongs to another task, or the classes are unknown.
    """
    options = {"label_range": ("sentiment", label_range), "label_names": ("emotion", label_names)}
    options["multi_label"] = ("emotion", multi_label)
    for option, (owner, value) in options.items():
        if value is not None and task != owner:
            raise ValueError(f"video_folder: the option {option} belongs to the task {owner}; found it with {task}.")
    if task == "sentiment":
        return _regression(label_range)
    if task in BINARY:
        return TaskSpecification(task, "single_label_classification", BINARY[task], metrics="weighted")
    if rows is None and (label_names is None or multi_label is None):
        raise ValueError("video_folder: the classes of emotion are in the table; give data_dir.")
    if multi_label is None:
        multi_label = any(_is_list(row) for row in rows)
    if label_names is None:
        check_classes(rows)
        label_names = sorted({word for row in rows for word in label_words(row)}, key=_class_order)
    names = tuple(map(str, label_names))
    if multi_label:
        return TaskSpecification(task, "multi_label_classification", names, metrics="multi_label")
    return TaskSpecification(task, "single_label_classification", names, metrics="conversation")


def _regression(label_range) -> TaskSpecification:
    label_range = (-3.0, 3.0) if label_range is None else tuple(label_range)
    if len(label_range) != 2 or not label_range[0] < label_range[1]:
        raise ValueError(f"video_folder: label_range is {label_range}; expected (lowest, highest).")
    return TaskSpecification("sentiment", "regression", ("sentiment",), label_range)


def check_classes(rows: list[Row]) -> None:
    """Refuse labels that are several classes or a score written as if they were one class, and classes that differ only
    in spelling.

    Each would silently become a class of its own. `label_names` names the classes explicitly and skips this check.

    Raises:
        ValueError: the message names the row and its label.
    """
    first: dict[str, Row] = {}  # class -> the first row that names it
    for row in rows:
        for word in label_words(row):
            first.setdefault(word, row)
    several = (
        f"one class, or several with {SEPARATOR} between them (a class that is written so can be named in label_names)"
    )
    for word, row in first.items():
        parts = [part.strip() for part in re.split(r"[/+&]|\band\b", word)]
        if re.search(r"[,;\[\]{}]", word) or (len(parts) > 1 and all(part in first for part in parts)):
            raise row.error("label", several)
        number = _class_order(word)[1]
        if math.isfinite(number) and (number < 0 or number != int(number)):
            raise row.error("label", "a class; scores are the labels of the task sentiment")
    spelled: dict[str, str] = {}
    for word, row in first.items():
        key = re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", word).casefold())
        other = spelled.setdefault(key, word)
        if other != word:
            raise row.error(
                "label", f"the spelling {other!r} of {first[other].place}, or both spellings in label_names"
            )


def _class_order(word: str) -> tuple:
    """Return a sort key: numbers by value, then names by letter."""
    try:
        return (0, float(word), word)
    except ValueError:
        return (1, math.inf, word)


def _is_list(row: Row) -> bool:
    label = row.cells.get("label")
    return isinstance(label, list) or SEPARATOR in str(label)


def label_words(row: Row) -> list[str]:
    """Return the classes that a row names; whole numbers lose their decimal point."""
    words = [(word, word.removesuffix(".0")) for word in row.several("label")]
    return [str(int(whole)) if whole.isdecimal() and len(whole) < MOST_DIGITS else word for word, whole in words]


def label_of(row: Row, task: TaskSpecification):
    """Return the label of a row in the clip schema: a score, a class name or a multi-hot list.

    Raises:
        ValueError: the task does not have this label.
    """
    if task.is_regression:
        low, high = task.label_range
        score = row.number("label", f"a number from {low:g} to {high:g} (option label_range)", low, high)
        if score is None:
            raise row.error("label", f"a number from {low:g} to {high:g}")
        return score
    expected = f"one of {', '.join(task.label_names)}"
    words = label_words(row)
    if task.name in BINARY:
        word = words[0].lower() if len(words) == 1 else ""
        found = (
            [BINARY_WORDS[word]] if word in BINARY_WORDS else _positions(word.replace(" ", "_").replace("-", "_"), task)
        )
        if not found:
            raise row.error("label", f"0, 1, true, false or {expected}")
        return task.label_names[found[0]]
    unknown = [word for word in words if word not in task.label_names]
    if task.is_multi_label:
        if unknown:
            raise row.error("label", f"some of {', '.join(task.label_names)}, with {SEPARATOR} between them")
        return [int(name in words) for name in task.label_names]
    if len(words) != 1 or unknown:
        raise row.error("label", expected)
    return words[0]


def _positions(word: str, task: TaskSpecification) -> list[int]:
    return [index for index, name in enumerate(task.label_names) if name == word]


def scores_of(row: Row, task: TaskSpecification) -> dict[str, float | None]:
    """Return the scores of single modalities.

    Raises:
        ValueError: a score is out of range, or the task has no scores.
    """
    if not task.is_regression:
        for column in SCORES:
            if column in row.cells:
                raise row.error(
                    column, f"nothing: {task.name} has classes, and these columns are scores of the task sentiment"
                )
        return {}
    low, high = task.label_range
    return {column: row.number(column, f"a number from {low:g} to {high:g}", low, high) for column in SCORES}
