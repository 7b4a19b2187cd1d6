"""A store that is shared: read by somebody who may not write, with media copied without their modification times, or
with one tower only.
"""

import multiprocessing
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from modeling_semanticmac.embedding_extraction import content_identity
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.embedding_store.fingerprint import FingerprintError
from tests.helpers.extraction_cases import Untouched, clip, extract, tiny_processor, tiny_towers, untouched
from tests.helpers.media_files import tone, write_media

NOBODY = 65534


@pytest.fixture
def copies(clips, tmp_path):
    """Two clips in a folder of their own, and one that cannot be encoded."""
    for row in clips[:2]:
        shutil.copy(row["media"]["path"], tmp_path)
    (tmp_path / "broken.mp4").write_bytes(b"what is this?")
    return [clip(name, tmp_path / f"{name}.mp4") for name in ("0", "1", "broken")]


@pytest.fixture
def hashed(monkeypatch):
    """The files that are hashed."""
    found, hash_file = [], content_identity._file_hash.__wrapped__
    noted = lambda path, *rest: found.append(path) or hash_file(path, *rest)  # noqa: E731
    monkeypatch.setattr(content_identity, "_file_hash", noted)
    return found


def touch_all(rows) -> None:
    for number, row in enumerate(rows):
        os.utime(row["media"]["path"], (1000 + number, 1000 + number))


def test_a_file_with_another_time_is_hashed_once(copies, processor, towers, tmp_path, hashed):
    """A corpus copied without its modification times: the first run compares the contents, the next has nothing to
    read.
    """
    rows = copies[:2]
    extract(rows, processor, towers, tmp_path / "store")
    before = EmbeddingStore(tmp_path / "store")
    for _ in range(3):  # the times change again and again
        touch_all(rows)
        hashed.clear()
        assert extract(rows, processor, untouched(towers), tmp_path / "store").reused == 2
        assert len(hashed) == 2
        hashed.clear()
        assert extract(rows, processor, untouched(towers), tmp_path / "store").reused == 2
        assert hashed == []
        rows = rows[::-1]
    after = EmbeddingStore(tmp_path / "store")
    for row in rows:
        assert after.status(row["id"]).file_mtime_ns == os.stat(row["media"]["path"]).st_mtime_ns
        assert after.status(row["id"]).checksum == before.status(row["id"]).checksum
        assert after[row["id"]][0].equal(before[row["id"]][0]) and after[row["id"]][1].equal(before[row["id"]][1])
    # One file of the shard, one of the times: earlier ones are gone.
    assert len(list((tmp_path / "store" / "index").iterdir())) == 2
    # A changed content is noticed as ever.
    write_media(rows[0]["media"]["path"], 1.0, sound=tone(999.0))
    assert extract(rows, processor, towers, tmp_path / "store").done == 1


def test_one_tower_and_files_with_other_times(copies, processor, towers, tmp_path, hashed):
    """A store of both serves a run with one tower, whatever it must hash; what must be encoded needs both."""
    extract(copies, processor, towers, tmp_path / "store")
    touch_all(copies)
    hashed.clear()
    report = extract(copies, processor, {"audio": Untouched(towers["audio"])}, tmp_path / "store")
    assert (report.reused, report.failed) == (2, {"not media": 1}) and len(hashed) == 3
    hashed.clear()
    assert extract(copies[:2], processor, {"audio": Untouched(towers["audio"])}, tmp_path / "store").reused == 2
    assert hashed == [] and EmbeddingStore(tmp_path / "store").status("0").vision > 0
    write_media(copies[0]["media"]["path"], 1.0, sound=tone(999.0))
    with pytest.raises(FingerprintError, match=r"new clips \(0\) need the vision encoder"):
        extract(copies, processor, {"audio": towers["audio"]}, tmp_path / "store")


@pytest.fixture
def read_only(clips):
    """A complete store and its media where another account may read and not write."""
    folder = Path(tempfile.mkdtemp(prefix="semanticmac-shared-"))
    folder.chmod(0o755)
    for row in clips[:2]:
        shutil.copy(row["media"]["path"], folder)
    (folder / "broken.mp4").write_bytes(b"what is this?")
    rows = [clip(name, folder / f"{name}.mp4") for name in ("0", "1", "broken")]
    extract(rows, tiny_processor(), tiny_towers(), folder / "store")
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield rows, folder / "store"
    for path in [folder, *folder.rglob("*")]:
        path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IWUSR)
    shutil.rmtree(folder)


def as_nobody(work):
    """Run `work` in a process without the right to write; return what it returns."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)

    def run():
        if os.getuid() == 0:  # to root every folder is writable
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        try:
            sending.send(work())
        except Exception as error:
            sending.send(error)

    process = context.Process(target=run)
    process.start()
    assert receiving.poll(60)
    found = receiving.recv()
    process.join()
    return found


@pytest.mark.parametrize("media", ["as they were", "other times", "absent"])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_complete_store_that_is_read_only(read_only, towers, processor, media, num_workers):
    """Whoever has nothing to add needs no right to write: neither for the report nor for a clip that fails again."""
    rows, folder = read_only
    if media == "other times":
        touch_all(rows)
    if media == "absent":
        rows = [clip(row["id"], f"/nowhere/{row['id']}.mp4") for row in rows]
    before = sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))
    report = as_nobody(lambda: extract(rows, processor, untouched(towers), folder, num_workers=num_workers))
    assert (report.total, report.reused, report.num_failed) == (3, 2, 1), report
    assert sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*")) == before
    assert as_nobody(lambda: [tuple(map(len, EmbeddingStore(folder)[row["id"]])) for row in rows]) == [
        (1, 1),
        (2, 2),
        (0, 0),
    ]


def test_new_clips_for_a_store_that_is_read_only_are_refused_at_once(read_only, towers, processor):
    rows, folder = read_only
    new = [*rows, clip("new", rows[0]["media"]["path"], 0.0, 0.1)]
    error = as_nobody(lambda: extract(new, processor, untouched(towers), folder))
    assert isinstance(error, OSError)
    assert f"the embedding store at {folder} cannot be written, and 1 new clips (new) are not in it" in str(error)
