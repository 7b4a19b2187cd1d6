"""What all corpora share: the clip schema, the base of the builders, and the two functions that users call.

A corpus is a `datasets.GeneratorBasedBuilder` over the files that its authors released; its configurations are its tasks. Add one by writing
`datasets_scripts/<corpus>.py` with a subclass of `CorpusBuilder` and naming it in `BUILDERS`.
"""

import collections
import difflib
import importlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import datasets
import pyarrow.compute as pc

from modeling_semanticmac.configuration_semanticmac import TaskSpecification

from .clip_schema import clip_features, limited, make_clip
from .corpus_files import CorpusFiles
from .split_list import SPLITS, deal_out, split_list_files

logger = logging.getLogger(__name__)

# Module of a corpus, which is its name, and its builder.
BUILDERS = {
    "ch_sims": "ChSims",
    "ch_sims_v2": "ChSimsV2",
    "iemocap": "Iemocap",
    "meld": "Meld",
    "mosei": "Mosei",
    "mosi": "Mosi",
    "mustard": "Mustard",
    "synthetic": "Synthetic",
    "ur_funny": "UrFunny",
    "video_folder": "VideoFolder",
}
NAMED = 5  # clips that a message names
# Options that deal the clips out anew: with them the splits are not those that were counted.
SPLIT_OPTIONS = ("ids_file", "fold", "speaker_independent", "split_seed")


@dataclass
class CorpusConfig(datasets.BuilderConfig):
    """A task of a corpus. A corpus's own options are the fields that its subclass adds, each with a default; all corpora have those below.

    Args:
        task: what is predicted.
        ids_file: a published list of which clip belongs to which split (`split_list.read_split_list` tells the forms), in place of the corpus's own
            splits. Clips that it does not name are left out.
        max_seconds: longer media are cut off there.
    """

    task: TaskSpecification | None = None
    ids_file: str | None = None
    max_seconds: float | None = None

    @classmethod
    def option_defaults(cls) -> dict:
        """The options of this corpus and their defaults."""
        library = {f.name for f in fields(datasets.BuilderConfig)} | {"task"}
        return {f.name: f.default for f in fields(cls) if f.name not in library}


