"""Base class of the corpus builders and of their configurations.

A corpus is a `datasets.ArrowBasedBuilder` over the files that its authors released; its configurations are its
tasks. To add one, write `datasets_scripts/<corpus>.py` with a subclass of `CorpusBuilder` and name it in `BUILDERS` of
`loading.py`.
"""

import collections
import difflib
import itertools
import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import datasets
import pyarrow as pa

from modeling_semanticmac.configuration_semanticmac import TaskSpecification

from .clip_schema import clip_features, limited, make_clip
from .corpus_files import CorpusFiles
from .split_list import SPLITS, deal_out, split_list_files

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 1000  # of a table while rows are built
# Options that replace the splits of a corpus: with them the counts of the public files do not apply.
SPLIT_OPTIONS = ("ids_file", "fold", "speaker_independent", "split_seed")


@dataclass
class CorpusConfig(datasets.BuilderConfig):
    """One task of a corpus. A subclass adds the options of its corpus as fields with defaults; all corpora have those
    below.

    Args:
        task: what is predicted.
        ids_file: a published list of the clips of each split (forms: `split_list.read_split_list`), used in place of
            the corpus's own splits. Clips that it does not name are left out.
        max_seconds: media are cut off after this many seconds.
    """

    task: TaskSpecification | None = None
    ids_file: str | None = None
    max_seconds: float | None = None

    @classmethod
    def option_defaults(cls) -> dict:
        """Return the options of this corpus and their defaults."""
        library = {f.name for f in fields(datasets.BuilderConfig)} | {"task"}
        return {f.name: f.default for f in fields(cls) if f.name not in library}


