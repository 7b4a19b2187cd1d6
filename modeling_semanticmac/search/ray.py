"""Ray Tune as the backend of a hyperparameter search: random search on a Ray cluster."""

import logging
import os
from pathlib import Path

from ..training.run_arguments import SearchArguments
from .report import TrialRecord

logger = logging.getLogger(__name__)


def search_with_ray(trainer, options: SearchArguments) -> list[TrialRecord]:
    """Run all trials and return their records.

    Ray distributes them and keeps its files in `OUTPUT_DIR/ray`; an earlier search is not resumed. A trial whose values
    are refused, or that diverges, is recorded as failed and not replaced.

    Args:
        trainer: a `SearchTrainer`.
        options: of the search.

    Raises:
        ValueError: every trial failed.
    """
    from ray.tune.search.basic_variant import BasicVariantGenerator

    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # relative paths of the command line stay valid
    direction = "maximize" if trainer.args.greater_is_better else "minimize"
    folder = Path(trainer.args.output_dir).resolve() / "ray"
    # Ray pickles the trainer. A training that this process did before leaves weak references to its loaders, which
    # cannot be pickled, in the state that accelerate shares among all trainers. No loader is in use now.
    trainer.accelerator.gradient_state.dataloader_references = [None]
    try:
        best = trainer.hyperparameter_search(
            hp_space=lambda trial: {name: entry.ray_domain() for name, entry in trainer.space.items()},
            compute_objective=trainer.score,
            n_trials=options.search_trials,
            direction=direction,
            backend="ray",
            search_alg=BasicVariantGenerator(random_state=trainer.args.seed),
            storage_path=str(folder),
            raise_on_failed_trial=False,
        )
    except AttributeError as error:  # the library asks for the best trial where there is none
        if "trial_id" not in str(error):
            raise
        raise ValueError(f"all {options.search_trials} trials failed; {folder} holds their errors.") from error
    return [_record(number, trial) for number, trial in enumerate(best.run_summary.trials)]


def _record(number: int, trial) -> TrialRecord:
    """Return the record of one of Ray's trials."""
    last = trial.last_result or {}
    score, seconds = last.get("objective"), last.get("time_total_s")
    if trial.status == "TERMINATED" and score is not None:
        return TrialRecord(number, "complete", score, seconds, trial.config)
    lines = (trial.get_error() and str(trial.get_error()).strip().splitlines()) or [f"it ended as {trial.status}"]
    logger.warning("Trial %d failed: %s", number, lines[-1])
    return TrialRecord(number, "failed", None, seconds, trial.config, lines[-1])


__all__ = ["search_with_ray"]
