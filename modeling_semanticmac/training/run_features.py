"""The streams of a run that come from feature files in place of towers (`--features`)."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from accelerate import PartialState

from datasets_scripts import load_corpus
from datasets_scripts.loading import corpus_builder
from datasets_scripts.sealed_test import SealedCorpus

from ..configuration_semanticmac import MEDIA_MODALITIES, SemanticMACConfig
from ..embedding_store import EmbeddingStore
from ..feature_files.importing import FeatureImport, FeatureReport, check_overlap
from ..feature_files.normalization import ColumnStatistics
from ..feature_files.sources import FeatureStream, read_streams

logger = logging.getLogger("run_mac")


def load_run_corpus(data_args) -> SealedCorpus:
    """Return the clips of a run, the test split under seal."""
    options = {"media": "features"} if getattr(data_args, "features", None) else {}
    options |= data_args.options
    return SealedCorpus(load_corpus(data_args.corpus, data_args.data_dir, data_args.task, **options))


def open_features(
    data_args, corpus: SealedCorpus, towers: Sequence[str], config: SemanticMACConfig | None = None
) -> "RunFeatures | None":
    """Read the feature files of a run; None without any, and where none gives a modality in use.

    Args:
        data_args: `features`, `normalize`, `modalities`, and the corpus.
        corpus: the clips of the run.
        towers: modalities that have a tower.
        config: of a trained model, whose statistics are used in place of those of this corpus; None: of a new model.

    Raises:
        ValueError: a stream that is not clear or has two sources, or another than the model was trained on.
    """
    wanted = [modality for modality in MEDIA_MODALITIES if modality in data_args.modalities]
    if not data_args.features or not wanted:
        return None
    builder = corpus_builder(data_args.corpus)
    segments = builder.segments(data_args.data_dir, data_args.task, **data_args.options)
    streams = read_streams(data_args.features, wanted, builder.normalize_id, towers, segments)
    return RunFeatures(data_args, corpus, streams, config) if streams else None


class RunFeatures:
    """Feature files of a run: read once, normalised by the training split, written into a store beside the others.

    Args:
        data_args: `features`, `normalize`.
        corpus: the clips of the run.
        streams: of the files.
        config: of a trained model; None: of a new model.

    Attributes:
        tokens: clip id -> (3, L) ids, mask and segment ids of BERT's tokenizer, where a file has them.
    """

    def __init__(
        self, data_args, corpus: SealedCorpus, streams: Mapping[str, FeatureStream], config: SemanticMACConfig | None
    ):
        self._clips = {split: corpus.ids(split) for split in corpus}
        check_overlap(streams, [clip for clips in self._clips.values() for clip in clips])
        train, statistics = self._clips.get("train", []), _trained_statistics(config, streams, data_args.features)
        self._import = FeatureImport(streams, train, data_args.normalize, statistics)
        self._store: EmbeddingStore | None = None
        self.tokens = {clip: ids for stream in streams.values() for clip, ids in stream.tokens.items()}
        self.longest = {modality: stream.longest for modality, stream in streams.items()}
        for modality, facts in self._import.facts().items():
            logger.info("%s from features: %s", modality, ", ".join(f"{name} {value}" for name, value in facts.items()))

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that come from feature files."""
        return tuple(self._import.streams)

    def config_fields(self, max_frames: int | None) -> dict:
        """Return the fields of the configuration of a model that is trained on these features.

        Args:
            max_frames: as requested, None for the default; raised to the longest sequence.
        """
        longest, requested = max(self.longest.values()), max_frames or SemanticMACConfig.max_frames
        if longest > requested:
            logger.info("max_frames is raised from %d to %d, the longest sequence.", requested, longest)
        fields: dict = {"max_frames": longest} if longest > requested else {}
        for modality in self.modalities:
            fields[f"{modality}_features"] = self._import.reference(modality)
            fields[f"{modality}_width"] = self._import.streams[modality].width
        return fields

    def store(self, embeddings_dir: Path) -> EmbeddingStore:
        """Return the store of all clips of the corpus, in a folder of its own below `embeddings_dir`; it is written
        by the main process where it is absent or incomplete.
        """
        if self._store is None:
            folder, state = embeddings_dir / self._import.folder_name, PartialState()
            if state.is_main_process:
                self._import.write(folder, [clip for clips in self._clips.values() for clip in clips])
            state.wait_for_everyone()
            self._store = EmbeddingStore(folder, self._import.fingerprint)
            self._import.forget_sequences()
        return self._store

    def report(self, clips: Sequence[str]) -> FeatureReport:
        """Return what became of the features of some clips."""
        return self._import.report(clips)


