#!/usr/bin/env python
"""Train, evaluate and predict with SemanticMAC.

    accelerate launch run_mac.py examples/recipes/synthetic_sentiment.yaml --data_dir CORPUS --output_dir RUN
    python run_mac.py --model_name_or_path RUN --corpus synthetic --data_dir CORPUS --do_predict --output_dir PREDICTIONS

Training reads the splits `train` and `validation` only; `test` is opened by --do_predict, after the model is chosen.
"""

import logging
import sys
from pathlib import Path

import numpy as np
from accelerate import PartialState
from transformers import AutoTokenizer, set_seed
from transformers.trainer_utils import IntervalStrategy, get_last_checkpoint

from datasets_scripts import load_corpus, task_specification
from datasets_scripts.check import split_counts
from datasets_scripts.corpus import corpus_builder
from datasets_scripts.sealed_test import SealedCorpus
from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.atomic_files import write_json
from modeling_semanticmac.collator import SemanticMACCollator
from modeling_semanticmac.embedding_extraction import extract_embeddings
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.encoders import commit_of, embedding_width, encoder_reference, load_towers
from modeling_semanticmac.extraction_report import usable_clips
from modeling_semanticmac.hub_upload import push_run
from modeling_semanticmac.hyperparameter_search import search
from modeling_semanticmac.metrics import class_scores, compute_metrics, tune_thresholds
from modeling_semanticmac.processing_semanticmac import SemanticMACProcessor
from modeling_semanticmac.report import write_report
from modeling_semanticmac.run_arguments import parse_arguments, parse_command
from modeling_semanticmac.run_record import recorded_words, save_costs, save_run_record, write_predictions
from modeling_semanticmac.seed_runs import SeedRun, summarize
from modeling_semanticmac.trainer_semanticmac import SemanticMACTrainer

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


def train(trainer: SemanticMACTrainer, run: Run) -> None:
    """Train, keep the model that is best on validation, save it complete."""
    args = run.training_args
    checkpoint = args.resume_from_checkpoint
    if checkpoint == "last":
        checkpoint = get_last_checkpoint(args.output_dir)
    result = trainer.train(resume_from_checkpoint=checkpoint)
    run.choice = "the model of the last step, chosen without looking at any split"
    if trainer.state.best_model_checkpoint and args.load_best_model_at_end:
        best = Path(trainer.state.best_model_checkpoint).name
        run.choice = f"{best} is chosen by validation {args.metric_for_best_model} {trainer.state.best_metric:.6g}"
    if run.task.is_multi_label and trainer.eval_dataset is not None:
        run.model.config.label_thresholds = None  # those of a model that training went on from
        run.model.config.label_thresholds = tuned_thresholds(trainer, run).tolist()  # what a prediction goes by later
    # A tower that lies in somebody's folder cannot be loaded by reference elsewhere.
    asked = run.model_args.include_encoders
    run.model.include_encoders = run.model.refers_to_folders if asked is None else asked
    trainer.save_model()
    trainer.log_metrics("train", result.metrics)
    trainer.save_metrics("train", result.metrics)
    trainer.save_state()


def tuned_thresholds(trainer: SemanticMACTrainer, run: Run) -> np.ndarray:
    """The score above which each label counts as present, by its F1 on validation: those that the model came with, or found now."""
    if run.model.config.label_thresholds is not None:
        return np.array(run.model.config.label_thresholds)
    clips = trainer.eval_dataset
    if clips is None:
        clips = run.split("validation", run.data_args.max_eval_samples)
        trainer.data_collator.store = run.store
    found = trainer.predict(clips, metric_key_prefix="tuning")
    return tune_thresholds(class_scores(found.predictions[0]), found.label_ids)


def predict(trainer: SemanticMACTrainer, run: Run) -> None:
    """Open the test split, report its metrics, write one row a clip. Thresholds of several labels are tuned on validation before."""
    thresholds = tuned_thresholds(trainer, run) if run.task.is_multi_label else None
    run.corpus.open_test(run.choice)
    clips = run.split("test", run.data_args.max_predict_samples)
    trainer.data_collator.store = run.store  # now with the test clips
    found = trainer.predict(clips)
    if thresholds is not None:
        tuned = compute_metrics(run.task, found.predictions[0], found.label_ids, thresholds)
        found.metrics.update({f"test_{name}": value for name, value in tuned.items() if "_tuned" in name})
        names = zip(run.task.label_names, thresholds)
        found.metrics.update({f"test_threshold_{name}": float(value) for name, value in names})
    trainer.log_metrics("test", found.metrics)
    trainer.save_metrics("test", {**found.metrics, "test_opened": run.corpus.opened})
    if trainer.is_world_process_zero():
        path = Path(run.training_args.output_dir) / "predictions_test.csv"
        write_predictions(path, run.task, clips, found.predictions[0], found.predictions[1])


