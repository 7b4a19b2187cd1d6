"""Compare a corpus folder with what is known about the corpus: `semanticmac corpus check CORPUS DATA_DIR`."""

import collections
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import datasets

from .corpus import SPLITS, CorpusBuilder
from .loading import clips_without_media, corpus_builder
from .media_probe import probe_media

SHOWN = 8  # examples of a finding in the printed table; the JSON has all
MEDIA = ("auto", "required", "optional")


@dataclass
class Finding:
    """One finding about a corpus folder.

    Args:
        kind: a short description, the same for every corpus.
        clips: the clip ids, files or groups that it concerns.
        problem: whether it makes the exit code 1.
        note: what it means or what to do.
    """

    kind: str
    clips: list[str]
    problem: bool = True
    note: str = ""

    def __str__(self) -> str:
        shown = ", ".join(self.clips[:SHOWN]) + (
            f", and {len(self.clips) - SHOWN} more" if len(self.clips) > SHOWN else ""
        )
        return (
            f"{'!' if self.problem else ' '} {self.kind}: {len(self.clips)}"
            + (f" ({shown})" if self.clips else "")
            + (f"; {self.note}" if self.note else "")
        )


@dataclass
class CorpusCheck:
    """Result of a check for one task of a corpus.

    Attributes:
        files: role of each annotation file -> its path below the folder.
        counts, expected, table_ii: split -> number of clips found, publicly known, and in the paper's Table II; empty
            where unknown.
        labels: split -> label -> number of clips; scores in bins of width one.
        findings: in the order of the printed table.
        media: numbers about the probed files; empty without `probe`.
    """

    corpus: str
    task: str
    files: dict[str, str]
    num_media: int
    counts: dict[str, int]
    expected: dict[str, int]
    table_ii: dict[str, int]
    difference: str
    labels: dict[str, dict[str, int]]
    findings: list[Finding] = field(default_factory=list)
    media: dict[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not any(finding.problem for finding in self.findings)

    def to_dict(self) -> dict:
        return {**asdict(self), "ok": self.ok}

    def __str__(self) -> str:
        lines = [f"{self.corpus}, task {self.task}", "files"]
        lines += [*_grouped(self.files), f"  media: {self.num_media} files"]
        lines += [f"  {'':<12}{'found':>8}{'expected':>10}{'Table II':>10}"]
        for split, count in self.counts.items():
            known = [str(table.get(split, "-")) for table in (self.expected, self.table_ii)]
            lines.append(f"  {split:<12}{count:>8}{known[0]:>10}{known[1]:>10}")
        if self.difference and self.expected != self.table_ii:
            lines.append(f"  expected and Table II differ: {self.difference}")
        for split, labels in self.labels.items():
            lines.append(f"labels of {split}: " + ", ".join(f"{name} {count}" for name, count in labels.items()))
        lines += [f"{name}: {value:g}" for name, value in self.media.items()]
        lines += [str(finding) for finding in self.findings]
        return "\n".join([*lines, "all is as expected" if self.ok else "lines with ! need a look"])


def check_corpus(
    name: str,
    data_dir: str | os.PathLike,
    task: str | None = None,
    media: str = "auto",
    probe: bool = False,
    cache_dir=None,
    **options,
) -> CorpusCheck:
    """Compare a folder with what is known of the corpus.

    Args:
        name, data_dir, task, options: as in `load_corpus`.
        media: whether clips without a media file are a problem: "auto": where other clips have one (text alone is a
            supported use); "required": always; "optional": never, they are only counted.
        probe: open every media file.

    Raises:
        ValueError, FileNotFoundError: raised as by `load_corpus`.
    """
    builder = corpus_builder(name)(task, data_dir, cache_dir, **options)
    corpus = builder.build()
    root = Path(builder.config.data_dir)
    task_name = builder.config.name
    names = builder.config.task.label_names
    if media not in MEDIA:
        raise ValueError(f"media is {media!r}; expected one of {', '.join(MEDIA)}.")
    media = "optional" if builder.TEXT_ALONE_IS_MEANT else media
    result = CorpusCheck(
        corpus=name,
        task=task_name,
        files={role: os.path.relpath(path, root) for role, path in builder.files.annotations.items()},
        num_media=len(set(builder.files.media.values())),
        counts={split: len(clips) for split, clips in corpus.items()},
        expected=builder.expected_counts(task_name, **options),
        table_ii=dict(builder.TABLE_II.get(task_name, {})),
        difference=builder.DIFFERENCE.get(task_name, ""),
        labels={split: label_histogram(clips, names) for split, clips in corpus.items()},
    )
    found = [
        *_counts(result),
        *_media_findings(builder, corpus, media),
        *_cuts(corpus),
        *_dropped(builder),
        *_overlaps(corpus),
        *_duplicates(corpus),
    ]
    if probe:
        found += [
            Finding(kind, clips, "run over" not in kind) for kind, clips in probe_media(corpus, result.media).items()
        ]
    result.findings = found
    return result


def split_counts(
    name: str,
    data_dir: str | os.PathLike,
    task: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    **options,
) -> dict:
    """Count the clips for the report of a run.

    Returns:
        `found`, `expected` and `table_ii`: split -> number of clips found, publicly known, and named by the paper (the
        latter two are empty where nothing is known or an option replaces the splits); `dropped`: split -> why annotated
        rows are not clips -> number of rows.

    Raises:
        ValueError, FileNotFoundError: raised as by `load_corpus`, which takes the same arguments.
    """
    options.pop("media", None)
    builder = corpus_builder(name)(task, data_dir, cache_dir, **options)
    task = builder.config.name
    why = {split: collections.Counter(builder.dropped_clips(split).values()) for split in SPLITS}
    return {
        "found": {split: len(clips) for split, clips in builder.build().items()},
        "expected": builder.expected_counts(task, **options),
        "table_ii": dict(builder.TABLE_II.get(task, {})),
        "dropped": {split: dict(reasons) for split, reasons in why.items()},
    }


def _grouped(files: dict[str, str]) -> list[str]:
    """Return a line for each annotation file; where there are many of a kind ("words of ..."), one line for all."""
    kinds = collections.defaultdict(list)
    for role, path in files.items():
        kinds[role.partition(" of ")[0]].append((role, path))
    lines = []
    for kind, found in kinds.items():
        if len(found) > 5:
            lines.append(f"  {kind}: {len(found)} files such as {found[0][1]}")
        else:
            lines += [f"  {role}: {path}" for role, path in found]
    return lines


def label_histogram(clips: datasets.Dataset, names: Sequence[str]) -> dict[str, int]:
    """Count clips by class, by present label, or by score rounded to the nearest integer (half to even)."""
    feature, labels = clips.features["label"], clips["label"]
    if isinstance(feature, datasets.ClassLabel):
        counts = collections.Counter(feature.names[label] for label in labels)
        return {name: counts[name] for name in feature.names}
    if isinstance(feature, datasets.List):
        totals = [sum(column) for column in zip(*labels)] if len(clips) else []
        return {name: int(total) for name, total in zip(names, totals)} | {"none": sum(not any(row) for row in labels)}
    counts = collections.Counter(round(label) for label in labels)
    return {str(score): counts[score] for score in sorted(counts)}


def _counts(result: CorpusCheck) -> list[Finding]:
    differing = [
        split for split, count in result.counts.items() if result.expected and result.expected.get(split) != count
    ]
    return [Finding("splits whose size is not the expected one", differing)] if differing else []


def _media_findings(builder: CorpusBuilder, corpus: datasets.DatasetDict, media: str) -> list[Finding]:
    ids = {clip for split in corpus.values() for clip in split["id"]}
    known = builder.KNOWN_BAD_MEDIA
    missing = [clip for clip in clips_without_media(corpus) if clip not in known]
    bad = [f"{clip} ({known[clip]})" for clip in known if clip in ids]
    extra = sorted(set(builder.files.media) - ids)
    found = []
    if missing:
        # Text alone is a supported use; where media are intended, at least some exist.
        all_lack = len(missing) == len(ids - set(known))
        problem = media == "required" or (media == "auto" and not all_lack)
        note = "no clip has one: train with --modalities text" if all_lack else "their text can be used alone"
        found.append(Finding("clips without a media file", missing, problem, note + " (--media optional)" * problem))
    if bad:
        found.append(Finding("clips whose media are known to be missing or bad in the release", bad, False))
    if extra:
        found.append(Finding("media files without a clip", extra, False, "not used"))
    return found


def _cuts(corpus: datasets.DatasetDict) -> list[Finding]:
    zero, negative, reversed_ = [], [], []
    for clips in corpus.values():
        for clip, media in zip(clips["id"], clips["media"]):
            start, end = media["start"], media["end"]
            if start is not None and end is not None:
                (zero if start == end else reversed_ if end < start else negative if start < 0 else []).append(clip)
    return [
        Finding(kind, clips, problem, note)
        for kind, clips, problem, note in (
            ("cuts of no length", zero, False, "one frame of each is used"),
            ("cuts that begin before their file", negative, False, "they start with the file"),
            ("cuts that end before they begin", reversed_, True, "their media cannot be used"),
        )
        if clips
    ]


def _dropped(builder: CorpusBuilder) -> list[Finding]:
    reasons = collections.defaultdict(list)
    for split in SPLITS:
        for clip, reason in builder.dropped_clips(split).items():
            reasons[reason].append(clip)
    return [Finding(f"rows that are not clips: {reason}", clips, False) for reason, clips in sorted(reasons.items())]


def _overlaps(corpus: datasets.DatasetDict) -> list[Finding]:
    """Find videos (dialogues) and speakers that several splits share."""
    found = []
    for column, kind in (("video_id", "videos or dialogues"), ("speaker", "speakers")):
        values = {split: set(clips[column]) - {""} for split, clips in corpus.items()}
        shared = collections.Counter(value for group in values.values() for value in group)
        several = sorted(value for value, count in shared.items() if count > 1)
        if several:
            found.append(
                Finding(f"{kind} in more than one split", several, False, "splits are not independent of each other")
            )
    return found


def _duplicates(corpus: datasets.DatasetDict) -> list[Finding]:
    """Find clips that are the same cut of the same file."""
    places = collections.defaultdict(list)
    for clips in corpus.values():
        for clip, media in zip(clips["id"], clips["media"]):
            if media["path"]:
                places[tuple(media[name] for name in ("path", "start", "end", "crop"))].append(clip)
    same = [" = ".join(group) for group in places.values() if len(group) > 1]
    return [Finding("groups of clips with the same media and cut", same)] if same else []


__all__ = ["CorpusCheck", "Finding", "check_corpus", "label_histogram", "split_counts"]
