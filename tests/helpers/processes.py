"""Processes that tests start: one, or two that work together (torchrun, gloo on the CPU)."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.helpers.project import PROJECT

# Well below the limit of pytest-timeout, and far above what any of them takes: the machine may be busy.
TIMEOUT = 400
TWO = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone")  # a free port of its own


def run_python(
    words: Sequence[object], environment: dict[str, str] | None = None, timeout: float = TIMEOUT
) -> subprocess.CompletedProcess:
    """Run Python with the given words, in the project's folder, on one thread.

    The output goes through files: a process that it started and that outlives it cannot hold a pipe open. After a
    time-out all of them are killed.

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
        process = subprocess.Popen(command, cwd=PROJECT, env={**os.environ, **own}, stdout=out, stderr=errors)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
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
