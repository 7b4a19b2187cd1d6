"""The streams of a run that come from feature files in place of towers (`--features`)."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import datasets
import numpy as np
from accelerate import PartialState
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from datasets_scripts import load_corpus
from datasets_scripts.loading import corpus_builder
from datasets_scripts.sealed_test import SealedCorpus

from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES, SemanticMACConfig
from ..embedding_store import EmbeddingStore
from ..embedding_store.fingerprint import STREAMS
from ..feature_files.importing import FeatureImport, FeatureReport, check_overlap
from ..feature_files.normalization import ColumnStatistics
from ..feature_files.sources import FeatureStream, read_streams

logger = logging.getLogger("run_mac")

OF_LANGUAGE_MODELS = (  # arguments that say how a language model is kept and trained
    "language_model_dtype", "language_model_quantization", "language_model_attention", "lora_r", "lora_alpha",
    "lora_dropout", "lora_targets",
)  # fmt: skip
SHOWN = 3  # ids named in a message


def load_clips(data_args) -> datasets.DatasetDict:
    """Return the clips of a run; with feature files their media may be absent."""
    options = {"media": "features"} if getattr(data_args, "features", None) else {}
    return load_corpus(data_args.corpus, data_args.data_dir, data_args.task, **{**options, **data_args.options})


def load_run_corpus(data_args) -> SealedCorpus:
    """Return the clips of a run, the test split under seal."""
    return SealedCorpus(load_clips(data_args))


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
    sources = STREAMS if data_args.text == "features" else MEDIA_MODALITIES
    wanted = [modality for modality in sources if modality in data_args.modalities]
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
        frames = [length for modality, length in self.longest.items() if modality in MEDIA_MODALITIES]
        longest, requested = max(frames, default=0), max_frames or SemanticMACConfig.max_frames
        if longest > requested:
            logger.info("max_frames is raised from %d to %d, the longest sequence.", requested, longest)
        fields: dict = {"max_frames": longest} if longest > requested else {}
        for modality in self.modalities:
            fields[f"{modality}_features"] = self._import.reference(modality)
            if modality in MEDIA_MODALITIES:
                fields[f"{modality}_width"] = self.width(modality)
        return fields

    def width(self, modality: str) -> int:
        """Return the width of the features of a modality."""
        return self._import.streams[modality].width

    def clips(self, split: str) -> list[str]:
        """Return the ids of the clips of a split."""
        return self._clips.get(split, [])

    def is_absent(self, clip: str) -> bool:
        """Return whether no file has anything of a clip."""
        return self._import.record(clip).status == "failed"

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
            with_tower = modality in MEDIA_MODALITIES and getattr(config, f"{modality}_encoder")
            raise ValueError(
                f"--features {' '.join(arguments)} gives {modality}, for which the model has no features: it was "
                f"trained {'with a tower' if with_tower else 'without it'}."
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


def text_source(text: str, config: SemanticMACConfig) -> str:
    """Return where a saved model's text comes from: "features" where it has no language model, else as requested.

    Raises:
        ValueError: vectors of text for a model that has a language model.
    """
    if text == "features" and config.reads_words:
        raise ValueError(
            "--text features: the model was trained with a language model, which reads words; leave it out."
        )
    return text if config.reads_words else "features"


def check_model_source(model_args, data_args) -> None:
    """Check what the model of a run is made from. With `--text features` the language model of a recipe is left out.

    Raises:
        ValueError: there is nothing to make it from, or two things; or arguments of a language model that is not used.
    """
    if data_args.text == "features":
        given = [f"--{name}" for name in OF_LANGUAGE_MODELS if getattr(model_args, name) is not None]
        if given:
            raise ValueError(
                f"{', '.join(given)}: with --text features there is no language model to load or adapt. Leave it out."
            )
        if model_args.language_model is not None:
            logger.info("--text features: the language model %s is not used.", model_args.language_model)
            model_args.language_model = None
    elif (model_args.model_name_or_path is None) == (model_args.language_model is None):
        raise ValueError(
            "give either --model_name_or_path (a saved model) or --language_model (to build a new model on)."
        )


def refuse_missing(features: "RunFeatures", limits: Mapping[str, int | None], on_error: str, has_words: bool) -> None:
    """Refuse clips without any features before the training, those of test too, which are opened only after it.

    Args:
        features: all streams of media that the run uses.
        limits: split that will be used -> number of its clips; None: all.
        on_error: "raise", "mask" or "skip" such clips.
        has_words: whether the model reads the words of a clip, which "mask" leaves.

    Raises:
        ValueError: names them.
    """
    if on_error == "skip" or (on_error == "mask" and has_words):
        return
    for split, limit in limits.items():
        clips = features.clips(split)[:limit]
        empty = [clip for clip in clips if features.is_absent(clip)]
        if empty:
            choices = "skip (without them) or mask (their words alone)" if has_words else "skip (without them)"
            raise ValueError(
                f"{len(empty)} of {len(clips)} clips of {split} have no features: {', '.join(empty[:SHOWN])}"
                f"{', ...' if len(empty) > SHOWN else ''}. Complete the file, or use --on_error {choices}."
            )


def require_features(config: SemanticMACConfig, modalities: Sequence[str], given: Sequence[str]) -> None:
    """Refuse a trained model without the features that it was trained on.

    Raises:
        ValueError: names the file and what to give.
    """
    for modality, note in config.feature_notes.items():
        if modality in modalities and modality not in given:
            rest = "" if set(modalities) == {modality} else f", or leave {modality} out of --modalities"
            raise ValueError(f"{note}; give --features {modality}=FILE{rest}.")


def placeholder_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer without words, for the processor of a model on vectors of text, which reads no tokens."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


def require_trained(config: SemanticMACConfig, modalities: Sequence[str], do_train: bool) -> None:
    """Refuse modalities that a trained model was trained without; in training they are added to those of the model.

    Raises:
        ValueError: names them.
    """
    if config.trained_modalities is None:
        return
    new = [name for name in modalities if name not in config.trained_modalities]
    if new and not do_train:
        raise ValueError(
            f"the model was trained without {' and '.join(new)}, of which it would make a guess; give --modalities "
            f"{' '.join(name for name in modalities if name not in new) or ' '.join(config.trained_modalities)}."
        )
    trained = [name for name in MODALITIES if name in {*config.trained_modalities, *new}]
    config.trained_modalities = None if len(trained) == len(MODALITIES) else trained


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
    "OF_LANGUAGE_MODELS", "RunFeatures", "bert_tokens", "check_model_source", "load_clips", "load_run_corpus",
    "open_features", "placeholder_tokenizer", "refuse_missing", "require_features", "require_trained", "text_source",
    "tower_references",
]  # fmt: skip
