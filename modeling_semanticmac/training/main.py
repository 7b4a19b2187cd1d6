"""Train, evaluate and predict: one run from its arguments to its results."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from transformers import TrainerCallback, set_seed
from transformers.trainer_utils import IntervalStrategy, PredictionOutput

from datasets_scripts.check import split_counts
from datasets_scripts.loading import corpus_builder

from ..baselines.model_classes import SEMANTICMAC, architecture_of
from ..configuration_semanticmac import SUBTASKS, AffectConfig
from ..files.atomic_files import write_json
from ..metrics import class_scores, compute_metrics, tune_thresholds
from ..metrics.calibration import fit_calibration
from ..report import write_report
from ..runs.groups import FILE, write_clip_facts
from ..runs.output_folder import OutputFolder
from ..runs.record import finish_run_record, save_costs, save_run_record, write_predictions
from ..runs.settings import check_same_settings, forgets_best, made_with
from .affect_trainer import AffectTrainer
from .argument_checks import check_arguments
from .checkpoints import check_checkpoint, newest_whole_checkpoint, requested_checkpoint
from .run import Run
from .run_settings import media_settings, run_settings

logger = logging.getLogger("run_mac")


def train(trainer: AffectTrainer, run: Run, checkpoint: str | None = None) -> None:
    """Train, keep the model that is best on validation, find how sure it is there, save it complete.

    Args:
        checkpoint: that the training resumes; None: it starts from the beginning.
    """
    args = trainer.args
    run.model.config.calibration = None  # that of the model that the training started from
    result = trainer.train(resume_from_checkpoint=checkpoint)
    run.choice = "the model of the last step, chosen without looking at any split"
    if run.data_args.train_on_validation:
        run.choice = "the model of the last step, trained on train and validation together"
    if trainer.state.best_model_checkpoint and args.load_best_model_at_end:
        best = Path(trainer.state.best_model_checkpoint).name
        run.choice = f"{best} is chosen by validation {args.metric_for_best_model} {trainer.state.best_metric:.6g}"
    if run.task.is_multi_label and (trainer.eval_dataset is not None or args.do_predict):
        run.model.config.label_thresholds = None  # those of the model that the training started from
        run.model.config.label_thresholds = tuned_thresholds(
            trainer, run
        ).tolist()  # applied by the pipeline at inference
    if run.validation is not None:
        found = validation_outputs(trainer, run)
        logits = split_heads(found.predictions, run.model.config)[0]
        run.model.config.calibration = fit_calibration(run.task, logits, np.asarray(found.label_ids))
    # A tower that lies in somebody's folder cannot be loaded by reference elsewhere.
    requested = run.model_args.include_encoders
    run.model.include_encoders = run.model.refers_to_folders if requested is None else requested
    trainer.save_model()
    trainer.log_metrics("train", result.metrics)
    trainer.save_metrics("train", result.metrics)
    trainer.save_state()


def validation_outputs(trainer: AffectTrainer, run: Run) -> PredictionOutput:
    """Return what the library's `predict` returns for the validation split, computed once for the chosen model."""
    if run.validation_outputs is None:
        run.validation_outputs = trainer.predict(run.validation, metric_key_prefix="eval")
    return run.validation_outputs


def evaluate(trainer: AffectTrainer, run: Run) -> None:
    """Record the metrics of the validation split and write one row per clip."""
    found = validation_outputs(trainer, run)
    metrics = dict(found.metrics or {})
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    logits, views = split_heads(found.predictions, run.model.config)
    save_predictions(trainer, run, "validation", run.validation, logits, views, run.model.config.label_thresholds)


def save_predictions(trainer: AffectTrainer, run: Run, split: str, clips, logits, views, thresholds) -> None:
    """Write `predictions_<split>.csv` from the main process."""
    if trainer.is_world_process_zero():
        path = Path(run.training_args.output_dir) / f"predictions_{split}.csv"
        temperature = (run.model.config.calibration or {}).get("temperature", 1.0)
        write_predictions(path, run.task, clips, logits, views, thresholds, temperature)
        if split == "test":
            sex_of = corpus_builder(run.data_args.corpus).speaker_sex
            write_clip_facts(path.with_name(FILE), clips, run.data_args.modalities, run.store, sex_of)


def tuned_thresholds(trainer: AffectTrainer, run: Run) -> np.ndarray:
    """Return the score above which each label is present (C,): the model's own, or the best on validation by F1."""
    if run.model.config.label_thresholds is not None:
        return np.array(run.model.config.label_thresholds)
    if run.validation is None:
        clips = run.split("validation", run.data_args.max_eval_samples)
        trainer.data_collator.store = run.store
        found = trainer.predict(clips, metric_key_prefix="tuning")
    else:
        found = validation_outputs(trainer, run)
    return tune_thresholds(class_scores(split_heads(found.predictions, run.model.config)[0]), found.label_ids)


