"""Extraction that is killed at any moment goes on where it was, and ends with the store that it would have made anyway;
so do two processes at once.
"""

import json
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from tqdm.auto import tqdm

from modeling_semanticmac.embedding_extraction import extract_embeddings
from modeling_semanticmac.embedding_store import EmbeddingStore, StoreWriter, verify
from tests.helpers.extraction_cases import clip, tiny_processor, tiny_towers, write_clips
from tests.helpers.processes import run_script

pytestmark = pytest.mark.slow

KILLS = 20
SHARD_CLIPS = 3
HALF = {"rtol": 2e-3, "atol": 2e-3}


@pytest.fixture(autouse=True)
def own_progress_lock():
    """Forked processes share the lock of progress bars; one that is killed while it draws would keep it for ever."""
    lock = tqdm.get_lock()
    tqdm.set_lock(threading.RLock())
    yield
    tqdm.set_lock(lock)


def run(clips, folder, progress=None, num_workers=1, shard_clips=SHARD_CLIPS):
    torch.set_num_threads(1)

    def tell(done, total):
        if progress is not None:
            progress.value = done

    return extract_embeddings(
        clips,
        tiny_processor(),
        tiny_towers(),
        folder,
        shard_clips=shard_clips,
        num_workers=num_workers,
        batch_size=4,
        device="cpu",
        on_progress=tell,
    )


def many_clips(folder, count: int) -> list[dict]:
    """Cuts of a few files, so that there are many clips and a moment is soon found in the middle of one; the last ones
    cannot be encoded.
    """
    files = write_clips(folder, [2.0, 3.0, 4.0])
    rows = [clip(f"clip_{i}", files[i % 3]["media"]["path"], 0.1 * (i % 7), 1.0 + 0.02 * i) for i in range(count - 2)]
    return [*rows, clip("lost", folder / "lost.mp4"), clip("behind", files[0]["media"]["path"], 50.0, 60.0)]


def assert_equal(store: EmbeddingStore, expected: EmbeddingStore, clips: list[dict]) -> None:
    """Nothing lost, nothing more, everything as in the other."""
    assert sorted(store) == sorted(expected) == sorted(row["id"] for row in clips)
    for name in expected:
        one, two = store.status(name), expected.status(name)
        assert (one.status, one.reason, one.note, one.content_hash, one.duration) == (
            two.status,
            two.reason,
            two.note,
            two.content_hash,
            two.duration,
        )
        for found, wanted in zip(store[name], expected[name]):
            assert found.shape == wanted.shape
            torch.testing.assert_close(found, wanted, **HALF)


def rows_on_disk(folder) -> list[str]:
    return [name for path in (folder / "index").glob("*.parquet") for name in pq.read_table(path)["id"].to_pylist()]


def test_killed_twenty_times_at_random_moments(tmp_path):
    clips = many_clips(tmp_path / "media", 90)
    start = time.monotonic()
    run(clips, tmp_path / "whole")
    longest = (time.monotonic() - start) / 8  # seconds until a kill
    context, generator = multiprocessing.get_context("fork"), random.Random(0)
    folder, held, killed, moments = tmp_path / "store", 0, 0, []
    while killed < KILLS:
        progress = context.Value("q", 0)
        process = context.Process(target=run, args=(clips, folder, progress))
        process.start()
        process.join(generator.uniform(0.0, longest))
        if process.exitcode == 0:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        killed += 1
        found = EmbeddingStore(folder) if (folder / "fingerprint.json").exists() else ()
        # What was settled in this run is in the store, but for the clips of one shard and those two that fail and are
        # settled in every run.
        assert len(found) >= held + progress.value - SHARD_CLIPS - 2, "more than a shard was lost"
        # Whatever the speed of the machine: some runs are killed before they begin, and they all together do not
        # finish.
        longest *= 1.3 if len(found) == held else 0.8
        moments.append(len(found))
        held = len(found)
    assert killed >= 10 and 0 < max(moments) and len(set(moments)) > 3, moments
    report = run(clips, folder)
    assert report.total == len(clips) == report.done + report.reused + report.num_failed
    assert report.failed == {"no file": 1, "zero length": 1} and report.reused >= held - 2
    assert_equal(EmbeddingStore(folder), EmbeddingStore(tmp_path / "whole"), clips)
    on_disk = rows_on_disk(folder)
    assert len(on_disk) == len(set(on_disk)) == len(clips), "a clip lies twice in the store"


