"""Run what is missing of a benchmark: trained runs in processes of their own, several at once, simple ones here."""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tqdm.auto import tqdm

from ..embedding_store import EmbeddingStore
from ..runs.output_folder import OutputFolder
from ..training.checkpoints import list_checkpoints, newest_whole_checkpoint
from ..training.run_arguments import parse_arguments
from ..training.run_features import load_run_corpus
from .plan import PlannedRun
from .pooled_features import PooledFeatures
from .run_state import ABSENT, CHANGED, DONE, Purpose, run_state, store_digest
from .simple_runs import run_simple

logger = logging.getLogger("benchmark")
POLL_SECONDS = 0.2
TERMINATION_SECONDS = 20
# What a simple system may meet; other errors are faults of the package.
RUN_ERRORS = (ValueError, OSError, RuntimeError, KeyError)


@dataclass
class Outcome:
    """What became of the runs of a benchmark.

    Args:
        failures: name of a run -> what went wrong.
        pending: names of the runs that are not finished, since time was up.
    """

    failures: dict[str, str] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)


@dataclass
class Job:
    """A run in a process of its own."""

    planned: PlannedRun
    purpose: Purpose
    process: subprocess.Popen
    started: float

    @property
    def log(self) -> Path:
        """Return the file of what the process printed."""
        return log_file(self.planned)