class CorpusBuilder(datasets.GeneratorBasedBuilder):
    """Rows of one corpus for one task. A subclass says which files it needs and turns them into clips:

        BUILDER_CONFIGS                  one configuration a task, the first is the default; its class holds the options
        find_files(folder, config)       where the annotation and media files are
        clips(split)                     the clips of "train", "validation" or "test", from self.files and self.config
        dropped_clips(split)             rows of the annotation that are no clips: id -> why
        normalize_id(listed)             the clip id that a published list means, where lists spell ids in another way
        KNOWN_BAD_MEDIA                  clip id -> what is wrong with its media in the release
        EXPECTED, TABLE_II, DIFFERENCE   task -> split -> clips as reported (where no manifest counts them) and in the paper, and why they differ
        TERMS, REDISTRIBUTION, CITATION  terms in a line, whether they let transcripts and media be passed on, BibTeX
        TITLE, LANGUAGE, PEOPLE          its name as its authors write it, ISO 639 code, who is in it in a sentence

    Args:
        task: name of a configuration; None: the first.
        data_dir: folder of the corpus.
        cache_dir: where the rows are kept; None: the Hugging Face datasets cache.
        options: fields of the configuration class.

    Raises:
        ValueError: unknown task or option (the known ones are listed), or files that contradict each other.
        FileNotFoundError: a folder or file is missing; the message lists what was looked for and what is there.
    """

    BUILDER_CONFIG_CLASS = CorpusConfig
    BUILDER_CONFIGS: list[CorpusConfig] = []
    KNOWN_BAD_MEDIA: dict[str, str] = {}
    EXPECTED: dict[str, dict[str, int]] = {}
    TABLE_II: dict[str, dict[str, int]] = {}
    DIFFERENCE: dict[str, str] = {}
    TERMS = ""
    REDISTRIBUTION = False
    CITATION = ""
    TITLE = ""
    LANGUAGE: str | None = None
    PEOPLE = ""
    MAY_LACK_SPLITS = False  # whether a split without clips is no error
    TEXT_ALONE_IS_MEANT = False  # whether a clip without media is one by intention

    def __init__(self, task: str | None, data_dir: str | os.PathLike, cache_dir=None, **options):
        folder = Path(os.path.abspath(Path(data_dir).expanduser()))  # without "..": the same folder, the same rows
        # An option that says what is the default anyway gives the same rows, so it must not make a second copy of them.
        defaults = self.BUILDER_CONFIG_CLASS.option_defaults()
        for name in options:
            if name not in defaults:
                raise ValueError(_unknown("option", name, defaults, f" of {self.corpus_name()}"))
        options = {name: value for name, value in options.items() if value not in (None, defaults[name])}
        config = self.task_config(task, data_dir=folder, **options)
        if "ids_file" in options:
            options["ids_file"] = os.path.abspath(Path(options["ids_file"]).expanduser())
        if options.get("max_seconds", 1) <= 0:
            raise ValueError(
                f"max_seconds is {options['max_seconds']}; expected seconds above 0, or nothing for no limit."
            )
        self.files = self.find_files(folder, type(config)(name=config.name, task=config.task, **options))
        if "ids_file" in options:  # read anew when it was edited
            lists = split_list_files(Path(options["ids_file"]))
            self.files = replace(self.files, annotations=self.files.annotations | lists)
        super().__init__(
            cache_dir=str(cache_dir) if cache_dir else None,
            dataset_name=f"semanticmac_{self.corpus_name()}",
            config_name=config.name,
            data_dir=str(folder),
            hash=self.files.fingerprint(),
            **options,
        )

    @classmethod
    def corpus_name(cls) -> str:
        """The name that users give to `load_corpus`: the module's."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def task_config(cls, task: str | None, data_dir: Path | None = None, **options) -> CorpusConfig:
        """The configuration of a task, of the first one for None. Folder and options matter only to corpora whose tasks depend on them."""
        tasks = {config.name: config for config in cls.BUILDER_CONFIGS}
        if task is not None and task not in tasks:
            raise ValueError(_unknown("task", task, tasks, f" of {cls.corpus_name()}"))
        return tasks[task] if task is not None else cls.BUILDER_CONFIGS[0]

    @classmethod
    def find_files(cls, folder: Path, config: CorpusConfig) -> CorpusFiles:
        """The files of the corpus in `folder`, in whichever known layout they are."""
        raise NotImplementedError

    def clips(self, split: str) -> Iterator[dict]:
        """The clips of a split, each made by `make_clip`."""
        raise NotImplementedError

    def dropped_clips(self, split: str) -> dict[str, str]:
        """Rows of the annotation of a split that are no clips of the task: id -> why."""
        return {}

    @classmethod
    def manifest(cls) -> dict:
        """What is publicly known of the corpus's annotation files (`manifests/<corpus>.json`); empty where nothing was counted."""
        path = Path(__file__).parent / "manifests" / f"{cls.corpus_name()}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @classmethod
    def expected_counts(cls, task: str, **options) -> dict[str, int]:
        """Split -> clips that the public annotation files have, as counted, or else as reported; empty where neither is known or an option splits anew."""
        defaults = cls.BUILDER_CONFIG_CLASS.option_defaults()
        if any(options.get(name) not in (None, defaults.get(name)) for name in SPLIT_OPTIONS):
            return {}
        counted = cls.manifest().get("tasks", {}).get(task, {}).get("counts")
        return dict(counted or cls.EXPECTED.get(task, {}))

    def build(self) -> datasets.DatasetDict:
        """The rows, made now or before.

        Raises:
            ValueError, FileNotFoundError: of the corpus's own reading, not wrapped by the library; or a split without clips.
        """
        try:
            self.download_and_prepare()
        except datasets.exceptions.DatasetGenerationError as error:
            if isinstance(error.__cause__, (ValueError, OSError)):
                raise error.__cause__ from None
            raise
        counts = {split: info.num_examples for split, info in self.info.splits.items()}
        if not self.MAY_LACK_SPLITS and not all(counts.values()):
            why = collections.Counter(reason for split in SPLITS for reason in self.dropped_clips(split).values())
            raise ValueError(
                f"{self.corpus_name()}: a split has no clips ({', '.join(f'{split} {count}' for split, count in counts.items())}); expected clips in each. "
                f"They are split by {self.config.ids_file or self.config.data_dir}; rows that are no clips: "
                f"{', '.join(f'{count} ({reason})' for reason, count in why.items()) or 'none'}."
            )
        return self.as_dataset()

    def as_dataset(self, split=None, **options):
        """As in the library, which cannot read a split without clips."""
        if split is None:
            return datasets.DatasetDict({name: self.as_dataset(name, **options) for name in SPLITS})
        if not self.info.splits[split].num_examples:
            return datasets.Dataset.from_dict({name: [] for name in self.info.features}, features=self.info.features)
        return super().as_dataset(split, **options)

    @classmethod
    def facts(cls) -> dict:
        """What the card of a model that was trained on the corpus says about it."""
        names = ("title", "language", "people", "terms", "citation")
        return {name: getattr(cls, name.upper()) or None for name in names}

    @classmethod
    def normalize_id(cls, listed: str) -> str:
        """The clip id that an id of a published list means. Lists of MMSA write `<video_id>$_$<clip_id>`."""
        return listed.replace("$_$", "_")

    def _info(self):
        return datasets.DatasetInfo(description=type(self).__doc__, features=clip_features(self.config.task))

    def _split_generators(self, dl_manager):
        self._split_of: dict[str, str] = {}
        return [datasets.SplitGenerator(name=split, gen_kwargs={"split": split}) for split in SPLITS]

    def _generate_examples(self, split):
        for index, clip in enumerate(self._listed[split] if self.config.ids_file else self._unique_clips(split)):
            if self.config.max_seconds is not None and clip["media"]["path"]:
                clip["media"] = limited(clip["media"], self.config.max_seconds)
            yield index, clip

    def _unique_clips(self, split: str) -> Iterator[dict]:
        """The clips of a split of the corpus's own. A clip of two splits would be trained on and tested on."""
        for clip in self.clips(split):
            first = self._split_of.get(clip["id"])
            if first is not None:
                where = f"twice in {split}" if first == split else f"in {first} and in {split}"
                raise ValueError(f"{self.corpus_name()}: clip id {clip['id']!r} occurs {where}; ids are unique.")
            self._split_of[clip["id"]] = split
            yield clip

    @cached_property
    def _listed(self) -> dict[str, list[dict]]:
        """The clips of all splits, dealt out anew by the list of `ids_file`.

        Raises:
            ValueError: as `deal_out`.
        """
        clips = {clip["id"]: clip for split in SPLITS for clip in self._unique_clips(split)}
        dropped = {clip: why for split in SPLITS for clip, why in self.dropped_clips(split).items()}
        path = Path(self.config.ids_file)
        listed = deal_out(path, clips, self.normalize_id, dropped)
        left_out = len(clips) - sum(map(len, listed.values()))
        message = "%s: splits are those of %s; %d of %d clips are not listed and left out"
        logger.info(message, self.corpus_name(), path.name, left_out, len(clips))
        return listed