def test_a_killed_run_leaves_no_process(tmp_path):
    clips = many_clips(tmp_path / "media", 60)
    context = multiprocessing.get_context("fork")
    progress = context.Value("q", 0)
    process = context.Process(target=run, args=(clips, tmp_path / "store", progress, 2))
    process.start()
    while progress.value < 5:
        time.sleep(0.01)
    children = children_of(process.pid)
    assert len(children) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    deadline = time.monotonic() + 15
    while any(map(is_running, children)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_running, children))


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return list(map(int, file.read().split()))


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.fixture
def temporary_folder(monkeypatch):
    """The folder of temporary files of this process and those that it forks; its path is short, as sockets need it."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.delitem(multiprocessing.current_process()._config, "tempdir", raising=False)
        yield Path(folder)


def test_workers_leave_no_temporary_folder(tmp_path, temporary_folder):
    """Neither at the end, nor where the encoder fails while they decode."""
    clips = many_clips(tmp_path / "media", 12)
    run(clips, tmp_path / "store", num_workers=2)
    assert list(temporary_folder.iterdir()) == []
    with pytest.raises(RuntimeError, match="stop"):
        extract_embeddings(
            clips, tiny_processor(), tiny_towers(), tmp_path / "other", num_workers=2, device="cpu", on_progress=stop
        )
    assert list(temporary_folder.iterdir()) == []


def stop(done, total):
    raise RuntimeError("stop")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_temporary_folder(tmp_path, temporary_folder, number):
    clips = many_clips(tmp_path / "media", 60)
    process, progress = start_run(clips, tmp_path / "store", num_workers=2)
    os.kill(process.pid, number)
    process.join()
    deadline = time.monotonic() + 15
    while list(temporary_folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(temporary_folder.iterdir()) == []


def start_run(clips, folder, **options):
    """A process that has settled five clips, and the counter of its progress."""
    context = multiprocessing.get_context("fork")
    progress = context.Value("q", 0)
    process = context.Process(target=run, args=(clips, folder, progress), kwargs=options)
    process.start()
    deadline = time.monotonic() + 60
    while progress.value < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    return process, progress


@pytest.mark.parametrize("num_workers", [0, 2])
def test_sigterm_writes_what_is_pending(tmp_path, num_workers):
    """A scheduler ends the job: every clip that was settled is in the store, although no shard was full."""
    clips = many_clips(tmp_path / "media", 300)
    process, progress = start_run(clips, tmp_path / "store", num_workers=num_workers, shard_clips=1000)
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 128 + signal.SIGTERM
    settled = progress.value
    assert 5 <= settled < len(clips), "the run was not in its middle"
    store = EmbeddingStore(tmp_path / "store")
    assert len(store) in (settled, settled + 1)  # one may be settled and not yet told
    on_disk = rows_on_disk(tmp_path / "store")
    assert len(on_disk) == len(set(on_disk)) == len(store) and verify(tmp_path / "store").ok
    assert run(clips, tmp_path / "store").reused >= settled - 2


def test_sigterm_while_a_shard_is_written(tmp_path, monkeypatch):
    """The shard is finished, the run ends after it, and no clip is written twice."""
    clips, write, calls = many_clips(tmp_path / "media", 30), StoreWriter._write_shard, []

    def interrupted(writer):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)  # let the handler run
        calls.append(writer)
        write(writer)

    monkeypatch.setattr(StoreWriter, "_write_shard", interrupted)
    with pytest.raises(SystemExit) as ended:
        run(clips, tmp_path / "store", num_workers=0)
    assert ended.value.code == 128 + signal.SIGTERM and len(calls) <= 2
    on_disk = rows_on_disk(tmp_path / "store")
    assert SHARD_CLIPS <= len(on_disk) == len(set(on_disk)) < len(clips)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_two_processes_on_one_store_at_once(tmp_path):
    """Both are asked for everything, from opposite ends; what both encode counts once."""
    clips = many_clips(tmp_path / "media", 30)
    run(clips, tmp_path / "whole")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run, args=(rows, tmp_path / "store")) for rows in (clips, clips[::-1])]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert_equal(EmbeddingStore(tmp_path / "store"), EmbeddingStore(tmp_path / "whole"), clips)


SCRIPT = """
import json, sys
from pathlib import Path
from tests.reliability.test_kill_and_resume import run
folder = Path(sys.argv[1])
clips = json.loads((folder / "clips.json").read_text())
report = run(clips, folder / "store")
assert report.total == len(clips) == report.done + report.num_failed, report
# One write: two processes share the stream, and unbuffered a print of several values is several writes.
sys.stdout.write(f"report {report.total} {report.done} {dict(report.rows)}\\n")
report = run(clips + json.loads((folder / "more.json").read_text()), folder / "store")
assert (report.done, report.reused) == (1, len(clips) - 2), report
"""


def test_a_distributed_run_shares_the_clips(tmp_path):
    """Two ranks: each clip is encoded once, both get the report of all, and a resumed run leaves nothing out."""
    clips = many_clips(tmp_path / "media", 21)
    run(clips, tmp_path / "whole")
    (tmp_path / "clips.json").write_text(json.dumps(clips))
    more = [clip("more", clips[0]["media"]["path"], 0.0, 0.5)]
    (tmp_path / "more.json").write_text(json.dumps(more))
    found = run_script(SCRIPT, tmp_path)
    lines = [line for line in found.stdout.splitlines() if line.startswith("report")]
    assert len(lines) == 2 and lines[0] == lines[1] and lines[0].startswith("report 21 19")
    run([*clips, *more], tmp_path / "whole")
    assert_equal(EmbeddingStore(tmp_path / "store"), EmbeddingStore(tmp_path / "whole"), [*clips, *more])
    on_disk = rows_on_disk(tmp_path / "store")
    assert len(on_disk) == len(set(on_disk))
