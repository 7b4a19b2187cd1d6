"""The section of a report about streams that come from feature files."""

from pathlib import Path

from datasets_scripts.split_list import SPLITS

from ..files.markdown_tables import markdown_table
from ..runs.folder import RunFolder
from .section import Section

NORMALIZED = {"train": "standard scores by the training split, clipped to +-30", "none": "none: the file's own numbers"}


def features_section(run: RunFolder) -> Section | None:
    """Return which file each stream came from, and what had to be repaired; None for a run without feature files."""
    reports = {split: found for split in SPLITS if (found := run.json(f"features_{split}.json"))}
    streams = next((found["streams"] for found in reports.values()), {})
    if not streams:
        return None
    rows = [
        [
            modality, f"`{facts['file']}`", facts["known_as"] or "unknown", facts["form"], facts["width"],
            facts["longest"], NORMALIZED[facts["normalize"]], f"`{facts['sha256'][:16]}`",
        ]
        for modality, facts in streams.items()
    ]  # fmt: skip
    header = ["stream", "file", "released as", "form", "width", "longest", "normalisation", "SHA-256 begins"]
    text = markdown_table(header, rows)
    text += (
        "\nThese streams are numbers that somebody computed from the media, in place of the embeddings of a tower: the "
        "model cannot predict a video from them. Released as: by the checksum of the file; unknown is any other.\n"
    )
    if run.record["data"]["corpus"] == "features":
        text += (
            f"\nClips, texts, labels and splits are those of the file `{Path(run.record['data']['data_dir']).name}` "
            "itself; where it has no validation split, a tenth of the training dialogues is drawn for it.\n"
        )
    repaired = [
        [split, modality, count, found["repaired_clips"][modality]]
        for split, found in reports.items()
        for modality, count in found["repaired"].items()
    ]
    if repaired:
        text += "\nValues that were NaN or infinite and are 0:\n\n"
        text += markdown_table(["split", "stream", "values", "clips"], repaired)
    missing = [
        [split, reason, count]
        for split, found in reports.items()
        for reason, count in (found["failed"] | found["partial"]).items()
    ]
    if missing:
        text += "\nClips without features:\n\n" + markdown_table(["split", "reason", "clips"], missing)
    data = {"streams": streams} | {
        split: {name: found[name] for name in ("total", "done", "failed", "partial", "repaired", "repaired_clips")}
        for split, found in reports.items()
    }
    return Section("features", "Features", text, data)


__all__ = ["features_section"]
