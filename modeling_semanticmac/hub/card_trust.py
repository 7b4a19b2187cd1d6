"""The section of a model card on how sure a model is and for which groups it errs most, from the report of its run."""

from collections.abc import Mapping

from ..files.markdown_tables import format_number, markdown_table

CAUTION = (
    "It holds for clips like those of validation, on average over clips: not for one speaker, another language or "
    "camera, or a clip that lacks a modality."
)


def certainty_text(found: Mapping | None) -> str:
    """Return how often the test truth lay in the promised intervals or sets; empty where it was not measured.

    Args:
        found: `certainty` of `report.json`.
    """
    if not found:
        return ""
    calibration = found["calibration"]
    kind, size = ("interval", "mean_width") if "mean_width" in found else ("set of classes", "mean_size")
    text = (
        f"Calibrated on {calibration['clips']:,} validation clips: the {100 * calibration['level']:g} % {kind} "
        f"contains the truth of **{found['coverage']:.1%}** of the {found['clips']:,} test clips (mean size "
        f"{found[size]:.2f}). {CAUTION}"
    )
    if found.get("ece") is not None:
        text += f" Expected calibration error: {format_number(found['ece'])}."
    return f"{text}\n\n"


def groups_text(found: Mapping | None) -> str:
    """Return the worst group of each grouping of the test clips; empty where none was measured.

    Args:
        found: `groups` of `report.json`: grouping -> result of `runs.groups.group_errors`.
    """
    rows = []
    for by, data in (found or {}).items():
        if len(data["groups"]) < 2:  # nothing to compare
            continue
        worst = data["groups"][0]
        values = [worst[name] for name in ("difference", "low", "high")]
        compared = [f"{values[0]:+.3f}", f"{values[1]:+.3f} to {values[2]:+.3f}"]
        name = "one speaker" if by == "speaker" else worst["group"]  # a card names nobody
        group, error, mean = f"{name} (of {len(data['groups'])} groups)", worst["error"], data["mean"]
        rows.append([by, group, worst["clips"], format_number(error), *compared, format_number(mean)])
    if not rows:
        return ""
    kind = next(iter((found or {}).values()))["error"]
    header = ["test clips by", "worst group", "clips", kind, "difference from the others", "95 % interval", "all"]
    return (
        f"The group with the largest {kind} of each grouping:\n\n{markdown_table(header, rows)}\nIntervals: bootstrap "
        "over clips; several clips of one speaker are not independent, so they are too narrow. `report.md` has all "
        "groups.\n\n"
    )


__all__ = ["certainty_text", "groups_text"]
