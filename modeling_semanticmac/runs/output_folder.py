"""The output folder of a command: used by one command at a time, and a finished run in it is kept."""

import getpass
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from filelock import SoftFileLock, Timeout

from ..files.atomic_files import write_json
from ..neighbor_bank import BANK
from .record import FINISHED, SEARCH

LOCK, OWNER = ".run.lock", ".run.lock.json"
# What a run writes. Other files in the folder, embeddings among them, are not touched.
RESULTS = (
    "run.json", "finished.json", "splits.json", "media_*.json", "features_*.json", "modalities.json", "corpus.json",
    "costs.json",
    "all_results.json", "train_results.json", "eval_results.json", "test_results.json", "trainer_state.json",
    "predictions_test.csv", "predictions_validation.csv", "clips_test.csv", "groups_*.json",
    "report.md", "report.json", "report", "analysis", "README.md", "seeds.json", "seeds.md",
    "config.json", "model*.safetensors", "model.safetensors.index.json", "training_args.json", BANK,
)  # fmt: skip
CHECKPOINTS = ("checkpoint-*", "label_history", ".unfinished")


class OutputFolderError(ValueError):
    """An output folder that a command must not write into."""


class OutputFolder:
    """The folder that a command writes into.

    Args:
        path: `--output_dir`; need not exist.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for this command; one of several processes of a command does so.

        The lock names owner, host and process. That of a process of this host which has ended is taken over.

        Raises:
            OutputFolderError: another command uses the folder.
        """
        is_new = not self.path.is_dir()
        self.path.mkdir(parents=True, exist_ok=True)
        lock = SoftFileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise OutputFolderError(self._in_use()) from None
        owner = {"user": _user(), "host": socket.gethostname(), "pid": os.getpid()}
        write_json(self.path / OWNER, owner)
        try:
            yield
        finally:
            (self.path / OWNER).unlink(missing_ok=True)
            lock.release()
            if is_new and not any(self.path.iterdir()):  # nothing was written: the command was refused
                self.path.rmdir()

    def _in_use(self) -> str:
        owner = _read_json(self.path / OWNER)
        who = ", ".join(f"{name} {owner[name]}" for name in ("user", "host", "pid") if name in owner) or "not known yet"
        return (
            f"another command writes into {self.path} ({who}). Wait for its end or give another --output_dir; if that "
            f"process is dead, remove {self.path / LOCK}."
        )

    @property
    def state(self) -> str:
        """Return what the folder holds: `empty`, `running` (an unfinished run), `finished`, `search`, or `seeds`."""
        if any((self.path / name).exists() for name in ("search.json", "search.db")):
            return SEARCH
        if (self.path / "seeds.json").is_file() or any(self.path.glob("seed_*/run.json")):
            return "seeds"
        if not (self.path / "run.json").is_file():
            return "running" if any(self.path.glob("checkpoint-*")) else "empty"
        state = _read_json(self.path / "run.json").get("state")
        if state is None:  # written by an older version, which had no states
            state = FINISHED if (self.path / "all_results.json").is_file() else "running"
        return state

    def refuse_unless_free(
        self, newest: Path | None = None, overwrite: bool = False, resumed: str | os.PathLike | None = None
    ) -> None:
        """Refuse a folder whose content a new run would destroy or mix with its own. Nothing is written.

        Args:
            newest: the newest whole checkpoint in the folder; None where it has none.
            overwrite: whether a run in the folder may be replaced (`--overwrite_output_dir`).
            resumed: the checkpoint that the new run resumes.

        Raises:
            OutputFolderError: says what lies in the folder and what to do.
        """
        state = self.state
        if state == SEARCH:
            raise OutputFolderError(f"{self.path} holds a hyperparameter search; give another --output_dir.")
        if state == "seeds":
            raise OutputFolderError(f"{self.path} holds the runs of several seeds; give another --output_dir.")
        if overwrite:
            return
        if state == FINISHED:
            raise OutputFolderError(
                f"{self.path} holds a finished run; give another --output_dir, or --overwrite_output_dir to replace "
                "that run."
            )
        own = resumed is not None and Path(resumed).resolve().parent == self.path.resolve()
        if newest is not None and not own:
            raise OutputFolderError(
                f"{self.path} holds an unfinished run with {newest.name}; continue it with --resume_from_checkpoint "
                "last, give another --output_dir, or --overwrite_output_dir to start again."
            )

    def refuse_unless_search(self) -> None:
        """Refuse a folder that holds anything but a search.

        Raises:
            OutputFolderError: it holds a run.
        """
        if self.state not in ("empty", SEARCH):
            raise OutputFolderError(f"{self.path} holds a run; give the search another --output_dir.")

    def clear(self, keep_checkpoints: bool = False) -> None:
        """Remove what an earlier run wrote, so that none of its figures appears in the report of a new one.

        A folder that held no run is not touched: files of these names are somebody else's.

        Args:
            keep_checkpoints: whether checkpoints and label history stay, from which the new run continues.
        """
        if self.state == "empty":
            return
        patterns = RESULTS if keep_checkpoints else (*RESULTS, *CHECKPOINTS)
        for path in list(self.path.iterdir()) if self.path.is_dir() else ():
            if any(fnmatch(path.name, pattern) for pattern in patterns):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no entry for this user in the system's list
        return str(getattr(os, "getuid", lambda: "unknown")())


__all__ = ["OutputFolder", "OutputFolderError"]
