"""The sections of the report on how sure a run is, and on how well it does for groups of clips."""

import math

import numpy as np

from ..files.markdown_tables import format_number, markdown_table
from ..metrics.calibration import BINS, expected_calibration_error, risk_coverage
from ..runs.certainty import coverage
from ..runs.folder import RunFolder
from ..runs.groups import GROUPINGS, groups_text
from ..runs.record import class_probabilities, prediction_arrays
from .predictions import covered_clips
from .section import PICTURES, Section, picture_link
from .trust_pictures import reliability_picture

COVERAGES = (0.25, 0.5, 0.75, 1.0)  # shares of the clips, the most confident ones, of which the error is shown


def certainty_section(run: RunFolder) -> Section | None:
    """Return how often the test truth lies in the promised intervals or sets; None without calibration or test."""
    calibration = run.json("config.json").get("calibration")
    rows = covered_clips(run)[0]
    if calibration is None or not rows:
        return None
    promised = f"{100 * calibration['level']:g} %"
    covered, sizes = coverage(run, rows, calibration)
    if run.task.is_regression:
        data = {"coverage": covered.mean(), "mean_width": sizes.mean(), "radius": calibration["radius"]}
        what, size = "interval", f"{format_number(sizes.mean())} points wide in the mean"
    else:
        data = {"coverage": covered.mean(), "mean_size": sizes.mean(), "alone": np.mean(sizes == 1)}
        what, size = (
            "set",
            f"{data['mean_size']:.2f} classes in the mean, one class for {data['alone']:.1%} of the clips",
        )
    error = math.sqrt(calibration["level"] * (1 - calibration["level"]) * (1 / len(rows) + 1 / calibration["clips"]))
    text = (
        f"The promised {promised} {what} contains the truth of **{data['coverage']:.1%}** of the {len(rows):,} test "
        f"clips ({size}). It was found on {calibration['clips']:,} validation clips after the model was chosen; with "
        f"so many clips of both, coverage varies by about {100 * error:.1f} points (one standard deviation) although "
        "the promise holds. It holds for clips like those of validation: other speakers, languages or recordings, and "
        "missing modalities, are not covered.\n"
    )
    data = {name: float(value) for name, value in data.items()} | {"calibration": calibration, "clips": len(rows)}
    if not run.task.is_regression:
        more, text_more = _confidences(run, rows)
        data, text = data | more, f"{text}\n{text_more}"
    return Section("certainty", "How sure it is", text, data)


def _confidences(run: RunFolder, rows: list[dict[str, str]]) -> tuple[dict, str]:
    """Return calibration error and risk by coverage of classes, as data and as Markdown with their picture."""
    probabilities, (_, labels) = class_probabilities(run.task, rows), prediction_arrays(run.task, rows)
    confidences, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    ece = expected_calibration_error(confidences, correct)
    coverages, risks = risk_coverage(confidences, ~correct)
    reliability_picture(run.path / PICTURES / "certainty", confidences, correct, coverages, risks)
    shown = {share: float(risks[max(1, round(share * len(risks))) - 1]) for share in COVERAGES}
    text = (
        f"Expected calibration error, {BINS} bins: {format_number(ece)} (mean distance between the probability of the "
        "predicted class and how often it is right). Error rate where only the most confident clips are decided:\n\n"
    )
    text += markdown_table(
        [f"{share:.0%} of the clips" for share in shown], [[f"{risk:.1%}" for risk in shown.values()]]
    )
    text += "\n" + picture_link("certainty", "Reliability, and error rate by share of decided clips")
    return {"ece": ece, "risk_by_coverage": {str(share): risk for share, risk in shown.items()}}, text


def groups_section(run: RunFolder) -> Section | None:
    """Return the errors of groups that `semanticmac groups` found; None where it was not run.

    Speakers are numbered: a report may be published and names nobody.
    """
    found = [_numbered(data) for by in GROUPINGS if (data := run.json(f"groups_{by}.json"))]
    if not found:
        return None
    text = "\n".join(f"By {data['by']}:\n\n{groups_text(_with_nan(data))}" for data in found)
    if any(data["by"] == "speaker" for data in found):
        text += "Speakers are numbered by their error; `groups_speaker.json` names them in the same order.\n"
    return Section("groups", "Groups of clips", text, {data["by"]: data for data in found})


def _numbered(data: dict) -> dict:
    """Return the content of a file of groups with a number in the place of each speaker's name."""
    if data["by"] != "speaker":
        return data
    rows = [{**row, "group": f"speaker {number}"} for number, row in enumerate(data["groups"], start=1)]
    small = {f"speaker {number}": count for number, count in enumerate(data["small"].values(), start=len(rows) + 1)}
    return {**data, "groups": rows, "small": small}


def _with_nan(data: dict) -> dict:
    """Return the content of a file of groups with NaN for the figures that JSON has as null."""
    rows = [{name: math.nan if value is None else value for name, value in row.items()} for row in data["groups"]]
    return {**data, "groups": rows}


__all__ = ["certainty_section", "groups_section"]
