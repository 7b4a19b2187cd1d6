"""Train, evaluate and predict: one run from its arguments to its results, or one for each seed."""

import logging
from pathlib import Path

import numpy as np
from transformers import set_seed
from transformers.trainer_utils import IntervalStrategy

from datasets_scripts.check import split_counts
from datasets_scripts.corpus import corpus_builder

from ..files.atomic_files import write_json
from ..hub.upload import push_run
from ..metrics import class_scores, compute_metrics, tune_thresholds
from ..report import write_report
from ..runs.record import recorded_arguments, save_costs, save_run_record, write_predictions
from ..runs.seeds import SeedRun, summarize
from .checkpoints import newest_whole_checkpoint
from .run import Run
from .run_arguments import parse_arguments
from .trainer import SemanticMACTrainer

logger = logging.getLogger("run_mac")


def train(trainer: SemanticMACTrainer, run: Run) -> None:
    """Train, keep the model that is best on validation, save it complete."""
    args = run.training_args
    result = trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    run.choice = "the model of the last step, chosen without looking at any split"
    if trainer.state.best_model_checkpoint and args.load_best_model_at_end:
        best = Path(trainer.state.best_model_checkpoint).name
        run.choice = f"{best} is chosen by validation {args.metric_for_best_model} {trainer.state.best_metric:.6g}"
    if run.task.is_multi_label and (trainer.eval_dataset is not None or args.do_predict):
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
        write_predictions(path, run.task, clips, found.predictions[0], found.predictions[1], thresholds)


def run_seeds(argv: list[str], model_args, data_args, training_args) -> None:
    """The run once for each seed, in folders `seed_<n>`; one that was stopped goes on where it was. Media are encoded once for all."""
    folder = Path(training_args.output_dir)
    embeddings, push = data_args.embeddings_dir or str(folder / "embeddings"), training_args.push_to_hub
    runs = [
        SeedRun(seed, folder / f"seed_{seed}", recorded_arguments(model_args, data_args, training_args))
        for seed in data_args.seeds
    ]
    for run in runs:
        if run.is_finished():
            logger.info("seed %d is finished: %s", run.seed, run.folder)
            continue
        words = ["--seed", str(run.seed), "--output_dir", str(run.folder), "--embeddings_dir", embeddings]
        model_args, data_args, training_args = parse_arguments([*argv, *words])
        training_args.push_to_hub = False  # the best one, when all are there
        if training_args.do_train and training_args.resume_from_checkpoint in (None, "last"):
            newest = newest_whole_checkpoint(run.folder)
            training_args.resume_from_checkpoint = str(newest) if newest else None
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


__all__ = ["run_once", "run_seeds"]
