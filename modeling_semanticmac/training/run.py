"""One run: its arguments, model, processor and clips."""

import logging
from pathlib import Path

from transformers import AutoTokenizer, set_seed

from datasets_scripts import load_corpus, task_specification
from datasets_scripts.sealed_test import SealedCorpus

from ..affect_heads import SemanticMACForAffect
from ..embedding_extraction import extract_embeddings
from ..embedding_extraction.report import usable_clips
from ..embedding_store import EmbeddingStore
from ..encoders import commit_of, embedding_width, encoder_reference, load_towers
from ..files.atomic_files import write_json
from ..processing_semanticmac import SemanticMACProcessor
from .collator import SemanticMACCollator
from .objectives import own_class_weight
from .trainer import SemanticMACTrainer

logger = logging.getLogger("run_mac")


class Run:
    """One run: its arguments, model, processor and clips, each made when it is first needed."""

    def __init__(self, model_args, data_args, training_args):
        self.model_args, self.data_args, self.training_args = model_args, data_args, training_args
        if data_args.corpus is None or data_args.data_dir is None:
            raise ValueError("--corpus and --data_dir say which clips to use; at least one of them is missing.")
        if (model_args.model_name_or_path is None) == (model_args.language_model is None):
            raise ValueError(
                "give either --model_name_or_path (a SemanticMAC checkpoint) or --language_model (to build a new model on)."
            )
        self.task = task_specification(
            data_args.corpus, data_args.task, data_dir=data_args.data_dir, **data_args.options
        )
        if training_args.class_weights:
            own_class_weight(training_args.class_weights, self.task)  # refuses wrong ones before anything is loaded
        self.used: dict[str, list[str]] = {}  # split -> ids of the clips that were used
        self.language_model_commit: str | None = None  # of a new model whose language model came from the Hub
        self.uses_media = set(data_args.modalities) != {"text"}
        self.corpus = SealedCorpus(
            load_corpus(data_args.corpus, data_args.data_dir, data_args.task, **data_args.options)
        )
        self.model, self.processor = self._load() if model_args.model_name_or_path else self._build()
        self.choice = f"the model is {model_args.model_name_or_path}, nothing is chosen here"
        self.embeddings_dir = Path(data_args.embeddings_dir or Path(training_args.output_dir) / "embeddings")

    def _load(self):
        name = self.model_args.model_name_or_path
        model = SemanticMACForAffect.from_pretrained(name)
        if model.config.task != self.task:
            raise ValueError(f"the model at {name} was made for {model.config.task}; the corpus asks for {self.task}.")
        return model, SemanticMACProcessor.from_pretrained(name)

    def _build(self):
        """A new model around the language model and, where media are used, the two towers."""
        args = self.model_args
        self.language_model_commit = commit_of(args.language_model, args.language_model_revision)
        words_revision = self.language_model_commit or args.language_model_revision
        tokenizer = AutoTokenizer.from_pretrained(args.language_model, revision=words_revision)
        references = {}
        for modality in ("vision", "audio"):
            if modality not in self.data_args.modalities:
                continue
            name, revision = getattr(args, f"{modality}_encoder"), getattr(args, f"{modality}_encoder_revision")
            if name is None:
                raise ValueError(
                    f"modality {modality!r} needs --{modality}_encoder (a name on the Hub or a folder); or leave it out of --modalities."
                )
            references[modality] = {"name_or_path": name, "revision": revision}
        encoders, front_ends = load_towers(references, args.num_crops)
        fields = args.config_fields()
        for modality, encoder in encoders.items():
            fields[f"{modality}_encoder"] = encoder_reference(encoder=encoder, **references[modality])
            fields[f"{modality}_width"] = embedding_width(encoder)
        if "vision" in front_ends:  # the crops of a frame share its place in time
            fields["num_crops"] = getattr(front_ends["vision"], "num_crops", 1)
        set_seed(self.training_args.seed)  # whatever loading has drawn, new weights are those of the seed
        model = SemanticMACForAffect.from_language_model(
            args.language_model, words_revision, **self.task.config_fields(), **fields
        )
        model.semanticmac.set_encoders(**encoders)
        sampling = {**args.sampling_fields(), "max_length": self.data_args.max_length}
        return model, SemanticMACProcessor(front_ends["vision"], front_ends["audio"], tokenizer, **sampling)

    def split(self, name: str, limit: int | None):
        """A split of the corpus, with its clips in the embedding store where media are used."""
        clips = self.corpus[name]
        if limit is not None:
            clips = clips.select(range(min(limit, len(clips))))
        if self.uses_media:
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
            if self.training_args.should_save:
                report.save(Path(self.training_args.output_dir) / f"media_{name}.json")
            clips = usable_clips(clips, self.store, self.data_args.on_error)
        self.used[name] = clips["id"][:]
        if self.training_args.should_save:
            write_json(Path(self.training_args.output_dir) / "splits.json", self.used)
        return clips

    @property
    def encoders(self) -> dict:
        """The frozen towers of the modalities in use."""
        used = [modality for modality in ("vision", "audio") if modality in self.data_args.modalities]
        return {modality: self.model.semanticmac.get_encoder(modality) for modality in used}

    @property
    def store(self) -> EmbeddingStore | None:
        """The embeddings of the clips that were split off so far; None where only text is used."""
        return EmbeddingStore.open(self.embeddings_dir) if self.uses_media else None

    def trainer(self, train, validation, make=SemanticMACTrainer) -> SemanticMACTrainer:
        collator = SemanticMACCollator(
            self.processor, self.task, self.store, self.data_args.modalities, self.data_args.use_context, self.data_args.max_length
        )  # fmt: skip
        return make(
            self.model, self.training_args, train, eval_dataset=validation, data_collator=collator, processing_class=self.processor
        )  # fmt: skip


__all__ = ["Run"]
