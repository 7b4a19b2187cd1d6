"""The run of a simple system: fitted on the training split, its results in the folder of a run as any other's."""

import time
from pathlib import Path

import numpy as np

from datasets_scripts.loading import corpus_builder

from ..files.atomic_files import write_json
from ..metrics import class_scores, compute_metrics, tune_thresholds
from ..runs.output_folder import OutputFolder
from ..runs.record import FINISHED, peak_memory, save_run_record, write_predictions
from ..training.run import Run
from ..training.run_arguments import parse_arguments
from .plan import PlannedRun
from .pooled_features import PooledFeatures
from .simple_systems import LinearProbe, Majority, ProbeOptions, fit_probe


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
    options = ProbeOptions.read(planned.row.options)
    model_args, data_args, training_args = parse_arguments(planned.argv)
    folder = OutputFolder(planned.folder)
    with folder.held():
        run = Run(model_args, data_args, training_args)
        limits = (data_args.max_train_samples, data_args.max_eval_samples)
        splits = {
            name: run.split(name, limit) for name, limit in zip(("train", "validation"), limits)
        }  # encodes what the store lacks
        labels = {name: np.array(clips["label"][:]) for name, clips in splits.items()}
        started = time.perf_counter()
        system: Majority | LinearProbe
        if planned.row.simple == "majority":
            system, choice = Majority(run.task).fit(labels["train"]), "the majority of the training split"
        else:
            streams = {name: features.streams(run, clips, options.pooling) for name, clips in splits.items()}
            pairs = [(streams[name], labels[name]) for name in splits]
            system = fit_probe(run.task, options, *pairs)
            choice = f"C = {system.C:g}, {'given' if options.C is not None else 'chosen on validation'}"
        seconds = time.perf_counter() - started
        folder.clear()
        save_run_record(
            folder.path, model_args, data_args, training_args, run.task, FINISHED,
            corpus=corpus_builder(data_args.corpus).facts(), language_model_commit=run.language_model_commit,
            simple_system={"name": planned.row.simple, **dict(planned.row.options), "choice": choice},
        )  # fmt: skip
        run.choice = f"{planned.row.simple}: {choice}"
        _write_results(run, system, splits, features, options.pooling, seconds)
        run.begin()  # writes which clips were used


def _write_results(run: Run, system, splits: dict, features: PooledFeatures, pooling: str, seconds: float) -> None:
    """Write metrics of validation and test, test predictions and costs."""
    folder, results = Path(run.training_args.output_dir), {"train_runtime": seconds}
    thresholds, splits = None, dict(splits)
    for split, prefix in (("validation", "eval"), ("test", "test")):
        if split == "test":
            if not run.training_args.do_predict:
                break
            run.corpus.open_test(run.choice)
            results["test_opened"] = run.choice
            splits["test"] = run.split("test", run.data_args.max_predict_samples)
        clips = splits[split]
        labels = np.array(clips["label"][:])
        logits = (
            system.logits(len(clips))
            if isinstance(system, Majority)
            else system.logits(features.streams(run, clips, pooling))
        )
        if run.task.is_multi_label and split == "validation":
            thresholds = tune_thresholds(class_scores(logits), labels)
        metrics = compute_metrics(run.task, logits, labels, thresholds)
        results |= {f"{prefix}_{name}": value for name, value in metrics.items()}
        if thresholds is not None:
            names = zip(run.task.label_names, thresholds)
            results |= {f"{prefix}_threshold_{name}": float(value) for name, value in names}
        if split == "test":
            own = None if thresholds is None else thresholds.tolist()
            write_predictions(folder / "predictions_test.csv", run.task, clips, logits, None, own)
    write_json(folder / "all_results.json", results)
    parameters = getattr(system, "num_parameters", 0)
    write_json(
        folder / "costs.json",
        {"parameters": {"trained": parameters}, "peak_memory_bytes": peak_memory(), "train_seconds": seconds},
    )


__all__ = ["run_simple"]
