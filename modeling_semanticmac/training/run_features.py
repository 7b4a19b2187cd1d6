"""The streams of a run that come from feature files in place of towers (`--features`)."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from accelerate import PartialState

from datasets_scripts import load_corpus
from datasets_scripts.loading import corpus_builder
from datasets_scripts.sealed_test import SealedCorpus

from ..configuration_semanticmac import MEDIA_MODALITIES, SemanticMACConfig
from ..embedding_store import EmbeddingStore
from ..feature_files.importing import FeatureImport, FeatureReport, check_overlap
from ..feature_files.normalization import ColumnStatistics
from ..feature_files.sources import read_streams

logger = logging.getLogger("run_mac")


def load_run_corpus(data_args) -> SealedCorpus:
    """Return the clips of a run, the test split under seal."""
    options = dict(data_args.options)
    if data_args.features:
        options.setdefault("media", "features")
    return SealedCorpus(load_corpus(data_args.corpus, data_args.data_dir, data_args.task, **options))


class RunFeatures:
    """Feature files of a run: read once, normalised by the training split, written into a store beside the others.

    Args:
        data_args: `features`, `normalize`, `modalities`, and the corpus.
        corpus: the clips of the run.
        towers: modalities that have a tower.
        config: of a trained model, whose statistics are used in place of those of this corpus; None: of a new model.

    Raises:
        ValueError: files that give no stream, the same one twice, or another than the model was trained on.
    """

    def __init__(self, data_args, corpus: SealedCorpus, towers: Sequence[str], config: SemanticMACConfig | None = None):
        wanted = [modality for modality in MEDIA_MODALITIES if modality in data_args.modalities]
        builder = corpus_builder(data_args.corpus)
        segments = builder.segments(data_args.data_dir, data_args.task, **data_args.options)
        streams = read_streams(data_args.features, wanted, builder.normalize_id, towers, segments)
        self._clips = {split: corpus.ids(split) for split in corpus}
        check_overlap(streams, [clip for clips in self._clips.values() for clip in clips])
        train, statistics = self._clips.get("train", []), _trained_statistics(config, streams, data_args.features)
        self._import = FeatureImport(streams, train, data_args.normalize, statistics)
        self._store: EmbeddingStore | None = None
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
        fields: dict = {"max_frames": max(longest, requested)}
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


__all__ = ["RunFeatures", "load_run_corpus", "require_features", "tower_references"]
