"""A hundred damaged media files and tables: each is used or refused in a sentence that names it, within seconds.

Nothing is left behind. For more of them, or others: `python -m tests.reliability.test_hostile_inputs COUNT SEED`.
"""

import collections
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from transformers import pipeline

from datasets_scripts import load_corpus
from modeling_semanticmac import SemanticMACProcessor
from modeling_semanticmac.timeline.transcripts import TranscriptError, read_transcript
from tests.helpers.hostile_inputs import hostile_inputs, hostile_transcripts
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint

SECONDS = 30.0  # that an input may take
MEMORY = 8 * 2**30  # bytes that a process may allocate, whatever length of video a header promises


class Worker:
    """A process that tries inputs, so that a decoder that crashes or hangs stops only this process."""

    def __init__(self, model: Path, scratch: Path):
        self.arguments, self.process = (model, scratch), None

    def __call__(self, path: Path) -> tuple[str, str]:
        """Return ("used" | "refused" | "wrong", details) of one input; a crash or a hang is wrong."""
        if self.process is None:
            context = multiprocessing.get_context("fork")
            self.connection, other = context.Pipe()
            self.process = context.Process(target=work, args=(other, *self.arguments), daemon=True)
            self.process.start()
            other.close()
        self.connection.send(path)
        try:
            if self.connection.poll(SECONDS):
                return self.connection.recv()
            found = "wrong", f"still busy after {SECONDS:g} s"
        except EOFError:
            self.process.join()
            found = "wrong", f"the process died with exit code {self.process.exitcode}"
        self.stop()
        return found

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
            self.process = None


def work(connection, model: Path, scratch: Path) -> None:
    """Run in the worker's process."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    tempfile.tempdir = str(scratch)
    os.environ["TMPDIR"] = str(scratch)
    predict = pipeline("video-affect", model=str(model), device="cpu")
    processor = SemanticMACProcessor.from_pretrained(model)
    while True:
        path = connection.recv()
        try:
            connection.send(attempt(path, predict, processor))
        except BaseException as error:  # anything but a sentence for the user
            connection.send(("wrong", f"{type(error).__name__}: {error}"[:500]))


def attempt(path: Path, predict, processor) -> tuple[str, str]:
    """Load a table as your own clips, or read a media file by processor and pipeline, which must agree on it."""
    if path.is_dir() and path.suffix == "":
        with tempfile.TemporaryDirectory() as cache:
            return judged(
                path,
                lambda: {
                    split: clips[:] for split, clips in load_corpus("video_folder", path, "sentiment", cache).items()
                },
            )
    one = judged(path, lambda: processor(text="good day", media=str(path)))
    two = judged(path, lambda: predict({"video": str(path), "text": "good day"}))
    return (
        one
        if one[0] == two[0] or "wrong" == one[0]
        else ("wrong" if two[0] == "used" else two[0], f"the processor: {one}, the pipeline: {two}")
    )


def judged(path: Path, call) -> tuple[str, str]:
    """Return the verdict on a call with an input."""
    try:
        call()
    except (ValueError, FileNotFoundError) as error:  # MediaError is a ValueError
        message = str(error)
        names_it = path.name in message
        return ("refused" if names_it and len(message) < 2_000 else "wrong"), f"{type(error).__name__}: {message[:500]}"
    return "used", ""


def listing(folder: Path) -> dict[str, tuple]:
    """Return size and time of change of every file and folder below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        found[str(path)] = (stat.st_size if path.is_file() else None, stat.st_mtime_ns)
    return found


def try_all(root: Path, count: int, seed: int) -> tuple[list[tuple], dict]:
    """Return (damage, path, verdict, details, seconds) of each input, and what was left behind or changed."""
    inputs, scratch = root / "inputs", root / "scratch"
    inputs.mkdir(parents=True)
    scratch.mkdir()
    model = save_tiny_checkpoint(root / "checkpoint")
    drawn, rows = hostile_inputs(inputs, count, seed), []
    before, worker = listing(inputs), Worker(model, scratch)
    worker.connection = None
    for kind, path in drawn:
        start = time.perf_counter()
        rows.append((kind, path, *worker(path), time.perf_counter() - start))
    worker.stop()
    after = listing(inputs)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return rows, {"changed": sorted(changed), "left behind": sorted(map(str, scratch.rglob("*")))}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    return try_all(tmp_path_factory.mktemp("hostile"), 100, seed=0)


def test_every_input_is_used_or_refused_in_a_sentence(outcome):
    rows, _ = outcome
    wrong = [row for row in rows if row[2] == "wrong"]
    assert not wrong, "\n".join(map(str, wrong))
    verdicts = collections.Counter((row[0].startswith("table"), row[2]) for row in rows)
    assert (
        len(rows) == 100
        and min(verdicts[table, verdict] for table in (False, True) for verdict in ("used", "refused")) >= 3
    )


def test_every_transcript_is_read_or_refused_in_a_sentence(tmp_path):
    verdicts = collections.Counter()
    for path in hostile_transcripts(tmp_path, 400, seed=0):
        try:
            verdicts["read"] += bool(read_transcript(path))
        except TranscriptError as error:
            assert path.name in str(error) and len(str(error)) < 2_000, path
            verdicts["refused"] += 1
    assert sum(verdicts.values()) == 400 and min(verdicts.values()) >= 40


def test_nothing_is_left_behind(outcome):
    _, left = outcome
    assert left == {"changed": [], "left behind": []}


def main(count: int, seed: int) -> None:
    """Print the verdicts on more inputs."""
    with tempfile.TemporaryDirectory() as root:
        rows, left = try_all(Path(root), count, seed)
    for row in rows:
        if row[2] == "wrong":
            print(*row, sep=" | ")
    print(
        collections.Counter((row[0].split(":")[0] if row[0].startswith("table") else "media", row[2]) for row in rows)
    )
    print(f"slowest {max(row[4] for row in rows):.2f} s, all {sum(row[4] for row in rows):.0f} s; {left}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