class Execution:
    """The runs of a benchmark, done as far as they are not.

    Args:
        runs: all that are planned.
        wanted: those of them to do; the others are looked at: what they were made with must be the plan's too.
        jobs: training processes at once.
        replace_changed: whether runs that were made with other settings are run again.
        seconds: after which no run is started and those in progress are stopped, to continue from their last
            checkpoints the next time; None: no limit.
    """

    def __init__(
        self,
        runs: list[PlannedRun],
        wanted: list[PlannedRun],
        jobs: int = 1,
        replace_changed: bool = False,
        seconds: float | None = None,
    ):
        if jobs < 1:
            raise ValueError(f"jobs is {jobs}; expected 1 or more.")
        self.runs, self.jobs, self.replace_changed = runs, jobs, replace_changed
        self.wanted = {run.folder for run in wanted}
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.outcome = Outcome()
        self.running: list[Job] = []
        self.complete_stores: set[tuple] = set()

    def run(self) -> Outcome:
        """Do the runs and return what became of them; processes in progress are stopped where this is interrupted."""
        waiting = self._unfinished()
        done = len(self.wanted) - len(waiting)
        with tqdm(total=len(self.wanted), initial=done, desc="benchmark", unit="run") as bar:
            try:
                features = PooledFeatures()
                for planned, purpose in [pair for pair in waiting if pair[0].row.simple]:
                    if self._is_late():
                        self.outcome.pending.append(planned.name)
                        continue
                    self._run_simple(planned, purpose, features)
                    bar.update()
                self._run_trained([pair for pair in waiting if not pair[0].row.simple], bar)
            finally:
                self._stop_all()
        return self.outcome

    def _unfinished(self) -> list[tuple[PlannedRun, Purpose]]:
        """Return the runs to do; those that cannot be done are failures."""
        found = []
        for planned in tqdm(self.runs, desc="looking at what is there", unit="run", leave=False):
            try:
                purpose = Purpose.of(planned)
                state, reason = run_state(planned, purpose)
            except (ValueError, OSError) as error:
                self._fail(planned, str(error))
                continue
            wanted = planned.folder in self.wanted
            if state == CHANGED and not (wanted and self.replace_changed):
                self._fail(planned, reason)
            elif wanted and state != DONE:
                if state == CHANGED:
                    OutputFolder(planned.folder).clear()
                    logger.warning("%s is run again: %s", planned.name, reason)
                purpose.seconds = _earlier_seconds(planned.folder) if state not in (CHANGED, ABSENT) else 0.0
                found.append((planned, purpose))
        return found

    def _run_simple(self, planned: PlannedRun, purpose: Purpose, features: PooledFeatures) -> None:
        started = time.perf_counter()
        try:
            run_simple(planned, features)
        except RUN_ERRORS as error:
            self._fail(planned, f"{type(error).__name__}: {error}")
            return
        purpose.seconds = time.perf_counter() - started
        purpose.store = store_digest(purpose.embeddings_dir)
        purpose.write(planned.folder)

    def _run_trained(self, waiting: list[tuple[PlannedRun, Purpose]], bar: tqdm) -> None:
        while waiting or self.running:
            if self._is_late():
                self.outcome.pending += [planned.name for planned, _ in waiting]
                self.outcome.pending += [job.planned.name for job in self.running]
                return
            while waiting and len(self.running) < self.jobs and self._may_start(waiting[0][0]):
                self.running.append(self._start(*waiting.pop(0)))
                bar.set_postfix_str(", ".join(job.planned.name for job in self.running))
            for job in [job for job in self.running if job.process.poll() is not None]:
                self.running.remove(job)
                self._end(job)
                bar.update()
            time.sleep(POLL_SECONDS)

    def _may_start(self, planned: PlannedRun) -> bool:
        """Return whether a run may start now: where clips must be encoded first, one run does so alone."""
        return not self.running or self._has_embeddings(planned)

    def _has_embeddings(self, planned: PlannedRun) -> bool:
        """Return whether the store of a run holds every clip of its corpus."""
        model_args, data_args, _ = parse_arguments(planned.argv)
        media = set(data_args.modalities) - {"text"}
        has_tower = any(getattr(model_args, f"{modality}_encoder") for modality in media)
        if not media or (data_args.features and not has_tower):
            return True
        key = (data_args.embeddings_dir, data_args.corpus, data_args.data_dir, data_args.task)
        if key not in self.complete_stores:
            try:
                store = EmbeddingStore.open(data_args.embeddings_dir)
            except OSError:
                return False
            corpus = load_run_corpus(data_args)
            if not all(clip in store for split in corpus for clip in corpus.ids(split)):
                return False
            self.complete_stores.add(key)
        return True

    def _start(self, planned: PlannedRun, purpose: Purpose) -> Job:
        """Start the process of a run, from its newest whole checkpoint where it has one."""
        purpose.processes = max(self.jobs, purpose.processes)
        purpose.write(planned.folder)
        argv = [*planned.argv, "--disable_tqdm", "true"]
        if newest_whole_checkpoint(planned.folder) is not None:
            argv += ["--resume_from_checkpoint", "last"]
        threads = str(max(1, (os.cpu_count() or 1) // self.jobs))
        environment = {"OMP_NUM_THREADS": threads, **os.environ}
        log_file(planned).parent.mkdir(parents=True, exist_ok=True)
        with open(log_file(planned), "ab") as log:
            command = [sys.executable, "-m", "modeling_semanticmac", "train", *argv]
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        return Job(planned, purpose, process, time.perf_counter())

    def _end(self, job: Job) -> None:
        """Note the time of a run whose process has ended, and whether it failed; delete the checkpoints of one that is
        done.
        """
        self._note_time(job)
        if job.process.returncode != 0 or run_state(job.planned, job.purpose)[0] != DONE:
            self._fail(job.planned, f"exit code {job.process.returncode}: {last_words(job.log)} (all of it: {job.log})")
            return
        # With the states of the optimizer they are several times as large as the model: a hundred runs fill a disk.
        for checkpoint in list_checkpoints(job.planned.folder):
            shutil.rmtree(checkpoint)

    def _note_time(self, job: Job) -> None:
        job.purpose.seconds += time.perf_counter() - job.started
        job.purpose.store = store_digest(job.purpose.embeddings_dir)
        job.purpose.write(job.planned.folder)

    def _stop_all(self) -> None:
        """Stop the processes in progress; they continue from their last checkpoints the next time."""
        for job in self.running:
            job.process.terminate()
        for job in self.running:
            try:
                job.process.wait(TERMINATION_SECONDS)
            except subprocess.TimeoutExpired:
                job.process.kill()
                job.process.wait()
            self._note_time(job)
        self.running = []

    def _is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def _fail(self, planned: PlannedRun, reason: str) -> None:
        reason = " ".join(reason.split())
        self.outcome.failures[planned.name] = reason
        logger.warning("%s failed: %s", planned.name, reason)


def log_file(planned: PlannedRun) -> Path:
    """Return the file of what the process of a run prints, beside the run's folder."""
    return planned.folder.with_name(f"{planned.folder.name}.log")


def _earlier_seconds(folder: Path) -> float:
    earlier = Purpose.read(folder)
    return earlier.seconds if earlier else 0.0


def last_words(log: Path) -> str:
    """Return the last line of a log that is not blank."""
    lines: Iterable[str] = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    return next((line.strip() for line in reversed(list(lines)) if line.strip()), "it printed nothing")


__all__ = ["Execution", "Outcome", "last_words", "log_file"]