def corpus_builder(name: str) -> type[CorpusBuilder]:
    """The builder of a corpus by its name."""
    if name not in BUILDERS:
        raise ValueError(_unknown("corpus", name, BUILDERS))
    # By name and when it is asked for: the builders import this module.
    return getattr(importlib.import_module(f".{name}", __package__), BUILDERS[name])


def load_corpus(
    name: str, data_dir: str | os.PathLike, task: str | None = None, cache_dir: str | os.PathLike | None = None, media: str = "optional", **options
) -> datasets.DatasetDict:  # fmt: skip
    """The clips of a corpus on disk, in the splits "train", "validation" and "test".

    Args:
        name: one of `BUILDERS`.
        data_dir: folder of the corpus as its authors released it.
        task: e.g. "sentiment", "emotion"; None: the corpus's first.
        cache_dir: where the rows are kept between calls; None: the Hugging Face datasets cache.
        media: "optional": clips without a media file have their text alone; "required": they are an error, but for those whose media are known to be
            missing or bad in the release.
        options: of the corpus; see the configuration class in its module, and `CorpusConfig` for those that all have.

    Raises:
        ValueError: unknown corpus, task or option, or annotation files that cannot be right.
        FileNotFoundError: files are missing.
    """
    if media not in ("optional", "required"):
        raise ValueError(f'media is {media!r}; expected "optional" or "required".')
    builder = corpus_builder(name)(task, data_dir, cache_dir, **options)
    corpus = builder.build()
    if media == "required" and not builder.TEXT_ALONE_IS_MEANT:
        _require_media(builder, corpus)
    counts = ", ".join(f"{split} {len(clips)}" for split, clips in corpus.items())
    logger.info("%s %s: %s clips%s", name, builder.config.name, counts, _media_note(builder, corpus))
    return corpus


def task_specification(name: str, task: str | None = None, **options) -> TaskSpecification:
    """What a task of a corpus predicts; needs no files, but for clips of one's own (`video_folder`, with `data_dir` and its options).

    Raises:
        ValueError: unknown corpus or task.
    """
    options.pop("media", None)  # of `load_corpus`, and nothing to the task
    return corpus_builder(name).task_config(task, **options).task


def clips_without_media(corpus: datasets.DatasetDict) -> list[str]:
    """Ids of the clips that have no media file."""
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
            f"{builder.corpus_name()}: {len(missing)} of {sum(map(len, corpus.values()))} clips have no media file ({', '.join(missing[:NAMED])}); "
            f'complete {builder.config.data_dir}, or say media="optional" to use their text alone.'
        )


def _media_note(builder: CorpusBuilder, corpus: datasets.DatasetDict) -> str:
    """How many clips have no media file, and which ones where they are few."""
    silent = clips_without_media(corpus)
    if not silent:
        return ""
    total = sum(map(len, corpus.values()))
    which = "" if len(silent) > 10 else f" ({', '.join(silent)})"
    known = sum(clip in builder.KNOWN_BAD_MEDIA for clip in silent) if len(silent) < total else 0
    reason = f", {known} of them known to be missing or bad in the release" if known else ""
    return f"; {len(silent)} of {total} have no media file{which}{reason}: only their text can be used"


def _unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> str:
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}{where}; known: {', '.join(known) or 'none'}.{hint}"


__all__ = [
    "BUILDERS",
    "SPLITS",
    "CorpusBuilder",
    "CorpusConfig",
    "clip_features",
    "clips_without_media",
    "corpus_builder",
    "load_corpus",
    "make_clip",
    "task_specification",
]