def main(argv: list[str] | None = None) -> None:
    """Run with the given arguments, or those of the command line."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    for name in ("httpx", "httpx2"):  # one line a request to the Hub
        logging.getLogger(name).setLevel(logging.WARNING)
    argv = sys.argv[1:] if argv is None else argv
    *arguments, options = parse_command(argv)
    if options.do_search:
        print(search(Run, argv, options, *arguments))
    elif arguments[1].seeds:
        run_seeds(argv, *arguments)
    else:
        run_once(*arguments)


def run_seeds(argv: list[str], model_args, data_args, training_args) -> None:
    """The run once for each seed, in folders `seed_<n>`; one that was stopped goes on where it was. Media are encoded once for all."""
    folder = Path(training_args.output_dir)
    embeddings, push = data_args.embeddings_dir or str(folder / "embeddings"), training_args.push_to_hub
    runs = [
        SeedRun(seed, folder / f"seed_{seed}", recorded_words(model_args, data_args, training_args))
        for seed in data_args.seeds
    ]
    for run in runs:
        if run.is_finished():
            logger.info("seed %d is finished: %s", run.seed, run.folder)
            continue
        words = ["--seed", str(run.seed), "--output_dir", str(run.folder), "--embeddings_dir", embeddings]
        model_args, data_args, training_args = parse_arguments([*argv, *words])
        training_args.push_to_hub = False  # the best one, when all are there
        if training_args.do_train and training_args.resume_from_checkpoint is None and run.folder.is_dir():
            training_args.resume_from_checkpoint = "last"
        trainer = run_once(model_args, data_args, training_args)
        if training_args.should_save:
            args = trainer.args
            run.finish(args.metric_for_best_model, trainer.state.best_metric, bool(args.greater_is_better))
    if training_args.should_save:
        summary = summarize(runs, folder)
        print((folder / "seeds.md").read_text(encoding="utf-8"))
        if push:
            push_best(folder, summary, training_args)


def push_best(folder: Path, summary: dict, args) -> None:
    """Push the run of the seed that validation chose.

    Raises:
        ValueError: none was chosen, since nothing was evaluated on validation.
    """
    if summary["best_folder"] is None:
        raise ValueError(
            "no seed was chosen on validation, so there is none to push; train with --eval_strategy epoch."
        )
    name = args.hub_model_id or folder.resolve().name
    push_run(
        folder / summary["best_folder"],
        name,
        private=args.hub_private_repo,
        token=args.hub_token,
        revision=args.hub_revision,
    )


def run_once(model_args, data_args, training_args) -> SemanticMACTrainer:
    """One run, from its arguments to its results."""
    if not (training_args.do_train or training_args.do_eval or training_args.do_predict):
        raise ValueError("nothing to do: give --do_train, --do_eval or --do_predict.")
    if not training_args.do_train:
        training_args.eval_strategy, training_args.load_best_model_at_end = IntervalStrategy.NO, False
    set_seed(training_args.seed)
    run = Run(model_args, data_args, training_args)
    if training_args.should_save:
        facts = {"corpus": corpus_builder(data_args.corpus).facts(), "language_model_commit": run.language_model_commit}
        save_run_record(training_args.output_dir, model_args, data_args, training_args, run.task, **facts)
    train_clips = run.split("train", data_args.max_train_samples) if training_args.do_train else None
    needs_validation = training_args.do_train or training_args.do_eval
    validation = run.split("validation", data_args.max_eval_samples) if needs_validation else None
    trainer = run.trainer(train_clips, validation)
    if training_args.do_train:
        train(trainer, run)
    if training_args.do_eval:
        metrics = trainer.evaluate()
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)
    if training_args.do_predict:
        predict(trainer, run)
    if training_args.should_save:
        save_costs(training_args.output_dir, run.model, run.encoders)
        counts = split_counts(data_args.corpus, data_args.data_dir, data_args.task, **data_args.options)
        write_json(Path(training_args.output_dir) / "corpus.json", counts)
        write_report(training_args.output_dir)
    if training_args.push_to_hub:
        trainer.push_to_hub()
    return trainer


if __name__ == "__main__":
    main()
    PartialState().destroy_process_group()  # left to the end of the interpreter, its threads can abort a finished run
