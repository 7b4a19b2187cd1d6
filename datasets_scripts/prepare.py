"""Write a corpus as a dataset folder that plain `datasets.load_dataset(OUT, task)` loads:

`semanticmac corpus prepare CORPUS DATA_DIR OUT`.
"""

import collections
import os
import re
from collections.abc import Iterable
from pathlib import Path

import datasets
import yaml
from datasets.table import embed_table_storage

from modeling_semanticmac.files.atomic_files import write_text, write_whole

from .corpus import CorpusBuilder
from .loading import corpus_builder

SHARD = re.compile(r"[a-z]+-\d{5}-of-\d{5}\.parquet")
SHARD_BYTES = 500 * 2**20  # the size that the Hub's viewer handles well
BODY = """
# {name} for SemanticMAC

{description}

One row an utterance: `text`, `context` (earlier utterances), `label`, `video_id`, `speaker`, and `media`: path below
the corpus folder, cut in seconds,
half of the picture. {media}

```python
datasets.load_dataset("{example}", "{first}")
```

| task | train | validation | test |
| --- | --- | --- | --- |
{counts}

Left out: {dropped}.

## Terms

{terms}

## Citation

```bibtex
{citation}
```
"""


class TermsError(PermissionError):
    """Raised when the terms of a corpus forbid the request."""


def prepare_corpus(
    name: str,
    data_dir: str | os.PathLike,
    out: str | os.PathLike,
    tasks: Iterable[str] | None = None,
    embed_media: bool = False,
    cache_dir=None,
    **options,
) -> Path:
    """Write a corpus as Parquet shards with a dataset card.

    Args:
        name, data_dir, options: arguments of `load_corpus`.
        out: folder to write to; the result of an earlier call is replaced.
        tasks: the configurations to write; None: all tasks of the corpus.
        embed_media: add a column `video` with the bytes of each clip's file.

    Raises:
        ValueError: media to embed are missing or shared by several clips; or no task is given for a corpus whose task
            depends on its table.
    """
    out, builder_class = Path(out), corpus_builder(name)
    if tasks is None and builder_class.BUILDER_CONFIGS[0].task is None:
        known = ", ".join(config.name for config in builder_class.BUILDER_CONFIGS)
        raise ValueError(f"{name}: what its labels are is for you to say; give --task, one of {known}.")
    tasks = list(tasks or [config.name for config in builder_class.BUILDER_CONFIGS])
    counts, dropped = {}, collections.Counter()
    for task in tasks:
        builder = builder_class(task, data_dir, cache_dir, **options)
        corpus = builder.build()
        for split, clips in corpus.items():
            if embed_media:
                clips = _with_media(clips, name)
            _write_shards(_relative(clips, Path(builder.config.data_dir)), out / task, split)
            dropped.update(builder.dropped_clips(split).values())
        counts[task] = {split: len(clips) for split, clips in corpus.items()}
    card = _card(name, builder_class, counts, dropped, embed_media, out.name)
    write_text(out / "README.md", card)
    return out


def push_corpus(
    folder: str | os.PathLike,
    builder_class: type[CorpusBuilder],
    repo_id: str,
    private: bool = True,
    i_hold_the_rights: bool = False,
) -> str:
    """Upload the card and the shards that `prepare_corpus` wrote, and return the address of the repository.

    Raises:
        TermsError: the terms of the corpus forbid redistribution, and `i_hold_the_rights` is not set.
        ValueError: one of the files is a symbolic link, whose target may be any file of this machine.
    """
    from huggingface_hub import HfApi

    if not builder_class.REDISTRIBUTION and not i_hold_the_rights:
        raise TermsError(
            f"the terms of {builder_class.corpus_name()} forbid to pass its transcripts or media on "
            f"({builder_class.TERMS}); nothing was uploaded. "
            "Say --i_hold_the_rights if you do."
        )
    names = _prepared_files(Path(folder))
    api = HfApi()
    url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    api.upload_folder(repo_id=repo_id, folder_path=os.fspath(folder), repo_type="dataset", allow_patterns=names)
    return str(url)


