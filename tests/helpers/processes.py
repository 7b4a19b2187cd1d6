"""Processes that tests start: one, or two that work together (torchrun, gloo on the CPU)."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.helpers.project import PROJECT

# Well below the limit of pytest-timeout, and far above what any of them takes: the machine may be busy.
TIMEOUT = 400
TWO = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone")  # a free port of its own


def run_python(
    words: Sequence[object], environment: dict[str, str] | None = None, timeout: float = TIMEOUT
) -> subprocess.CompletedProcess:
    """Run Python with the given words, in the project's folder, on one thread.

    The output goes through files, and the process has a session of its own: whatever it started is ended with it, also
    after a time-out, and cannot hold a pipe open.

    Args:
        words: after `python`.
        environment: variables besides those of this process.
        timeout: seconds after which all is killed.

    Raises:
        AssertionError: the process took longer; with the end of its errors.
    """
    own = {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", **(environment or {})}
    command = [sys.executable, *map(str, words)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=PROJECT, env={**os.environ, **own}, stdout=out, stderr=errors, start_new_session=True
        )
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        texts = []
        for file in (out, errors):
            file.seek(0)
            texts.append(file.read())
    assert code is not None, f"{command} took over {timeout} s. Its errors end with: {texts[1][-3000:]}"
    return subprocess.CompletedProcess(command, code, *texts)


def run_script(text: str, folder: Path, *words: object, processes: int = 2) -> subprocess.CompletedProcess:
    """Write a script into a folder, run it with the folder and more words as arguments, and assert that it succeeds."""
    script = folder / "script.py"
    script.write_text(text)
    start = TWO if processes == 2 else ()
    environment = {"ACCELERATE_USE_CPU": "true"} if processes == 2 else {}
    found = run_python([*start, "-m", "tests.helpers.worker", script, folder, *words], environment)
    assert found.returncode == 0, found.stderr[-3000:]
    return found


__all__ = ["TWO", "run_python", "run_script"]