def _trained_statistics(
    config: SemanticMACConfig | None, streams: Mapping, arguments: Sequence[str]
) -> dict[str, ColumnStatistics | None] | None:
    """Return the statistics that a trained model knows; None for a new model.

    Raises:
        ValueError: the model was not trained on features of a modality that is given, or of another width.
    """
    if config is None:
        return None
    statistics: dict[str, ColumnStatistics | None] = {}
    for modality, stream in streams.items():
        trained = getattr(config, f"{modality}_features")
        if trained is None:
            raise ValueError(
                f"--features {' '.join(arguments)} gives {modality}, for which the model has no features: it was "
                f"trained {'with a tower' if getattr(config, f'{modality}_encoder') else 'without it'}."
            )
        width = getattr(config, f"{modality}_width")
        if stream.width != width:
            raise ValueError(
                f"{stream.file.path} has {modality} features of width {stream.width}; the model was trained on width "
                f"{width} ({trained['file']})."
            )
        if trained["sha256"] != stream.file.sha256:
            logger.warning("%s is not the file %s that the model was trained on.", stream.file.path, trained["file"])
        normalized = trained["normalize"] == "train"
        lists = (trained["column_means"], trained["column_deviations"]) if normalized else ()
        statistics[modality] = ColumnStatistics.from_lists(*lists) if normalized else None
    return statistics


def require_features(config: SemanticMACConfig, modalities: Sequence[str], given: Sequence[str]) -> None:
    """Refuse a trained model without the features that it was trained on.

    Raises:
        ValueError: names the file and what to give.
    """
    for modality, note in config.feature_notes.items():
        if modality in modalities and modality not in given:
            raise ValueError(f"{note}; give --features {modality}=FILE, or leave {modality} out of --modalities.")


def tower_references(model_args, modalities: Sequence[str]) -> dict[str, dict]:
    """Return the towers that the arguments name for some modalities, "vision" first.

    Raises:
        ValueError: a modality has none.
    """
    references = {}
    for modality in sorted(set(modalities) & set(MEDIA_MODALITIES), reverse=True):
        name, revision = (getattr(model_args, f"{modality}_encoder{part}") for part in ("", "_revision"))
        if name is None:
            raise ValueError(
                f"modality {modality!r} needs --{modality}_encoder (a name on the Hub or a folder) or --features "
                f"{modality}=FILE; or leave it out of --modalities."
            )
        references[modality] = {"name_or_path": name, "revision": revision}
    return references


def bert_tokens(features: RunFeatures | None, tokenizer, vocab_size: int) -> dict[str, np.ndarray]:
    """Return the tokens of the feature file for `--text bert_ids`.

    Raises:
        ValueError: no file has any, or they are those of another tokenizer than the language model's.
    """
    if features is None or not features.tokens:
        raise ValueError(
            "--text bert_ids: no feature file in use has token ids (text_bert, as MMSA's files do); use --text raw."
        )
    first, highest = (
        {int(ids[0, 0]) for ids in features.tokens.values()},
        max(int(ids[0].max()) for ids in features.tokens.values()),
    )
    if first != {tokenizer.cls_token_id} or highest >= vocab_size:
        raise ValueError(
            f"--text bert_ids: the ids of the file begin with {', '.join(map(str, sorted(first)[:3]))} and reach "
            f"{highest}; the language model's tokenizer begins with {tokenizer.cls_token_id} and knows {vocab_size}. "
            "Use the BERT that the file was made with, or --text raw."
        )
    return features.tokens


__all__ = [
    "RunFeatures", "bert_tokens", "load_run_corpus", "open_features", "require_features", "tower_references",
]  # fmt: skip
