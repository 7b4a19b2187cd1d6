"""Processes that tests start: a new interpreter, or two processes that work together (gloo on the CPU)."""

import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path

import psutil

from tests.helpers import worker
from tests.helpers.project import PROJECT

# Well below the limit of pytest-timeout, and far above what any of them takes: the machine may be busy.
TIMEOUT = 400
TWO = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone")  # a free port of its own

# Two processes are forked from one that has imported these, which takes seven seconds of a core each otherwise.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.helpers.worker", "modeling_semanticmac.training.main", "tests.helpers.trainers"])


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
    if processes == 2:
        return run_two([script, folder, *words])
    found = run_python(["-m", "tests.helpers.worker", script, folder, *words])
    assert found.returncode == 0, found.stderr[-3000:]
    return found


def run_two(words: Sequence[object], timeout: float = TIMEOUT) -> subprocess.CompletedProcess:
    """Run a script with its arguments in two processes that work together, and assert that both succeed.

    They have the variables that torchrun gives its processes (tests of the launchers use torchrun itself), and are
    forked from a process that has imported the libraries. If one fails or the time is over, the other is killed.

    Returns:
        What both printed, in one text each for output and errors.

    Raises:
        AssertionError: a process failed or took longer; with the end of the errors.
    """
    words = [str(word) for word in words]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.NamedTemporaryFile("r+") as out, tempfile.NamedTemporaryFile("r+") as errors:
        common = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "127.0.0.1"}
        common |= {"MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        started = []
        for rank in ("0", "1"):
            environment = common | {"RANK": rank, "LOCAL_RANK": rank}
            process = FORKS.Process(target=_work, args=(words, environment, out.name, errors.name))
            process.start()
            started.append(process)
        end = time.monotonic() + timeout
        while (running := [process for process in started if process.is_alive()]) and time.monotonic() < end:
            wait([process.sentinel for process in running], timeout=1)
            if any(process.exitcode for process in started):
                break
        for process in running:
            process.kill()
        for process in started:
            process.join()
        codes = [process.exitcode for process in started]
        found = subprocess.CompletedProcess(words, max(map(abs, codes)), out.read(), errors.read())
    assert codes == [0, 0], f"the exit codes are {codes}. The errors end with: {found.stderr[-3000:]}"
    return found


def _work(words: list[str], environment: dict[str, str], out: str, errors: str) -> None:
    """Run the worker in a forked process as if it had been started with these words and variables."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(PROJECT)
    multiprocessing.set_start_method("fork", force=True)  # a forked child keeps the server's method otherwise
    for name, stream in ((out, sys.stdout), (errors, sys.stderr)):
        stream.flush()
        file = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, stream.fileno())
    sys.argv = ["tests.helpers.worker", *words]
    sys.exit(worker.main())


__all__ = ["TWO", "run_python", "run_script", "run_two"]
