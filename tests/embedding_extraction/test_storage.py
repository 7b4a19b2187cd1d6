"""Media that are not local files: object storage through fsspec, WebDataset archives, Parquet files with bytes."""

import io
import json
import shutil
import tarfile

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from modeling_semanticmac import media_storage
from modeling_semanticmac.embedding_extraction.clip_decoding import ClipTask
from modeling_semanticmac.embedding_extraction.clip_sources import media_clips
from modeling_semanticmac.embedding_extraction.command import main
from modeling_semanticmac.embedding_extraction.worker_processes import share_of
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.media_decoding import MediaError, open_media
from modeling_semanticmac.media_storage import local_copy, stored_identity
from tests.helpers.extraction_cases import clip, extract, untouched


@pytest.fixture
def bucket():
    """An empty folder of the memory file system."""
    system = fsspec.filesystem("memory")
    system.makedirs("/bucket/day", exist_ok=True)
    yield system
    system.rm("/bucket", recursive=True)


def content(row) -> bytes:
    with open(row["media"]["path"], "rb") as file:
        return file.read()


def write_tar(path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="module")
def local(clips, processor, towers, tmp_path_factory):
    """The store of the clips' own files."""
    folder = tmp_path_factory.mktemp("local")
    extract(clips, processor, towers, folder)
    return EmbeddingStore(folder)


def assert_same(store, local, names: dict[str, str]) -> None:
    assert set(store) == set(names)
    for name, other in names.items():
        assert all(torch.equal(one, two) for one, two in zip(store[name], local[other])), name


@pytest.mark.parametrize("num_workers", [0, 2])
def test_object_storage(bucket, clips, processor, towers, local, tmp_path, num_workers):
    """Objects, listed and encoded; unchanged ones are not read again, changed ones are, absent ones are named."""
    for number, row in enumerate(clips[:3]):
        bucket.pipe(f"/bucket/day/{number}.mp4", content(row))
    bucket.pipe("/bucket/notes.txt", b"no media")
    rows = media_clips(["memory://bucket"])
    assert [row["id"] for row in rows] == ["day/0.mp4", "day/1.mp4", "day/2.mp4"]
    assert rows[0]["media"]["path"] == "memory:///bucket/day/0.mp4"
    report = extract(rows, processor, towers, tmp_path, num_workers=num_workers)
    assert (report.done, report.num_failed) == (3, 0)
    assert_same(EmbeddingStore(tmp_path), local, {f"day/{n}.mp4": f"clip_{n}" for n in range(3)})
    assert extract(rows, processor, untouched(towers), tmp_path).reused == 3
    bucket.pipe("/bucket/day/0.mp4", content(clips[4]))
    rows.append(clip("gone", "memory://bucket/day/9.mp4"))
    again = extract(rows, processor, towers, tmp_path, num_workers=num_workers)
    assert (again.done, again.reused, dict(again.failed)) == (1, 2, {"no file": 1})
    assert "memory://bucket/day/9.mp4" in again.clips[0]["note"] or again.clips[0]["path"].endswith("9.mp4")
    names = {"day/0.mp4": "clip_4", "day/1.mp4": "clip_1", "day/2.mp4": "clip_2"}
    store = EmbeddingStore(tmp_path)
    assert all(torch.equal(store[name][0], local[other][0]) for name, other in names.items())


def test_an_etag_identifies_a_file_that_is_not_read(bucket, clips, processor, towers, tmp_path, monkeypatch):
    """The storage's tag and the size decide, not the time; and no byte is read where they are the same."""
    bucket.pipe("/bucket/a.mp4", content(clips[0]))
    plain, tags = media_storage._info, {"ETag": '"one"'}
    monkeypatch.setattr(media_storage, "_info", lambda file, address: {**plain(file, address), **tags})
    rows = [clip("a", "memory://bucket/a.mp4")]
    extract(rows, processor, towers, tmp_path)
    bucket.pipe("/bucket/a.mp4", content(clips[0]))  # another time
    monkeypatch.setattr(media_storage, "_copied", lambda *_: pytest.fail("the file was read"))
    assert extract(rows, processor, untouched(towers), tmp_path).reused == 1
    monkeypatch.undo()
    monkeypatch.setattr(media_storage, "_info", lambda file, address: {**plain(file, address), "ETag": '"two"'})
    assert extract(rows, processor, towers, tmp_path).done == 1
    assert stored_identity("memory://bucket/a.mp4").tag == 'etag:"two"'


