"""Load what every analysis starts from: the model, the clips of a split and their representations, from the folder of a
run or from a model."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import datasets
import torch
from transformers import AutoModelForVideoClassification

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))

from modeling_semanticmac.analyses.representations import Representations, load_or_represent  # noqa: E402
from modeling_semanticmac.configuration_semanticmac import MEDIA_MODALITIES, TaskSpecification  # noqa: E402
from modeling_semanticmac.embedding_extraction import extract_embeddings  # noqa: E402
from modeling_semanticmac.embedding_extraction.report import usable_clips  # noqa: E402
from modeling_semanticmac.embedding_store import EmbeddingStore, read_fingerprint  # noqa: E402
from modeling_semanticmac.embedding_store.joined import JoinedStore  # noqa: E402
from modeling_semanticmac.processing_semanticmac import SemanticMACProcessor  # noqa: E402
from modeling_semanticmac.training.collator import SemanticMACCollator  # noqa: E402
from modeling_semanticmac.training.run_arguments import DataArguments  # noqa: E402
from modeling_semanticmac.training.run_features import (  # noqa: E402
    RunFeatures,
    load_clips,
    load_run_corpus,
    open_features,
    require_features,
)


def run_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that every analysis has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run or a checkpoint, or name on the Hub")
    parser.add_argument("--data_dir", help="folder of the corpus (default: that of the run)")
    parser.add_argument("--split", default="train", help="train, validation or test (default: %(default)s)")
    parser.add_argument("--output_dir", type=Path, help="folder of the pictures (default: <run>/analysis)")
    parser.add_argument("--corpus", help="name of the corpus (default: that of the run)")
    parser.add_argument("--task", help="task of the corpus (default: that of the run)")
    parser.add_argument(
        "--embeddings_dir", help="embedding store (default: that of the run, else <output_dir>/embeddings)"
    )
    parser.add_argument("--batch_size", type=int, default=64, help="clips at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of random choices (default: %(default)s)")
    return parser


@dataclass
class TrainedRun:
    """A model and the clips to analyse it with; the heavy parts are made when they are first needed.

    Args:
        name: folder of the run, or name of the model.
        data: which clips to use and how, as `semanticmac train` takes it.
        split: split of the corpus.
        output_dir: folder of the pictures; representations are kept in its folder `representations`.
        batch_size: clips a forward pass.
    """

    name: str
    data: DataArguments
    split: str
    output_dir: Path
    batch_size: int = 64

    @classmethod
    def of(cls, args: argparse.Namespace) -> "TrainedRun":
        """Return the run that the arguments of `run_parser` name; defaults come from its `run.json`.

        Raises:
            ValueError: neither the arguments nor a run name the clips.
        """
        record = Path(args.run) / "run.json"
        recorded = json.loads(record.read_text(encoding="utf-8"))["data"] if record.is_file() else {}
        known = {field.name for field in fields(DataArguments)}
        given = {name: getattr(args, name) for name in ("data_dir", "corpus", "task", "embeddings_dir")}
        values = {name: value for name, value in recorded.items() if name in known}
        values |= {name: value for name, value in given.items() if value is not None}
        if not values.get("corpus") or not values.get("data_dir"):
            raise ValueError(f"there is no {record} that names the clips; give --corpus and --data_dir.")
        if args.output_dir is None and not record.is_file():
            raise ValueError(f"{args.run} is not the folder of a run; give --output_dir.")
        output_dir = args.output_dir or Path(args.run) / "analysis"
        if not values.get("embeddings_dir"):
            values["embeddings_dir"] = str((Path(args.run) if record.is_file() else output_dir) / "embeddings")
        return cls(args.run, DataArguments(**values), args.split, output_dir, args.batch_size)

    @cached_property
    def model(self):
        """Return the model with its head in evaluation mode, on a GPU where there is one."""
        model = AutoModelForVideoClassification.from_pretrained(self.name).eval()
        return model.to("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def task(self) -> TaskSpecification:
        return self.model.config.task

    @cached_property
    def processor(self) -> SemanticMACProcessor:
        return SemanticMACProcessor.from_pretrained(self.name)

    @cached_property
    def corpus(self) -> datasets.DatasetDict:
        """Return the clips of all splits."""
        return load_clips(self.data)

    @cached_property
    def _split_clips(self) -> datasets.Dataset:
        corpus = self.corpus
        if self.split not in corpus:
            raise ValueError(f"no split {self.split!r} in {self.data.corpus}; expected {', '.join(corpus)}.")
        clips = corpus[self.split]
        limits = {"train": "max_train_samples", "validation": "max_eval_samples", "test": "max_predict_samples"}
        limit = getattr(self.data, limits[self.split])
        return clips if limit is None else clips.select(range(min(limit, len(clips))))

    @cached_property
    def features(self) -> RunFeatures | None:
        """Return the streams that come from feature files; None where the run has none.

        Raises:
            ValueError: the model was trained on features of a file that the run does not name.
        """
        config = self.model.config
        towers = [modality for modality in MEDIA_MODALITIES if getattr(config, f"{modality}_encoder") is not None]
        found = open_features(self.data, load_run_corpus(self.data), towers, config)
        require_features(config, self.data.modalities, () if found is None else found.modalities)
        return found

    @cached_property
    def store(self) -> EmbeddingStore | JoinedStore | None:
        """Return the embeddings of the split, encoding those that are missing; None where only text is used."""
        given = () if self.features is None else self.features.modalities
        used = [m for m in ("vision", "audio") if m in self.data.modalities and m not in given]
        if self.features is None:
            return self._tower_store(used) if used else None
        stores = dict.fromkeys(given, self.features.store(Path(self.data.embeddings_dir)))
        return JoinedStore(stores | (dict.fromkeys(used, self._tower_store(used)) if used else {}))

    def _tower_store(self, used: list[str]) -> EmbeddingStore:
        """Return the embeddings of these towers."""
        folder, clips = Path(self.data.embeddings_dir), self._split_clips
        if read_fingerprint(folder) and not set(used) & set(self.model.adapted_modalities):
            store = EmbeddingStore.open(folder)
            if all(clip in store for clip in clips["id"]):
                return store  # without loading the towers
        extract_embeddings(
            clips,
            self.processor,
            {modality: self.model.get_encoder(modality) for modality in used},
            folder,
            batch_size=self.data.extraction_batch_size,
            num_workers=self.data.extraction_workers,
            max_seconds=self.data.max_seconds,
        )
        return EmbeddingStore.open(folder)

    @cached_property
    def clips(self) -> datasets.Dataset:
        """Return the clips of the split that the run uses.

        Raises:
            ValueError: the corpus has no such split, or clips cannot be encoded and the run's `on_error` is "raise".
        """
        clips = self._split_clips
        return clips if self.store is None else usable_clips(clips, self.store, self.data.on_error)

    @cached_property
    def collator(self) -> SemanticMACCollator:
        """Return the collator of the run."""
        data = self.data
        tokens = self.features.tokens if self.features is not None and data.text == "bert_ids" else None
        return SemanticMACCollator(
            self.processor, self.task, self.store, data.modalities, data.use_context, data.max_length, tokens
        )

    @cached_property
    def representations(self) -> Representations:
        """Return the representations of all clips of the split; kept in
        `<output_dir>/representations/<split>.safetensors`."""
        path = self.output_dir / "representations" / f"{self.split}.safetensors"
        return load_or_represent(path, self.model, self.clips, self.collator, self.batch_size)

    @property
    def title(self) -> str:
        """Return the source of a picture for its title."""
        return f"{self.data.corpus} {self.task.name}, {self.split} split"


def run_command(main: Callable[[], object]) -> None:
    """Run the `main` of a script; print errors as a sentence."""
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"error: {error}") from None


__all__ = ["TrainedRun", "run_command", "run_parser"]
