"""The trials of a hyperparameter search: a queue in Optuna's storage, which survives a kill and which several processes
may share.

By default the storage is SQLite in the output folder. After a kill a transaction is complete or absent, and a database
stores heartbeats, without which a killed trial looks like one that runs on another machine. Every trial has a *draw*,
its number in the search, and its values are drawn from (seed, draw): neither an interruption nor the number of
processes changes what random search tries.
"""

import logging
import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from ..training.run_arguments import SearchArguments
from .report import TrialRecord

logger = logging.getLogger(__name__)

STUDY, DRAW, FAILURE = "search", "draw", "failure"
# Errors that the values of a trial cause: another trial is drawn instead.
TRIAL_ERRORS = (ValueError, torch.OutOfMemoryError)
# Below this many trials the importance of a parameter is noise.
TRIALS_FOR_IMPORTANCE = 10
UNBORN_SECONDS = 10.0  # after which a trial that never showed a sign of life counts as killed
LOCK_SECONDS = 600  # how long a process waits for another one that writes into the same SQLite file


class UnqueuedTrial(Exception):
    """Signal that another process took the last trial of the queue just before."""


class TrialQueue:
    """Queue of the trials of a search in Optuna's storage, which several processes may share.

    Args:
        options: of the search.
        folder: output folder.
        args: training arguments with the seed and the direction of the metric.
        signature: what two commands of the same search have in common.

    Raises:
        ValueError: the storage holds another search.
    """

    def __init__(self, options: SearchArguments, folder: Path, args, signature: Sequence[str]):
        import optuna

        self.wanted, self.heartbeat = options.search_trials, options.search_heartbeat
        self.lock = FileLock(folder / ".search.lock")
        folder.mkdir(parents=True, exist_ok=True)
        url = options.search_storage or f"sqlite:///{folder.resolve() / 'search.db'}"
        with self.lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats, since version 2.9
            # A file of SQLite is locked while another process writes; on a busy machine that may take a while.
            waiting = {"connect_args": {"timeout": LOCK_SECONDS}} if url.startswith("sqlite:") else {}
            storage = optuna.storages.RDBStorage(url, engine_kwargs=waiting, heartbeat_interval=self.heartbeat)
            pruners = {"none": optuna.pruners.NopPruner, "median": optuna.pruners.MedianPruner}
            self.study_options = {
                "study_name": STUDY,
                "storage": storage,
                "direction": "maximize" if args.greater_is_better else "minimize",
                "sampler": seeded_sampler(options.search_sampler, args.seed),
                "pruner": pruners[options.search_pruner](),
                "load_if_exists": True,
            }  # fmt: skip
            self.study = optuna.create_study(**self.study_options)
            known = self.study.user_attrs.get("signature")
            if known is None:
                self.study.set_user_attr("signature", list(signature))
            elif known != list(signature):
                other = sorted(set(known) ^ set(signature))
                raise ValueError(
                    f"the storage of {folder} holds a search with other arguments ({', '.join(other)}); give another "
                    "--output_dir, or remove it."
                )

    def fill(self) -> list[TrialRecord]:
        """Queue the trials that are missing, i.e. new draws and those whose process was killed, and return all trials.

        Raises:
            ValueError: more trials failed than were requested.
        """
        import optuna

        with self.lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)
            self._fail_unborn_trials()
            attempts = {trial.user_attrs[DRAW]: trial for trial in self._trials()}  # the last attempt of each draw
            failures = [trial.user_attrs[FAILURE] for trial in attempts.values() if FAILURE in trial.user_attrs]
            if len(failures) > self.wanted:
                raise ValueError(
                    f"{len(failures)} trials failed, {self.wanted} were requested. The last: {failures[-1]}"
                )
            usable, draw = 0, 0
            while usable < self.wanted:
                last = attempts.get(draw)
                if last is None or FAILURE not in last.user_attrs:
                    usable += 1
                    if last is None or last.state == optuna.trial.TrialState.FAIL:
                        self.study.enqueue_trial(last.params if last else {}, user_attrs={DRAW: draw})
                draw += 1
        return [_trial_record(trial) for trial in self._trials()]

    def _fail_unborn_trials(self) -> None:
        """Fail running trials whose process was killed before its first heartbeat, which Optuna waits for for ever."""
        import optuna
        import sqlalchemy

        running = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        with self.study_options["storage"].engine.connect() as connection:
            rows = connection.execute(sqlalchemy.text("SELECT trial_id FROM trial_heartbeats"))
            alive = {row[0] for row in rows}
        limit = datetime.now() - timedelta(seconds=max(UNBORN_SECONDS, 2 * self.heartbeat))
        for trial in running:
            if trial._trial_id not in alive and trial.datetime_start < limit:
                self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)

    def run_one(self, trainer) -> None:
        """Run the next trial of the queue through the library."""
        import optuna

        try:
            trainer.hyperparameter_search(
                hp_space=lambda trial: {},  # the trainer sets the values itself
                compute_objective=trainer.score,
                n_trials=1,
                backend="optuna",
                catch=(*TRIAL_ERRORS, UnqueuedTrial),
                **self.study_options,
            )
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            if self._is_given_up(self.study_options["sampler"].latest):
                logger.warning(
                    "Trial %d showed no sign of life for a while, so another process took this one for dead and queued "
                    "the trial again. Its result is not kept. On a busy machine raise --search_heartbeat (%s s).",
                    self.study_options["sampler"].latest, self.heartbeat,
                )  # fmt: skip
            # The library reads the best trial at the end, which does not exist before the first complete one.
            elif self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
                raise

    def _is_given_up(self, number: int | None) -> bool:
        """Return whether another process ended a trial of this one, as `fill` does with those of killed processes."""
        import optuna

        if number is None:  # the error came before the first trial
            return False
        trial = self.study.get_trials(deepcopy=False)[number]
        own = FAILURE in trial.user_attrs or DRAW not in trial.user_attrs
        return trial.state == optuna.trial.TrialState.FAIL and not own

    def importance(self) -> dict[str, float]:
        """Return the share of each parameter in the variance of the scores (fANOVA); empty where there are too few
        trials.
        """
        import optuna

        complete = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        if len(complete) < TRIALS_FOR_IMPORTANCE:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return optuna.importance.get_param_importances(self.study, evaluator=evaluator)

    def _trials(self) -> list:
        return [trial for trial in self.study.get_trials(deepcopy=False) if DRAW in trial.user_attrs]