def test_a_webdataset_archive(bucket, clips, processor, towers, local, tmp_path):
    """Clips with their text and fields, from a local tar and from one in object storage; a cut among the fields."""
    members = {"a/0.mp4": content(clips[0]), "a/0.txt": b"good film \n", "a/1.mp4": content(clips[2])}
    members["a/1.json"] = json.dumps({"text": "no", "label": 1.5, "start": 0.0, "end": 1.0, "x": 3}).encode()
    members["readme.md"] = b"?"
    write_tar(tmp_path / "0001.tar", members)
    bucket.put(str(tmp_path / "0001.tar"), "/bucket/0001.tar")
    for place in (str(tmp_path / "0001.tar"), "memory://bucket/0001.tar"):
        rows = media_clips([place])
        assert [row["id"] for row in rows] == ["a/0.mp4", "a/1.mp4"]
        assert rows[0]["text"] == "good film" and (rows[1]["text"], rows[1]["label"]) == ("no", 1.5)
        assert rows[1]["media"]["end"] == 1.0 and "x" not in rows[1]
        folder = tmp_path / str(len(place))
        assert extract(rows, processor, towers, folder).done == 2
        store = EmbeddingStore(folder)
        assert torch.equal(store["a/0.mp4"][1], local["clip_0"][1])
        assert store.status("a/1.mp4").duration == 1.0
        assert extract(rows, processor, untouched(towers), folder).reused == 2
    with pytest.raises(MediaError, match="the archive has no member 'b.mp4'"):
        open_media(f"tar://b.mp4::{tmp_path / '0001.tar'}")
    write_tar(tmp_path / "texts.tar", {"0.txt": b"words"})
    with pytest.raises(ValueError, match=r"texts.tar holds no video or sound file .* among 1 members"):
        media_clips([tmp_path / "texts.tar"])


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_parquet_with_bytes(clips, processor, towers, local, tmp_path, form):
    """Rows in several row groups, of bytes and of {"bytes", "path"}, with ids and without."""
    media = [content(row) for row in clips[:4]]
    values = media if form == "bytes" else [{"bytes": one, "path": "x.mp4"} for one in media]
    columns = {"video": values, "text": ["a", "b", "c", "d"]} | ({"id": list("wxyz")} if form == "bytes" else {})
    pq.write_table(pa.table(columns), tmp_path / "part.parquet", row_group_size=3)
    rows = media_clips([tmp_path / "part.parquet"])
    ids = list("wxyz") if form == "bytes" else [f"part.parquet/{n}" for n in range(4)]
    assert [(row["id"], row["text"]) for row in rows] == list(zip(ids, "abcd"))
    assert extract(rows, processor, towers, tmp_path / "store", num_workers=2).done == 4
    assert_same(EmbeddingStore(tmp_path / "store"), local, {name: f"clip_{n}" for n, name in enumerate(ids)})
    # Back and forth, and past the end.
    for number in (3, 0, 2, 1):
        with open(local_copy(f"parquet://video/{number}::{tmp_path / 'part.parquet'}").path, "rb") as file:
            assert file.read() == media[number]
    with pytest.raises(MediaError, match="the file has 4 rows, not a row 4"):
        open_media(f"parquet://video/4::{tmp_path / 'part.parquet'}")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "words.parquet")
    with pytest.raises(ValueError, match=r"has the columns text, none of which is media"):
        media_clips([tmp_path / "words.parquet"])


@pytest.mark.parametrize(("count", "workers"), [(7, 3), (2, 2), (5, 4)])
def test_each_clip_has_one_worker(count, workers):
    """Of an archive each worker takes a run of clips, of files every n-th."""
    for kind in ("{}.mp4", "tar://{}.mp4::0.tar"):
        tasks = [ClipTask(number, str(number), {"path": kind.format(number)}) for number in range(count)]
        shares = [[task.position for task in share_of(tasks, index, workers)] for index in range(workers)]
        assert sorted(sum(shares, [])) == list(range(count)) and all(shares)
        steps = {later - earlier for share in shares for earlier, later in zip(share, share[1:])}
        assert steps <= ({1} if kind.startswith("tar") else {workers})


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://x.org/a.mp4", "files are not read from http:// here, only from"),
        ("tar://a.mp4::https://x.org/a.tar", "files are not read from https:// here"),
        ("tar://a.mp4", "an address of this kind is tar://MEMBER::FILE"),
        ("memory://nowhere/a.mp4", "it cannot be read"),
        ("file:///nowhere/a.mp4", "it cannot be read"),
    ],
)
def test_addresses_that_cannot_be_read_are_named(address, message):
    with pytest.raises(MediaError, match=message) as found:
        open_media(address)
    assert found.value.reason == "no file"


def test_temporary_copies_are_deleted(bucket, clips):
    """As long as a file is read its copy is there; the last few are kept for the clips that follow."""
    import os

    bucket.pipe("/bucket/a.mp4", content(clips[1]))
    with open_media("memory://bucket/a.mp4") as media:
        path = media._source
        assert os.path.isfile(path) and media.info.path == "memory://bucket/a.mp4"
        media_storage._copied.cache_clear()
        assert media.frames([0.1]).shape[0] == 1 and os.path.isfile(path)
    del media
    assert not os.path.exists(path)


def test_the_command_reads_all_kinds(bucket, clips, tmp_path, capsys):
    """Object storage, an archive and a Parquet file in one store; two clips of one id are refused."""
    from tests.embedding_extraction.test_command import save_towers

    bucket.pipe("/bucket/day/0.mp4", content(clips[0]))
    write_tar(tmp_path / "t.tar", {"k.mp4": content(clips[1])})
    pq.write_table(pa.table({"mp4": [content(clips[4])]}), tmp_path / "p.parquet")
    kinds = ["memory://bucket/day", str(tmp_path / "t.tar"), str(tmp_path / "p.parquet")]
    words = [f"--embeddings_dir={tmp_path / 'store'}", "--num_workers=0", "--device=cpu", *save_towers(tmp_path)]
    assert main(["--media", *kinds, *words]) == 0
    assert sorted(EmbeddingStore(tmp_path / "store")) == ["0.mp4", "k.mp4", "p.parquet/0"]
    shutil.copy(tmp_path / "t.tar", tmp_path / "again.tar")
    assert main(["--media", *kinds, str(tmp_path / "again.tar"), *words]) == 1
    assert "would both be clip 'k.mp4'" in capsys.readouterr().err
