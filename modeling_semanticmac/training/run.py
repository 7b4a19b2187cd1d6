"""One run: its arguments, model, processor and clips."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import concatenate_datasets
from transformers import AutoTokenizer, set_seed
from transformers.trainer_utils import PredictionOutput

from datasets_scripts import task_specification

from ..baselines.model_classes import SEMANTICMAC, architecture_of, classes_of, saved_classes
from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES
from ..embedding_extraction import extract_embeddings
from ..embedding_extraction.report import ExtractionReport, usable_clips
from ..embedding_store import EmbeddingStore
from ..embedding_store.joined import JoinedStore
from ..encoders import commit_of, embedding_width, encoder_reference, load_towers
from ..face_crops import crops_per_frame, face_options
from ..feature_files.importing import FeatureReport
from ..files.atomic_files import write_json
from ..language_models import language_model_config
from ..processing_semanticmac import SemanticMACProcessor
from ..runs.folder import ENOUGH
from .affect_trainer import AffectTrainer
from .argument_checks import check_architecture_arguments, check_best_metric
from .class_weights import own_class_weight
from .collator import SemanticMACCollator
from .dialogue_trainer import DialogueTrainer
from .optimizer_groups import language_model_rate
from .run_features import (
    RunFeatures,
    bert_tokens,
    check_model_source,
    load_run_corpus,
    open_features,
    placeholder_tokenizer,
    refuse_missing,
    require_features,
    require_trained,
    text_source,
    tower_references,
)
from .run_model import check_fixed_arguments, new_model_fields
from .run_texts import check_texts, note_prefix
from .run_towers import adapt_towers, has_media
from .trainer import SemanticMACTrainer
from .trainer_inputs import refuse_unsupported_parallelism

logger = logging.getLogger("run_mac")


class Run:
    """One run: its arguments, model, processor and clips.

    Nothing is written into the output folder before `begin`, so that a refused run leaves it as it was.

    Raises:
        ValueError: an argument is missing, two exclude each other, or a split that is needed has no clips.
    """

    def __init__(self, model_args, data_args, training_args):
        self.model_args, self.data_args, self.training_args = model_args, data_args, training_args
        if data_args.corpus is None or data_args.data_dir is None:
            raise ValueError("--corpus and --data_dir say which clips to use; at least one of them is missing.")
        check_model_source(model_args, data_args)
        self.task = task_specification(
            data_args.corpus, data_args.task, data_dir=data_args.data_dir, **data_args.options
        )
        if data_args.train_on_validation and self.task.is_multi_label:
            raise ValueError(
                f"--train_on_validation leaves no clips on which the thresholds of {self.task.name!r} can be tuned; "
                "leave it out."
            )
        refuse_unsupported_parallelism(training_args)
        if training_args.class_weights:
            own_class_weight(training_args.class_weights, self.task)  # refuses wrong ones before anything is loaded
        if training_args.do_train:
            check_best_metric(self.task, training_args)
        self.used: dict[str, list[str]] = {}  # split -> ids of the clips that were used
        self.media_reports: dict[str, ExtractionReport] = {}  # split -> what became of the media of its clips
        self.feature_reports: dict[str, FeatureReport] = {}  # split -> what became of the features of its clips
        self.features: RunFeatures | None = None
        self.new_model: Callable  # builds another model like that of the run, where it is a new one
        # split -> `clips`, and how many of them have each modality
        self.modality_counts: dict[str, dict[str, int]] = {}
        self.validation: Any = None  # its clips, where they are needed
        self.validation_outputs: PredictionOutput | None = None  # of the chosen model
        self.has_begun = False
        self.language_model_commit: str | None = None  # of a new model whose language model came from the Hub
        self.corpus = load_run_corpus(data_args)
        self._check_splits()
        self._tokens = None  # of the feature file, in place of the tokenizer's
        self.model, self.processor = self._load() if model_args.model_name_or_path else self._build()
        model_args.architecture = architecture_of(self.model.config)  # for the record
        if model_args.intended_use is not None:
            self.model.config.intended_use = model_args.intended_use
            self.model.config._check()
        adapt_towers(self)
        check_architecture_arguments(model_args.architecture, training_args)
        if self.trainer_class is DialogueTrainer:  # it sees the earlier utterances themselves
            data_args.use_context = False
        if self.reads_vectors and data_args.use_context:
            logger.info("--text features: vectors are those of the clip's own words; its context is not used.")
            data_args.use_context = False
        self._limit_length()
        check_texts(self)
        training_args.language_model_learning_rate = language_model_rate(training_args, self.model.config)
        if data_args.text == "bert_ids":
            vocabulary = self.model.get_input_embeddings().num_embeddings
            self._tokens = bert_tokens(self.features, self.processor.tokenizer, vocabulary)
        if self.features is not None and not self.encoders:
            words = not self.reads_vectors and "text" in data_args.modalities
            refuse_missing(self.features, self._clip_limits(), data_args.on_error, words)
        self.choice = f"the model is {model_args.model_name_or_path}, nothing is chosen here"
        self.embeddings_dir = Path(data_args.embeddings_dir or Path(training_args.output_dir) / "embeddings")

    @property
    def needs_validation(self) -> bool:
        """Return whether validation is evaluated, in training or after it, or thresholds are tuned on it."""
        args = self.training_args
        if self.data_args.train_on_validation:  # its clips are training clips
            return False
        if args.do_eval or (args.do_train and (args.eval_strategy != "no" or self.corpus.num_clips("validation") > 0)):
            return True
        return args.do_train and args.do_predict and self.task.is_multi_label

    def _clip_limits(self) -> dict[str, int | None]:
        """Return the splits that the run uses, with the number of their clips; None: all."""
        args, data = self.training_args, self.data_args
        limits: dict[str, int | None] = {"train": data.max_train_samples} if args.do_train else {}
        if data.train_on_validation:
            limits = dict.fromkeys(("train", "validation"))
        elif self.needs_validation:
            limits["validation"] = data.max_eval_samples
        return limits | ({"test": data.max_predict_samples} if args.do_predict else {})

    def _check_splits(self) -> None:
        """Refuse a corpus that lacks clips of a split which will be needed, before anything is loaded."""
        args = self.training_args
        learnt = self.data_args.train_on_validation
        needed = {"train": args.do_train, "validation": learnt or self.needs_validation, "test": args.do_predict}
        empty = [split for split, is_needed in needed.items() if is_needed and not self.corpus.num_clips(split)]
        if empty:
            counts = ", ".join(f"{split} {self.corpus.num_clips(split)}" for split in needed)
            raise ValueError(
                f"{self.data_args.corpus} at {self.data_args.data_dir} has no clips of {' and '.join(empty)} (clips: "
                f"{counts}), which this command needs. Complete the corpus, or do without: --do_train, --do_eval, "
                "--do_predict and --eval_strategy say which splits are used."
            )

    def _load(self):
        name = self.model_args.model_name_or_path
        dropout = self.model_args.dropout
        model = saved_classes(name).model.from_pretrained(name, **({} if dropout is None else {"dropout": dropout}))
        if model.config.task != self.task:
            raise ValueError(f"the model at {name} was made for {model.config.task}; the corpus needs {self.task}.")
        processor = SemanticMACProcessor.from_pretrained(name)
        check_fixed_arguments(self.model_args, model.config, processor)
        towers = [modality for modality in MEDIA_MODALITIES if getattr(model.config, f"{modality}_encoder")]
        self.data_args.text = text_source(self.data_args.text, model.config)
        self.features = open_features(self.data_args, self.corpus, towers, model.config)
        require_features(model.config, self.data_args.modalities, self.feature_modalities)
        require_trained(model.config, self.data_args.modalities, self.training_args.do_train)
        return model, processor

    def _build(self):
        """Return a new model around the language model and, where media are used, the two towers; and its processor."""
        args = self.model_args
        named = [modality for modality in MEDIA_MODALITIES if getattr(args, f"{modality}_encoder") is not None]
        self.features = open_features(self.data_args, self.corpus, named)
        tokenizer = self._choose_text()
        needed = [modality for modality in self.data_args.modalities if modality not in self.feature_modalities]
        references = tower_references(args, needed)
        encoders, front_ends = load_towers(references, args.num_crops, args.audio_layers)
        fields = new_model_fields(args, self.data_args.modalities)
        if set(self.data_args.modalities) != set(MODALITIES):
            fields["trained_modalities"] = self.data_args.modalities
        if self.features is not None:
            fields |= self.features.config_fields(args.max_frames)
            if not args.builds_semanticmac:
                fields.pop("max_frames", None)
        for modality, encoder in encoders.items():
            fields[f"{modality}_encoder"] = encoder_reference(encoder=encoder, **references[modality])
            fields[f"{modality}_width"] = embedding_width(encoder)
        faces = face_options(args.vision_crop, args.face_choice, args.face_detector, args.face_detector_revision)
        if faces and "vision" not in encoders:
            raise ValueError("--vision_crop crops the frames of videos; leave it out, or name a vision encoder.")
        if "vision" in front_ends:  # the crops of a frame share its place in time
            fields["num_crops"] = crops_per_frame(front_ends["vision"], faces.get("vision_crop", "none"))
        set_seed(self.training_args.seed)  # whatever loading has drawn, new weights are those of the seed
        model = self.new_model(**fields)
        model.set_encoders(**encoders)
        sampling = {**args.sampling_fields(), **faces, "max_length": self.data_args.max_length}
        return model, SemanticMACProcessor(front_ends["vision"], front_ends["audio"], tokenizer, **sampling)

    def _choose_text(self):
        """Set `new_model` to what builds models around the language model, or on vectors of text; return the tokenizer
        of their processor.
        """
        args, task = self.model_args, self.task.config_fields()
        model_class = classes_of(args.architecture or SEMANTICMAC).model
        if self.data_args.text == "features":
            if "text" not in self.feature_modalities:
                raise ValueError("--text features: no file of --features has vectors of text; give text=FILE.")
            self.new_model = partial(model_class.from_text_vectors, self.features.width("text"), **task)
            return placeholder_tokenizer()
        self.language_model_commit = commit_of(args.language_model, args.language_model_revision)
        revision = self.language_model_commit or args.language_model_revision
        language_model_config(args.language_model, revision)  # refuses what is not a language model
        note_prefix(args)
        tokenizer = AutoTokenizer.from_pretrained(args.language_model, revision=revision)
        self.new_model = partial(
            model_class.from_language_model, args.language_model, revision, tokenizer=tokenizer,
            **args.language_model_options(), **task,
        )  # fmt: skip
        return tokenizer

    @property
    def reads_vectors(self) -> bool:
        """Whether the model reads vectors of text from a feature file in place of words."""
        return not self.model.config.reads_words

    @property
    def feature_modalities(self) -> tuple[str, ...]:
        """The modalities that come from feature files."""
        return () if self.features is None else self.features.modalities

    def _limit_length(self) -> None:
        """Set max_length, which run.json records, to at most what language model and tokenizer take."""
        limits = (self.model.base_model.max_text_tokens, self.processor.tokenizer.model_max_length)
        limit = min(limit for limit in limits if limit is not None)
        if self.data_args.max_length > limit:
            logger.warning(
                "--max_length %d: the language model takes %d tokens, longer texts are cut there.",
                self.data_args.max_length,
                limit,
            )
            self.data_args.max_length = self.processor.max_length = limit

    def rows(self, name: str, limit: int | None):
        """Return the clips of a split, or its first `limit` clips; those of validation follow those of train where the
        run learns from both.
        """
        clips = self.corpus[name]
        if name == "train" and self.data_args.train_on_validation:
            clips = concatenate_datasets([clips, self.corpus["validation"]])
        return clips if limit is None else clips.select(range(min(limit, len(clips))))

    def split(self, name: str, limit: int | None):
        """Return a split of the corpus, with its clips in the embedding store where media are used.

        Raises:
            ValueError: no clip is left, or none has a modality that is requested.
        """
        clips = self.rows(name, limit)
        if self.encoders:
            report = extract_embeddings(
                clips,
                self.processor,
                self.encoders,
                self.embeddings_dir,
                batch_size=self.data_args.extraction_batch_size,
                num_workers=self.data_args.extraction_workers,
                max_seconds=self.data_args.max_seconds,
            )
            logger.info("embeddings of %s:\n%s", name, report)
            self.media_reports[name] = report
        if self.features is not None:
            self.feature_reports[name] = self.features.report(clips["id"][:])
            logger.info("features of %s:\n%s", name, self.feature_reports[name])
        store = self.store
        if store is not None:
            clips = usable_clips(clips, store, self.data_args.on_error)
        self._count_modalities(name, clips, store)
        self.used[name] = clips["id"][:]
        if self.has_begun:
            self._write_clips()
        return clips

    def _count_modalities(self, name: str, clips, store: EmbeddingStore | JoinedStore | None) -> None:
        """Count the clips that have each requested modality; refuse a split in which one is absent throughout."""
        if not len(clips):
            raise ValueError(
                f"no clip of {name} can be used: the split is empty, or --on_error skip left out all of its clips."
            )
        counts = {"clips": len(clips)}
        for modality in self.data_args.modalities:
            if modality == "text" and not self.reads_vectors:
                counts[modality] = sum(bool(text.strip()) for text in clips["text"])
            elif modality in self.raw_modalities:
                counts[modality] = sum(map(has_media, clips.select_columns("media")))
            elif store is not None:
                counts[modality] = sum(getattr(store.status(clip), modality) > 0 for clip in clips["id"])
        self.modality_counts[name] = counts
        absent = [modality for modality in self.data_args.modalities if not counts[modality]]
        if absent:
            rest = [modality for modality in self.data_args.modalities if counts[modality]] or ["text"]
            raise ValueError(
                f"none of the {len(clips)} clips of {name} has {' or '.join(absent)}, so the model would be said to "
                "use what it never saw. Check the media of the corpus, or request what there is: --modalities "
                f"{' '.join(rest)}."
            )
        for modality in self.data_args.modalities:
            share = counts[modality] / len(clips)
            if share < ENOUGH:
                found = f"{counts[modality]} of {len(clips)} clips of {name} have {modality} ({100 * share:.0f} %)"
                logger.warning("only %s", found)

    def begin(self) -> None:
        """Write what is known of the clips so far; from here on the run writes into its folder."""
        self.has_begun = True
        self._write_clips()

    def _write_clips(self) -> None:
        """Write which clips are used, which modalities they have, and what became of their media."""
        if not self.training_args.should_save:
            return
        folder = Path(self.training_args.output_dir)
        write_json(folder / "splits.json", self.used)
        write_json(folder / "modalities.json", self.modality_counts)
        for split, report in self.media_reports.items():
            report.save(folder / f"media_{split}.json")
        for split, found in self.feature_reports.items():
            found.save(folder / f"features_{split}.json")

    @property
    def raw_modalities(self) -> tuple[str, ...]:
        """The modalities whose towers are trained: their media are read in every step, without a store."""
        return tuple(self.model_args.trainable_encoders or ())

    @property
    def encoders(self) -> dict:
        """Return the towers of the modalities in use that make the embedding store."""
        used = [modality for modality in ("vision", "audio") if modality in self.data_args.modalities]
        towers = [modality for modality in used if modality not in (*self.feature_modalities, *self.raw_modalities)]
        return {modality: self.model.get_encoder(modality) for modality in towers}

    @property
    def store(self) -> EmbeddingStore | JoinedStore | None:
        """Return the embeddings of the splits that were made so far, and the features; None where only text is used."""
        if self.features is None:
            return EmbeddingStore.open(self.embeddings_dir) if self.encoders else None
        stores = dict.fromkeys(self.feature_modalities, self.features.store(self.embeddings_dir))
        if self.encoders:
            stores |= dict.fromkeys(self.encoders, EmbeddingStore.open(self.embeddings_dir))
        return JoinedStore(stores)

    @property
    def trainer_class(self) -> type[AffectTrainer]:
        """Return the class of the trainer that the model needs."""
        if architecture_of(self.model.config) == SEMANTICMAC:
            return SemanticMACTrainer
        return DialogueTrainer if self.model.reads_dialogues else AffectTrainer

    def collator(self, modalities: Sequence[str] | None = None) -> SemanticMACCollator:
        """Return the collator of this run's clips; of some of its modalities, where they are named."""
        modalities = self.data_args.modalities if modalities is None else modalities
        store: Any = None
        if self.reads_vectors or set(modalities) - {"text", *self.raw_modalities}:
            store = (
                self.store if self.used or self.reads_vectors else {}
            )  # before the first split there may be none on disk
        return SemanticMACCollator(
            self.processor, self.task, store, modalities, self.data_args.use_context, self.data_args.max_length,
            self._tokens, self.raw_modalities, self.data_args.on_error,
        )  # fmt: skip

    def trainer(self, train, validation, make: Callable[..., AffectTrainer] | None = None) -> AffectTrainer:
        """Return a trainer of the model on two splits, either of which may be None.

        Args:
            make: makes the trainer; None: the class that the model needs.
        """
        make = make or self.trainer_class
        collator = self.collator()
        options = {"eval_dataset": validation, "data_collator": collator, "processing_class": self.processor}
        return make(self.model, self.training_args, train, **options)


__all__ = ["Run"]
