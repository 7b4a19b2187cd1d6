"""Load the clips of a corpus by its name."""

import importlib
import logging
import os

import datasets
import pyarrow.compute as pc

from modeling_semanticmac.configuration_semanticmac import TaskSpecification

from .corpus import CorpusBuilder, unknown_name

logger = logging.getLogger(__name__)

# Name of a corpus, which is the name of its module, and its builder class.
BUILDERS = {
    "ch_sims": "ChSims",
    "ch_sims_v2": "ChSimsV2",
    "crema_d": "CremaD",
    "iemocap": "Iemocap",
    "meld": "Meld",
    "mosei": "Mosei",
    "mosi": "Mosi",
    "mustard": "Mustard",
    "ravdess": "Ravdess",
    "synthetic": "Synthetic",
    "ur_funny": "UrFunny",
    "video_folder": "VideoFolder",
}
# Corpora of the package, which this folder must not import: name -> module:class.
PACKAGE_BUILDERS = {"features": "modeling_semanticmac.feature_files.corpus:FeatureCorpus"}
NAMED = 5  # clips that a message lists


def corpus_builder(name: str) -> type[CorpusBuilder]:
    """Return the builder class of a corpus."""
    if name in PACKAGE_BUILDERS:
        module, _, builder = PACKAGE_BUILDERS[name].partition(":")
        return getattr(importlib.import_module(module), builder)
    if name not in BUILDERS:
        raise ValueError(unknown_name("corpus", name, [*BUILDERS, *PACKAGE_BUILDERS]))
    # Imported on first use, because the builders import this module.
    return getattr(importlib.import_module(f".{name}", __package__), BUILDERS[name])


def load_corpus(
    name: str,
    data_dir: str | os.PathLike,
    task: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    media: str = "optional",
    **options,
) -> datasets.DatasetDict:
    """Load the clips of a corpus on disk, in the splits "train", "validation" and "test".

    Args:
        name: one of `BUILDERS`, or `features`.
        data_dir: folder of the corpus as its authors released it.
        task: e.g. "sentiment", "emotion"; None: the corpus's first.
        cache_dir: where the rows are cached; None: the cache of Hugging Face datasets.
        media: "optional": clips without a media file keep their text; "required": they are an error, except those whose
            media are known to be missing or damaged in the release; "features": as "optional", for streams that come
            from feature files.
        options: options of the corpus; see the configuration class in its module, and `CorpusConfig` for those that all
            corpora share.

    Returns:
        A `DatasetDict` with one row a clip; the columns are those of `clip_schema.clip_features`.

    Raises:
        ValueError: an unknown corpus, task or option, or annotation files that contradict themselves.
        FileNotFoundError: files are missing.
    """
    if media not in ("optional", "required", "features"):
        raise ValueError(f'media is {media!r}; expected "optional", "required" or "features".')
    builder = corpus_builder(name)(task, data_dir, cache_dir, **options)
    corpus = builder.build()
    if media == "required" and not builder.TEXT_ALONE_IS_MEANT:
        _require_media(builder, corpus)
    counts = ", ".join(f"{split} {len(clips)}" for split, clips in corpus.items())
    rest = "their text and features" if media == "features" else "only their text"
    logger.info("%s %s: %s clips%s", name, builder.config.name, counts, _media_note(builder, corpus, rest))
    return corpus


def task_specification(name: str, task: str | None = None, **options) -> TaskSpecification:
    """Return what a task of a corpus predicts. No files are read, except for your own clips (`video_folder`) and
    feature files (`features`), with `data_dir` and their options.

    Raises:
        ValueError: unknown corpus or task.
    """
    options.pop("media", None)  # an option of `load_corpus` that does not change the task
    return corpus_builder(name).task_config(task, **options).task


def clips_without_media(corpus: datasets.DatasetDict) -> list[str]:
    """Return the ids of the clips without a media file."""
    silent = []
    for clips in corpus.values():
        table = clips.data.table
        absent = pc.equal(pc.struct_field(table.column("media"), "path"), "")
        silent += table.column("id").filter(absent).to_pylist()
    return silent


def _require_media(builder: CorpusBuilder, corpus: datasets.DatasetDict) -> None:
    missing = [clip for clip in clips_without_media(corpus) if clip not in builder.KNOWN_BAD_MEDIA]
    if missing:
        raise FileNotFoundError(
            f"{builder.corpus_name()}: {len(missing)} of {sum(map(len, corpus.values()))} clips have no media "
            f"file ({', '.join(missing[:NAMED])}); "
            f'complete {builder.config.data_dir}, or say media="optional" to use their text alone.'
        )


def _media_note(builder: CorpusBuilder, corpus: datasets.DatasetDict, rest: str) -> str:
    """Say how many clips have no media file and what `rest` of them can be used; list them where they are few."""
    silent = clips_without_media(corpus)
    if not silent:
        return ""
    total = sum(map(len, corpus.values()))
    which = "" if len(silent) > 10 else f" ({', '.join(silent)})"
    known = sum(clip in builder.KNOWN_BAD_MEDIA for clip in silent) if len(silent) < total else 0
    reason = f", {known} of them known to be missing or bad in the release" if known else ""
    return f"; {len(silent)} of {total} have no media file{which}{reason}: {rest} can be used"


__all__ = ["BUILDERS", "clips_without_media", "corpus_builder", "load_corpus", "task_specification"]
