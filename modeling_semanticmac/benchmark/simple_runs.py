"""The run of a simple system: fitted on the training split, its results in the folder of a run as any other's."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from datasets_scripts.loading import corpus_builder

from ..files.atomic_files import write_json
from ..metrics import class_scores, compute_metrics, tune_thresholds
from ..runs.output_folder import OutputFolder
from ..runs.record import finish_run_record, peak_memory, save_run_record, write_predictions
from ..training.run import Run
from ..training.run_arguments import parse_arguments
from .plan import PlannedRun
from .pooled_features import PooledFeatures
from .simple_systems import LinearProbe, Majority, ProbeOptions, fit_probe, refitted
from .support_vectors import SupportVectorOptions, SupportVectors, fit_support_vectors


def run_simple(planned: PlannedRun, features: PooledFeatures) -> None:
    """Fit a simple system on the clips that a trained model of these arguments uses, and write its run folder.

    The test split stays sealed until the system is fitted and chosen on validation.

    Args:
        planned: a run whose row names a simple system.
        features: what earlier runs have pooled.

    Raises:
        ValueError: unknown options, or clips that cannot be used.
    """
    if planned.row.simple == "majority" and planned.row.options:
        raise ValueError(f"majority takes no options; found {', '.join(planned.row.options)}.")
    options_class = SupportVectorOptions if planned.row.simple == "svm" else ProbeOptions
    options = options_class.read(planned.row.options)
    model_args, data_args, training_args = parse_arguments(planned.argv)
    if data_args.train_on_validation:
        raise ValueError(
            f"{planned.row.name}: train_on_validation is of trained models; a linear_probe has the option refit."
        )
    folder = OutputFolder(planned.folder)
    with folder.held():
        run = Run(model_args, data_args, training_args)
        limits = (data_args.max_train_samples, data_args.max_eval_samples)
        # Encodes what the store lacks, as the training of these arguments would.
        splits = {name: run.split(name, limit) for name, limit in zip(("train", "validation"), limits)}
        started = time.perf_counter()
        systems, choice = _fit(planned.row.simple, options, run, splits, features)
        seconds = time.perf_counter() - started
        run.choice = f"{planned.row.simple}: {choice}"
        folder.clear()
        save_run_record(
            folder.path, model_args, data_args, training_args, run.task,
            corpus=corpus_builder(data_args.corpus).facts(), language_model_commit=run.language_model_commit,
            simple_system={"name": planned.row.simple, **dict(planned.row.options), "choice": choice},
        )  # fmt: skip
        run.begin()  # writes which clips are used

        def logits(split: str, clips) -> np.ndarray:
            system = systems[split]
            if isinstance(system, Majority):
                return system.logits(len(clips))
            return system.logits(features.streams(run, clips, options.pooling))

        _write_results(run, splits["validation"], logits, seconds)
        if isinstance(systems["test"], SupportVectors):
            systems["test"].save(folder.path)
        trained = getattr(systems["test"], "num_parameters", 0)
        costs = {"parameters": {"trained": trained}, "peak_memory_bytes": peak_memory()}
        write_json(folder.path / "costs.json", costs)
        finish_run_record(folder.path)


def _fit(
    name: str, options: ProbeOptions | SupportVectorOptions, run: Run, splits: dict, features: PooledFeatures
) -> tuple[dict, str]:
    """Return the system that predicts each split, and how it was chosen.

    Args:
        splits: the clips of train and validation.
    """
    labels = {split: np.array(clips["label"][:]) for split, clips in splits.items()}
    if name == "majority":
        majority = Majority(run.task).fit(labels["train"])
        return {"validation": majority, "test": majority}, "the majority of the training split"
    parts = [
        (features.streams(run, clips, options.pooling), labels[split]) for split, clips in splits.items()
    ]  # train, validation
    probe: LinearProbe | SupportVectors
    if isinstance(options, SupportVectorOptions):
        probe = fit_support_vectors(run.task, options, *parts)
    else:
        probe = fit_probe(run.task, options, *parts)
    choice = f"C = {probe.C:g}, {'given' if options.C is not None else 'chosen on validation'}"
    if isinstance(probe, SupportVectors) or not options.refit:
        return {"validation": probe, "test": probe}, choice
    return {"validation": probe, "test": refitted(probe, *parts)}, f"{choice}, fitted anew on train and validation"


def _write_results(run: Run, validation, logits_of: Callable, seconds: float) -> None:
    """Write metrics of validation and, unless it stays sealed, of test, with its predictions.

    Args:
        validation: its clips.
        logits_of: function from the name of a split and its clips to logits (n, C).
    """
    folder, thresholds = Path(run.training_args.output_dir), None
    labels, logits = np.array(validation["label"][:]), logits_of("validation", validation)
    if run.task.is_multi_label:
        thresholds = tune_thresholds(class_scores(logits), labels)
    results: dict = {"train_runtime": seconds, **_metrics(run, "eval", logits, labels, thresholds)}
    if run.training_args.do_predict:
        run.corpus.open_test(run.choice)
        test = run.split("test", run.data_args.max_predict_samples)
        logits = logits_of("test", test)
        results |= {"test_opened": run.choice}
        results |= _metrics(run, "test", logits, np.array(test["label"][:]), thresholds)
        own = None if thresholds is None else thresholds.tolist()
        write_predictions(folder / "predictions_test.csv", run.task, test, logits, None, own)
    write_json(folder / "all_results.json", results)


def _metrics(run: Run, prefix: str, logits: np.ndarray, labels: np.ndarray, thresholds) -> dict[str, float]:
    found = {f"{prefix}_{name}": value for name, value in compute_metrics(run.task, logits, labels, thresholds).items()}
    names = zip(run.task.label_names, thresholds) if thresholds is not None else ()
    return found | {f"{prefix}_threshold_{name}": float(value) for name, value in names}


__all__ = ["run_simple"]