def seeded_sampler(name: str, seed: int):
    """Return Optuna's sampler `random` or `tpe`, seeded for each trial with (seed, draw): a resumed search does not
    repeat its first draws. `latest` is the number of the trial that this process began last.
    """
    import optuna

    make = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}[name]

    class SeededSampler(optuna.samplers.BaseSampler):
        """Sampler that delegates each trial to a sampler of its own."""

        latest: int | None = None

        def before_trial(self, study, trial):
            self.latest = trial.number
            entropy = np.random.SeedSequence([seed, trial.user_attrs.get(DRAW, 0)])
            self.sampler = make(seed=int(entropy.generate_state(1)[0]))

        def infer_relative_search_space(self, study, trial):
            return self.sampler.infer_relative_search_space(study, trial)

        def sample_relative(self, study, trial, search_space):
            return self.sampler.sample_relative(study, trial, search_space)

        def sample_independent(self, study, trial, name, distribution):
            return self.sampler.sample_independent(study, trial, name, distribution)

    return SeededSampler()


def _trial_record(trial) -> TrialRecord:
    state, failure = trial.state.name.lower(), trial.user_attrs.get(FAILURE)
    if state == "fail":
        state = "failed" if failure else "stopped"
    score = trial.value if trial.state.is_finished() else None
    seconds = trial.duration.total_seconds() if trial.duration else None
    return TrialRecord(trial.number, state, score, seconds, trial.params, failure)


__all__ = ["DRAW", "FAILURE", "TRIAL_ERRORS", "TrialQueue", "UnqueuedTrial", "seeded_sampler"]
