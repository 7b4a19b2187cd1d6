"""Ray Tune as the backend of a hyperparameter search: random search on a Ray cluster."""

import os
from pathlib import Path

from ..training.run_arguments import SearchArguments
from .report import TrialRecord


def search_with_ray(trainer, options: SearchArguments) -> list[TrialRecord]:
    """Run all trials and return their records.

    Ray distributes them and keeps its files in `OUTPUT_DIR/ray`; an earlier search is not resumed.

    Args:
        trainer: a `SearchTrainer`.
        options: of the search.
    """
    from ray.tune.search.basic_variant import BasicVariantGenerator

    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # relative paths of the command line stay valid
    direction = "maximize" if trainer.args.greater_is_better else "minimize"
    best = trainer.hyperparameter_search(
        hp_space=lambda trial: {name: entry.ray_domain() for name, entry in trainer.space.items()},
        compute_objective=trainer.score,
        n_trials=options.search_trials,
        direction=direction,
        backend="ray",
        search_alg=BasicVariantGenerator(random_state=trainer.args.seed),
        storage_path=str(Path(trainer.args.output_dir).resolve() / "ray"),
    )
    return [
        TrialRecord(number, "complete", trial.last_result["objective"], trial.last_result["time_total_s"], trial.config)
        for number, trial in enumerate(best.run_summary.trials)
    ]


__all__ = ["search_with_ray"]
