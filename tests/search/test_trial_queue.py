"""The queue of trials: what is drawn, what is run again, and by which process. A formula stands for training."""

import math
import statistics
import time

import optuna
import pytest

from modeling_semanticmac.search.space import Range, suggest_values
from modeling_semanticmac.search.trial_queue import TrialQueue, UnqueuedTrial
from modeling_semanticmac.training.run_arguments import SearchArguments

SPACE = {"learning_rate": Range(0.0, 1.0), "dropout": Range(0.0, 1.0)}


class Arguments:
    seed, greater_is_better = 3, False


class Trainer:
    """A stand-in for the Trainer: the score is nearly the distance of the learning rate from 0.3.

    Args:
        stop_at: the trial (counted in this process) that a kill of the process interrupts.
        refused: a learning rate above it is an error of the trial.
        meanwhile: called with each trial before it is scored.
    """

    def __init__(self, stop_at: int | None = None, refused: float = 2.0, meanwhile=None):
        self.stop_at, self.refused, self.started, self.score = stop_at, refused, 0, None
        self.meanwhile = meanwhile or (lambda trial: None)

    def hyperparameter_search(self, hp_space, compute_objective, n_trials, backend, catch, **study_options):
        study = optuna.create_study(**study_options)
        study.optimize(self.train, n_trials=n_trials, catch=catch)
        return study.best_trial

    def train(self, trial):
        if "draw" not in trial.user_attrs:
            raise UnqueuedTrial
        self.started += 1
        values = suggest_values(SPACE, trial)
        self.meanwhile(trial)
        if self.started == self.stop_at:
            raise SystemExit  # Optuna leaves the trial as a kill does: running, without further signs of life
        if values["learning_rate"] > self.refused:
            trial.set_user_attr("failure", "too fast")
            raise ValueError("too fast")
        score = abs(values["learning_rate"] - 0.3) + 0.01 * values["dropout"]
        for step in range(3):
            trial.report(score, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return score


def queue(folder, trials: int, seed: int = 3, signature=("a=1",), **options) -> TrialQueue:
    args = Arguments()
    args.seed = seed
    options = SearchArguments(search_trials=trials, search_heartbeat=1, **options)
    return TrialQueue(options, folder, args, signature)


def run(queue, trainer=None) -> list:
    """Search to the end, and return all trials in order."""
    trainer = trainer or Trainer()
    while (states := {trial.state for trial in queue.fill()}) & {"waiting", "running"}:
        if "waiting" in states:
            queue.run_one(trainer)
    return queue.fill()


def values(trials, state: str = "complete") -> list[dict]:
    return [trial.parameters for trial in trials if trial.state == state]


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    """A finished random search."""
    found = queue(tmp_path_factory.mktemp("twelve"), 12)
    run(found)
    return found


def test_the_same_seed_draws_the_same(twelve, tmp_path):
    drawn = values(twelve.fill())
    assert values(run(queue(tmp_path / "again", 3))) == drawn[:3]
    other = values(run(queue(tmp_path / "other", 3, seed=4)))
    assert len({row[name] for row in drawn + other for name in SPACE}) == 30


def test_tpe_learns_from_its_trials(tmp_path):
    """After its first ten draws it stays nearer to the optimum at 0.3 than evenly drawn numbers, whose mean distance is
    (0.3^2 + 0.7^2) / 2.
    """
    drawn = values(run(queue(tmp_path / "first", 18, search_sampler="tpe")))
    assert sum(abs(row["learning_rate"] - 0.3) for row in drawn[10:]) / 8 < 0.15
    assert values(run(queue(tmp_path / "again", 12, search_sampler="tpe"))) == drawn[:12]


def test_a_stopped_search_goes_on_as_if_it_had_not_been(twelve, tmp_path):
    """The trial that ran when the process was killed is run again with its parameters; finished ones are not."""
    with pytest.raises(SystemExit):
        run(queue(tmp_path, 5), Trainer(stop_at=3))
    resumed = queue(tmp_path, 5)
    assert [trial.state for trial in resumed.fill()][:3] == ["complete", "complete", "running"]
    trainer = Trainer()
    trials = run(resumed, trainer)
    assert trainer.started == 3
    expected = values(twelve.fill())[:5]
    assert sorted(values(trials), key=str) == sorted(expected, key=str)
    assert values(trials, "stopped") == [expected[2]]


def test_more_trials_go_on_from_those_that_are_finished(twelve, tmp_path):
    few = run(queue(tmp_path, 2))
    more = run(queue(tmp_path, 4))
    assert more[:2] == few and values(more) == values(twelve.fill())[:4]


def test_a_trial_that_fails_is_replaced(tmp_path):
    trials = run(queue(tmp_path, 5), Trainer(refused=0.6))
    assert len(values(trials)) == 5 and all(row["learning_rate"] <= 0.6 for row in values(trials))
    failed = [trial for trial in trials if trial.state == "failed"]
    assert failed and all(trial.parameters["learning_rate"] > 0.6 and trial.failure == "too fast" for trial in failed)
    with pytest.raises(ValueError, match="4 trials failed, 3 were requested. The last: too fast"):
        run(queue(tmp_path / "none", 3), Trainer(refused=-1.0))


def test_a_pruned_trial_is_finished(twelve, tmp_path):
    trials = run(queue(tmp_path, 10, search_pruner="median"))
    complete, pruned = ([t for t in trials if t.state == state] for state in ("complete", "pruned"))
    assert len(complete) + len(pruned) == 10 and pruned
    for trial in pruned:
        before = [t.score for t in complete if t.trial < trial.trial]
        assert len(before) >= 5 and trial.score > statistics.median(before)
    assert not values(twelve.fill(), "pruned")


def test_a_trial_beside_the_queue_is_not_run(tmp_path):
    """Two processes may see the same last trial; the slower one gets a trial that was not queued."""
    mine = queue(tmp_path, 1)
    mine.fill()
    theirs = queue(tmp_path, 1)
    theirs.run_one(Trainer())
    trainer = Trainer()
    mine.run_one(trainer)
    assert trainer.started == 0 and [trial.state for trial in mine.fill()] == ["complete"]


@pytest.mark.parametrize("refused", [2.0, -1.0])
def test_a_trial_that_another_process_took_for_killed_ends_no_process(twelve, tmp_path, caplog, refused):
    """Its process was slow, not dead: it goes on with the next trial, and the draw is run again with the same values.
    Whether the slow one ends with a score or with an error.
    """
    mine, theirs = queue(tmp_path, 3), queue(tmp_path, 3)

    def takes_for_killed(trial):
        if trial.number == 1:
            theirs.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            trainer.refused = refused

    trainer = Trainer(meanwhile=takes_for_killed)
    mine.fill()
    for _ in range(2):
        mine.run_one(trainer)
    assert caplog.text.count("Trial 1 showed no sign of life for a while") == 1
    trainer.refused = 2.0
    trials = run(mine, trainer)
    expected = values(twelve.fill())[:3]
    assert sorted(values(trials), key=str) == sorted(expected, key=str)
    assert values(trials, "stopped") == [expected[1]] and not values(trials, "failed")


def test_another_search_in_the_same_storage_is_refused(tmp_path):
    run(queue(tmp_path, 1))
    with pytest.raises(ValueError, match=r"holds a search with other arguments \(a=1, a=2\); give another"):
        queue(tmp_path, 1, signature=("a=2",))


def test_a_storage_elsewhere(tmp_path):
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    run(queue(tmp_path / "one", 2, search_storage=url))
    assert len(queue(tmp_path / "two", 2, search_storage=url).fill()) == 2
    assert not (tmp_path / "one/search.db").exists()


def test_a_process_waits_for_another_one_that_writes(tmp_path):
    """SQLite's own patience is five seconds, after which the process would end with `database is locked`."""
    with queue(tmp_path, 1).study_options["storage"].engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 600_000


def test_importance(twelve, tmp_path):
    shares = twelve.importance()
    assert shares["learning_rate"] > 0.8 and math.isclose(sum(shares.values()), 1.0)
    few = queue(tmp_path, 2)
    run(few)
    assert few.importance() == {}


def test_a_trial_killed_before_its_first_sign_of_life_is_run_again(tmp_path, monkeypatch):
    """A process that dies between taking a trial and its first heartbeat leaves no heartbeat at all."""
    trials = queue(tmp_path, 2)
    trials.fill()
    taken = trials.study.ask()  # as the process did that was killed
    assert [trial.state for trial in trials.fill()] == ["running", "waiting"]  # it may still begin
    monkeypatch.setattr("modeling_semanticmac.search.trial_queue.UNBORN_SECONDS", 0.0)
    time.sleep(2.1)  # twice the heartbeat
    found = run(trials)
    assert [trial.state for trial in found].count("complete") == 2
    assert found[taken.number].state == "stopped"