def _prepared_files(folder: Path) -> list[str]:
    """Return the names of the card and of the shards in a folder; whatever else is in it stays here."""
    paths = [folder / "README.md", *sorted(path for path in folder.glob("*/*.parquet") if SHARD.fullmatch(path.name))]
    for path in paths:
        if path.is_symlink() or (path.parent != folder and path.parent.is_symlink()):
            raise ValueError(f"{path} is, or is in, a symbolic link; nothing was uploaded. Put a copy in its place.")
    return [path.relative_to(folder).as_posix() for path in paths]


def _relative(clips: datasets.Dataset, root: Path) -> datasets.Dataset:
    """Make paths relative to the corpus folder: paths of one machine mean nothing on another."""

    def shorten(media):
        return {"media": [{**row, "path": os.path.relpath(row["path"], root) if row["path"] else ""} for row in media]}

    return clips.map(shorten, input_columns="media", batched=True, features=clips.features, keep_in_memory=True)


def _with_media(clips: datasets.Dataset, name: str) -> datasets.Dataset:
    """Add a column `video` with the file of each clip."""
    media = clips["media"]
    absent = [clip for clip, row in zip(clips["id"], media) if not row["path"]]
    if absent:
        raise ValueError(
            f"--embed_media: {len(absent)} clips of {name} have no media file ({', '.join(absent[:5])}); leave "
            "--embed_media out or complete the corpus."
        )
    if any(row["start"] is not None for row in media):
        raise ValueError(
            f"--embed_media: clips of {name} are cuts of longer files, which would be stored once a clip; "
            "leave it out and keep the files beside the rows."
        )
    paths = [row["path"] for row in media]
    clips = clips.add_column("video", paths).cast_column("video", datasets.Video())
    # Read a few files at a time, so that the shards hold the bytes and not the paths.
    embedded = clips.with_format("arrow").map(embed_table_storage, batched=True, batch_size=16)
    return embedded.with_format(None)


def _write_shards(clips: datasets.Dataset, folder: Path, split: str) -> None:
    """Write `<split>-00000-of-0000n.parquet`; unneeded shards of an earlier call are deleted last."""
    number = max(1, -(-clips.data.nbytes // SHARD_BYTES))
    names = [f"{split}-{index:05d}-of-{number:05d}.parquet" for index in range(number)]
    for index, name in enumerate(names):
        shard = clips.shard(number, index, contiguous=True)
        write_whole(folder / name, lambda path: shard.to_parquet(os.fspath(path)))  # noqa: B023
    for path in folder.glob(f"{split}-*.parquet"):
        if path.name not in names:
            path.unlink()


def _card(
    name: str, builder_class: type[CorpusBuilder], counts: dict, dropped: dict, embed_media: bool, example: str
) -> str:
    configs = [
        {"config_name": task, "data_files": [{"split": split, "path": f"{task}/{split}-*.parquet"} for split in found]}
        for task, found in counts.items()
    ]
    configs[0]["default"] = True
    header = {
        "pretty_name": f"{name} for SemanticMAC",
        "license": "other",
        "license_name": "terms-of-the-corpus",
        "tags": ["semanticmac", "affective-computing"],
        "configs": configs,
    }
    rows = [
        f"| {task} | {' | '.join(str(found.get(split, 0)) for split in ('train', 'validation', 'test'))} |"
        for task, found in counts.items()
    ]
    body = BODY.format(
        name=name,
        description=" ".join((builder_class.__doc__ or "").split("\n\n")[0].split()),
        media="The column `video` holds the media." if embed_media else "The media are not part of this dataset.",
        example=example,
        first=next(iter(counts)),
        counts="\n".join(rows),
        dropped=", ".join(f"{count} ({reason})" for reason, count in sorted(dropped.items())) or "nothing",
        terms=builder_class.TERMS or "Not stated.",
        citation=builder_class.CITATION.strip(),
    )
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n{body}"


__all__ = ["TermsError", "prepare_corpus", "push_corpus"]