class CorpusBuilder(datasets.ArrowBasedBuilder):
    """Builder of the rows of one corpus for one task. A subclass finds its files and turns them into clips:

        BUILDER_CONFIGS                  one configuration a task, the first is the default; its class has the options
        find_files(folder, config)       returns the annotation and media files
        clips(split)                     yields the clips of "train", "validation" or "test"
        dropped_clips(split)             returns the annotated rows that are left out: id -> reason
        normalize_id(listed)             returns the clip id for an id in the spelling of published lists
        KNOWN_BAD_MEDIA                  clip id -> what is wrong with its media in the release
        EXPECTED, TABLE_II, DIFFERENCE   task -> split -> clips as reported and in the paper; why they differ
        TERMS, REDISTRIBUTION, CITATION  terms in one line, whether they allow redistribution, BibTeX
        TITLE, LANGUAGE, PEOPLE          its published name, ISO 639 code, one sentence about the speakers

    Args:
        task: name of a configuration; None: the first.
        data_dir: folder of the corpus.
        cache_dir: where the rows are cached; None: the cache of Hugging Face datasets.
        options: fields of the configuration class.

    Raises:
        ValueError: an unknown task or option (the message lists the known ones), or files that contradict each other.
        FileNotFoundError: a folder or file is missing; the message lists what was expected and what is there.
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
    MAY_LACK_SPLITS = False  # whether a split may be empty
    TEXT_ALONE_IS_MEANT = False  # whether clips without media are intended

    def __init__(self, task: str | None, data_dir: str | os.PathLike, cache_dir=None, **options):
        folder = Path(os.path.abspath(Path(data_dir).expanduser()))  # without "..", so that one folder has one cache
        # An option that repeats the default yields the same rows, so it must not make a second copy of them.
        defaults = self.BUILDER_CONFIG_CLASS.option_defaults()
        for name in options:
            if name not in defaults:
                raise ValueError(unknown_name("option", name, defaults, f" of {self.corpus_name()}"))
        options = {name: value for name, value in options.items() if value not in (None, defaults[name])}
        config = self.task_config(task, data_dir=folder, **options)
        if "ids_file" in options:
            options["ids_file"] = os.path.abspath(Path(options["ids_file"]).expanduser())
        if options.get("max_seconds", 1) <= 0:
            raise ValueError(
                f"max_seconds is {options['max_seconds']}; expected seconds above 0, or nothing for no limit."
            )
        self.files = self.find_files(folder, type(config)(name=config.name, task=config.task, **options))
        if "ids_file" in options:  # read again after it was edited
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
        """Return the name that users pass to `load_corpus`: the name of the module."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def task_config(cls, task: str | None, data_dir: Path | None = None, **options) -> CorpusConfig:
        """Return the configuration of a task; None: of the first one.

        Only corpora whose tasks depend on their files read `data_dir` and `options`.
        """
        tasks = {config.name: config for config in cls.BUILDER_CONFIGS}
        if task is not None and task not in tasks:
            raise ValueError(unknown_name("task", task, tasks, f" of {cls.corpus_name()}"))
        return tasks[task] if task is not None else cls.BUILDER_CONFIGS[0]

    @classmethod
    def find_files(cls, folder: Path, config: CorpusConfig) -> CorpusFiles:
        """Return the files of the corpus in `folder`, in any known layout."""
        raise NotImplementedError

    def clips(self, split: str) -> Iterator[dict]:
        """Yield the clips of a split, each made by `make_clip`."""
        raise NotImplementedError

    def dropped_clips(self, split: str) -> dict[str, str]:
        """Return the annotated rows of a split that are not clips of the task: id -> reason."""
        return {}

    @classmethod
    def manifest(cls) -> dict:
        """Return what is publicly known about the annotation files (`manifests/<corpus>.json`); an empty dict where
        nothing was counted.
        """
        path = Path(__file__).parent / "manifests" / f"{cls.corpus_name()}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @classmethod
    def expected_counts(cls, task: str, **options) -> dict[str, int]:
        """Return the number of clips of each split in the public annotation files, counted or else reported.

        The dict is empty where neither is known, or where an option replaces the splits.
        """
        defaults = cls.BUILDER_CONFIG_CLASS.option_defaults()
        if any(options.get(name) not in (None, defaults.get(name)) for name in SPLIT_OPTIONS):
            return {}
        counted = cls.manifest().get("tasks", {}).get(task, {}).get("counts")
        return dict(counted or cls.EXPECTED.get(task, {}))

    def build(self) -> datasets.DatasetDict:
        """Return the rows of all splits, built now or read from the cache.

        Raises:
            ValueError, FileNotFoundError: raised by the reader of the corpus, unwrapped from the library's error; or a
                split has no clips.
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
                f"{self.corpus_name()}: a split has no clips "
                f"({', '.join(f'{split} {count}' for split, count in counts.items())}); expected clips in each. "
                f"They are split by {self.config.ids_file or self.config.data_dir}; rows that are not clips: "
                f"{', '.join(f'{count} ({reason})' for reason, count in why.items()) or 'none'}."
            )
        return self.as_dataset()

    def as_dataset(self, split=None, **options):
        """Return the split or splits as the library does; empty splits, which the library cannot read, are empty
        datasets.
        """
        if split is None:
            return datasets.DatasetDict({name: self.as_dataset(name, **options) for name in SPLITS})
        if not self.info.splits[split].num_examples:
            return datasets.Dataset.from_dict({name: [] for name in self.info.features}, features=self.info.features)
        return super().as_dataset(split, **options)

    @classmethod
    def segments(cls, data_dir: str | os.PathLike, task: str | None = None, **options) -> dict:
        """Return the places of clips in whole videos, for features of videos: clip id -> (video id, start, end) in
        seconds. A dict without those that the annotation files do not give.
        """
        return {}

    @classmethod
    def facts(cls) -> dict:
        """Return what the card of a model trained on the corpus says about the corpus."""
        names = ("title", "language", "people", "terms", "citation")
        return {name: getattr(cls, name.upper()) or None for name in names}

    @classmethod
    def speaker_sex(cls, speaker: str) -> str:
        """Return "female" or "male" where the corpus states the sex of its speakers in their ids, else ""."""
        return ""

    @classmethod
    def normalize_id(cls, listed: str) -> str:
        """Return the clip id for an id of a published list. MMSA's lists write `<video_id>$_$<clip_id>`."""
        return listed.replace("$_$", "_")

    def _info(self):
        return datasets.DatasetInfo(description=type(self).__doc__, features=clip_features(self.config.task))

    def _split_generators(self, dl_manager):
        self._split_of: dict[str, str] = {}
        return [datasets.SplitGenerator(name=split, gen_kwargs={"split": split}) for split in SPLITS]

    def _generate_tables(self, split):
        """Yield the clips as tables: encoding each by itself would take most of the time of a large corpus."""
        label, schema = self.info.features["label"], self.info.features.arrow_schema
        clips = iter(self._listed[split] if self.config.ids_file else self._unique_clips(split))
        number = 0
        while rows := list(itertools.islice(clips, ROWS_AT_ONCE)):
            for clip in rows:
                if self.config.max_seconds is not None and clip["media"]["path"]:
                    clip["media"] = limited(clip["media"], self.config.max_seconds)
                if isinstance(label, datasets.ClassLabel):
                    clip["label"] = label.encode_example(clip["label"])  # refuses what is no class
            yield number, pa.Table.from_pylist(rows, schema=schema)
            number += 1

    def _unique_clips(self, split: str) -> Iterator[dict]:
        """Yield the clips of one of the corpus's own splits; an id that occurs in two splits is an error, because it
        would be trained on and tested on.
        """
        for clip in self.clips(split):
            first = self._split_of.get(clip["id"])
            if first is not None:
                where = f"twice in {split}" if first == split else f"in {first} and in {split}"
                raise ValueError(f"{self.corpus_name()}: clip id {clip['id']!r} occurs {where}; ids are unique.")
            self._split_of[clip["id"]] = split
            yield clip

    @cached_property
    def _listed(self) -> dict[str, list[dict]]:
        """The clips of all splits, assigned by the list of `ids_file`.

        Raises:
            ValueError: raised by `deal_out`.
        """
        clips = {clip["id"]: clip for split in SPLITS for clip in self._unique_clips(split)}
        dropped = {clip: why for split in SPLITS for clip, why in self.dropped_clips(split).items()}
        path = Path(self.config.ids_file)
        listed = deal_out(path, clips, self.normalize_id, dropped)
        left_out = len(clips) - sum(map(len, listed.values()))
        message = "%s: splits are those of %s; %d of %d clips are not listed and left out"
        logger.info(message, self.corpus_name(), path.name, left_out, len(clips))
        return listed


def unknown_name(kind: str, name: str, known: Iterable[str], where: str = "") -> str:
    """Return the message about a name that does not exist, with the known ones and the nearest."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}{where}; known: {', '.join(known) or 'none'}.{hint}"


__all__ = ["SPLITS", "CorpusBuilder", "CorpusConfig", "clip_features", "make_clip", "unknown_name"]