def split_heads(predictions, config: AffectConfig) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the logits of the whole prediction (n, C), and of the sub-tasks that the model has, by their letters.

    Args:
        predictions: the outputs that the library gathered, in the order of the model's.
        config: of the model.
    """
    logits, *rest = predictions if isinstance(predictions, tuple) else (predictions,)
    names = SUBTASKS if architecture_of(config) == SEMANTICMAC else tuple("TAV")
    return logits, dict(zip(names, rest[0].swapaxes(0, 1))) if rest else {}


def predict(trainer: AffectTrainer, run: Run) -> None:
    """Open the test split, report its metrics, write one row per clip; thresholds are tuned on validation first."""
    thresholds = tuned_thresholds(trainer, run) if run.task.is_multi_label else None
    run.corpus.open_test(run.choice)
    clips = run.split("test", run.data_args.max_predict_samples)
    trainer.data_collator.store = run.store  # now with the test clips
    found = trainer.predict(clips)
    logits, views = split_heads(found.predictions, run.model.config)
    metrics = dict(found.metrics or {})
    if thresholds is not None:
        tuned = compute_metrics(run.task, logits, found.label_ids, thresholds)
        metrics |= {f"test_{name}": value for name, value in tuned.items() if "_tuned" in name}
        names = zip(run.task.label_names, thresholds)
        metrics |= {f"test_threshold_{name}": float(value) for name, value in names}
    trainer.log_metrics("test", metrics)
    trainer.save_metrics("test", {**metrics, "test_opened": run.corpus.opened})
    own_thresholds = None if thresholds is None else thresholds.tolist()
    save_predictions(trainer, run, "test", clips, logits, views, own_thresholds)


def run_once(
    model_args, data_args, training_args, on_end: Callable[[AffectTrainer], None] | None = None
) -> AffectTrainer:
    """Do one run, from its arguments to its results, and return its trainer.

    A run that is refused leaves its output folder as it was.

    Args:
        on_end: called with the trainer after the results are written, before the run is marked as finished.

    Raises:
        ValueError: arguments that have no effect or do not fit; a corpus that lacks clips; an output folder that is
            in use or holds another run; or a checkpoint that was made with other settings.
        FileNotFoundError: the checkpoint to resume is absent.
    """
    check_arguments(model_args, data_args, training_args)
    if data_args.train_on_validation:  # its clips are learnt: nothing is measured on them
        training_args.do_eval = False
    if not training_args.do_train or data_args.train_on_validation:
        training_args.eval_strategy, training_args.load_best_model_at_end = IntervalStrategy.NO, False
    folder = OutputFolder(training_args.output_dir)
    is_main = training_args.process_index == 0
    with folder.held() if is_main else nullcontext():  # several processes are one command
        requested = training_args.resume_from_checkpoint if training_args.do_train else None
        checkpoint = requested_checkpoint(requested, folder.path)
        if checkpoint is not None:
            check_checkpoint(checkpoint, training_args.world_size)
        if is_main:
            folder.refuse_unless_free(newest_whole_checkpoint(folder.path), data_args.overwrite_output_dir, checkpoint)
        PartialState().wait_for_everyone()
        set_seed(training_args.seed)
        run = Run(model_args, data_args, training_args)
        trainer = _start(run, folder, Path(checkpoint) if checkpoint else None)
        if training_args.do_train:
            train(trainer, run, checkpoint)
        if training_args.do_eval:
            evaluate(trainer, run)
        if training_args.do_predict:
            predict(trainer, run)
        if training_args.should_save:
            _save_report(run)
            if on_end is not None:
                on_end(trainer)
            finish_run_record(folder.path)
        if training_args.push_to_hub:
            trainer.push_to_hub()
    return trainer


def _start(run: Run, folder: OutputFolder, checkpoint: Path | None) -> AffectTrainer:
    """Return the trainer of a run, after everything is checked and the records of the run are written.

    Args:
        checkpoint: that the training resumes; None: it starts from the beginning.
    """
    args, data_args = run.training_args, run.data_args
    settings = run_settings(run) if args.do_train else {}
    if checkpoint is not None:  # before media are encoded
        check_same_settings(checkpoint, settings, data_args.allow_changed_settings)
    train_clips = run.split("train", data_args.max_train_samples) if args.do_train else None
    if run.needs_validation:
        run.validation = run.split("validation", data_args.max_eval_samples)
    if args.do_train:
        settings |= media_settings(run, settings["clips"].keys())
    facts: dict[str, Any] = {
        "corpus": corpus_builder(data_args.corpus).facts(),
        "language_model_commit": run.language_model_commit,
    }
    differences = []
    if checkpoint is not None:
        differences = check_same_settings(checkpoint, settings, data_args.allow_changed_settings)
        if differences:
            logger.warning("resuming with changed settings: %s", "; ".join(found.text for found in differences))
        changed = made_with(checkpoint).get("changed_settings", []) + [found.text for found in differences]
        settings["changed_settings"] = facts["changed_settings"] = changed
    if args.should_save:
        inside = checkpoint is not None and checkpoint.resolve().parent == folder.path.resolve()
        folder.clear(keep_checkpoints=inside)
        save_run_record(folder.path, run.model_args, data_args, args, run.task, **facts)
    run.begin()
    trainer = run.trainer(train_clips, run.validation)
    trainer.made_with = settings
    if forgets_best(differences):
        trainer.add_callback(ForgetBest())
    return trainer


class ForgetBest(TrainerCallback):
    """Forget the best figure and checkpoint of a resumed run when its validation has changed."""

    def on_train_begin(self, args, state, control, **kwargs):
        """Reset what the checkpoint says of the best model."""
        state.best_metric = state.best_global_step = state.best_model_checkpoint = None


def _save_report(run: Run) -> None:
    """Write costs, counts of the corpus, and the report."""
    data_args, folder = run.data_args, Path(run.training_args.output_dir)
    save_costs(folder, run.model, run.encoders)
    counts = split_counts(data_args.corpus, data_args.data_dir, data_args.task, **data_args.options)
    write_json(folder / "corpus.json", counts)
    write_report(folder)


__all__ = ["run_once"]
