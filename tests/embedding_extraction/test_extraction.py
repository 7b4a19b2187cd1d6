"""Extraction: what the store holds is what the towers give, every clip is accounted for, nothing stops it, nothing is
done twice.
"""

import json
import os
import shutil

import pytest
import torch

from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.embedding_store.fingerprint import FingerprintError
from tests.helpers.extraction_cases import (
    AUDIO_WIDTH,
    VISION_WIDTH,
    Untouched,
    assert_adds_up,
    clip,
    extract,
    index_rows,
    tiny_processor,
    tiny_towers,
    untouched,
    write_clips,
)
from tests.helpers.media_files import tone, write_media

HALF = {"rtol": 2e-3, "atol": 2e-3}  # two units in the last place of half precision
SECONDS = [0.2, 1.0, 2.6, 5.2, 0.6, 3.1]


@pytest.mark.parametrize(("batch_size", "num_workers"), [(4, 2), (32, 0)])
def test_the_store_holds_what_the_towers_give(clips, processor, towers, tmp_path, batch_size, num_workers):
    """Against each clip alone through the processor and the towers."""
    report = extract(clips, processor, towers, tmp_path, batch_size=batch_size, num_workers=num_workers)
    assert (report.done, report.reused, report.num_failed) == (len(clips), 0, 0)
    assert report.seconds == pytest.approx(sum(SECONDS), abs=0.05 * len(clips))
    store = EmbeddingStore(tmp_path)
    for row, seconds in zip(clips, SECONDS):
        encoded = processor.encode_media(row["media"])
        audio, vision = store[row["id"]]
        assert vision.shape == (max(1, round(2 * seconds + 0.4)), VISION_WIDTH) and audio.shape == (
            len(vision),
            AUDIO_WIDTH,
        )
        torch.testing.assert_close(vision.float(), towers["vision"](encoded["pixel_values"]).embeds, **HALF)
        torch.testing.assert_close(audio.float(), towers["audio"](encoded["input_features"]).embeds, **HALF)
        assert store.status(row["id"]).duration == pytest.approx(seconds, abs=0.05)
    assert report.rows == {
        "vision": sum(len(store[c["id"]][1]) for c in clips),
        "audio": sum(len(store[c["id"]][0]) for c in clips),
    }


def test_batches_of_any_size_and_order_give_the_same(clips, processor, towers, tmp_path):
    for name, rows, size in (("a", clips, 1), ("b", clips, 7), ("c", clips[::-1], 32)):
        extract(rows, processor, towers, tmp_path / name, batch_size=size)
    a, b, c = (EmbeddingStore(tmp_path / name) for name in "abc")
    for row in clips:
        for one, two, three in zip(a[row["id"]], b[row["id"]], c[row["id"]]):
            torch.testing.assert_close(one, two, **HALF)
            torch.testing.assert_close(one, three, **HALF)


def test_the_same_command_twice_gives_the_same_bits(clips, processor, towers, tmp_path):
    for name in "ab":
        extract(clips, processor, towers, tmp_path / name, num_workers=2, batch_size=5)
    a, b = EmbeddingStore(tmp_path / "a"), EmbeddingStore(tmp_path / "b")
    for row in clips:
        assert all(torch.equal(one, two) for one, two in zip(a[row["id"]], b[row["id"]]))


# What becomes of each of the twelve kinds, by hand: status, reason, and the (audio, vision) counts where they follow
# from the length.
ODD = {
    "zero bytes": ("failed", "not media", (0, 0)),
    "random bytes": ("failed", "not media", (0, 0)),
    "cut mp4": ("ok", "", None),
    "cut mkv": ("ok", "", None),
    "no audio": ("partial", "no audio stream", (0, 8)),
    "no video": ("partial", "no video stream", None),
    "one frame": ("partial", "no audio stream", (0, 1)),
    "variable rate": ("ok", "", (9, 9)),  # its last frame ends at 4.06 s
    "rotated": ("ok", "", (8, 8)),
    "10-bit HEVC": ("ok", "", (8, 8)),
    "5.1 audio": ("ok", "", (8, 8)),
    "wrong extension": ("ok", "", (8, 8)),
}


def test_twelve_kinds_of_odd_media_are_named(odd, processor, towers, tmp_path):
    rows = [clip(kind, path) for kind, path in odd.items()]
    rows += [clip("no path", ""), clip("not there", "/nowhere/x.mp4"), clip("a folder", tmp_path)]
    report = extract(rows, processor, towers, tmp_path / "store", num_workers=2)
    assert_adds_up(report, 15)
    assert report.failed == {"not media": 2, "no file": 3} and report.partial == {
        "no audio stream": 2,
        "no video stream": 1,
    }
    store = EmbeddingStore(tmp_path / "store")
    assert sorted(store) == sorted(row["id"] for row in rows)
    for kind, (status, reason, counts) in ODD.items():
        record = store.status(kind)
        assert (record.status, record.reason) == (status, reason), kind
        assert counts in (None, (record.audio, record.vision)), kind
        assert tuple(map(len, store[kind])) == (record.audio, record.vision)
    for kind in ("cut mp4", "cut mkv"):
        assert "truncated at" in store.status(kind).note
        assert 1.5 < store.status(kind).duration < 3.5
    noted = {row["id"]: row for row in report.clips}
    assert "truncated" in noted["cut mp4"]["note"] and noted["no path"]["note"] == "the clip names no media file."
    assert noted["zero bytes"]["path"] == str(odd["zero bytes"])
    written = json.loads((tmp_path / "store" / "report.json").read_text())
    assert written["total"] == 15 and written["failed"] == dict(report.failed) and written["clips"] == report.clips
    table = str(report)
    for line in ("clips 15", "encoded 10", "failed: no file 3", "failed: not media 2", "no video stream 1"):
        assert " ".join(table.split()).count(line) == 1


def test_the_second_time_nothing_is_done(clips, odd, processor, towers, tmp_path):
    rows = [*clips, clip("broken", odd["zero bytes"]), clip("silent", odd["no audio"])]
    first = extract(rows, processor, towers, tmp_path)
    before = index_rows(tmp_path)
    second = extract(rows, processor, untouched(towers), tmp_path)
    assert (first.done, second.done, second.reused) == (7, 0, 7)
    assert second.failed == {"not media": 1} and second.partial == {"no audio stream": 1}
    assert_adds_up(second, 8)
    assert index_rows(tmp_path) == before  # what failed was tried again, but says nothing new
    more = write_clips(tmp_path / "more", [0.4])
    third = extract([*rows, {**more[0], "id": "new"}], processor, towers, tmp_path)
    assert (third.done, third.reused) == (1, 7)


def test_changes_are_noticed_and_only_they(clips, processor, towers, tmp_path):
    rows = [{"id": f"clip_{i}", "media": dict(row["media"])} for i, row in enumerate(clips)]
    for row in rows:
        row["media"]["path"] = shutil.copy(row["media"]["path"], tmp_path)
    store_folder = tmp_path / "store"
    extract(rows, processor, towers, store_folder)
    old = EmbeddingStore(store_folder)
    # The same bytes at another time: read, but not encoded. Other bytes of the same length: encoded.
    os.utime(rows[0]["media"]["path"], (1, 1))
    assert extract(rows, processor, untouched(towers), store_folder).reused == len(rows)
    write_media(rows[1]["media"]["path"], 1.0, sound=tone(999.0))
    rows[2]["media"]["end"] = 1.0
    rows[3]["media"]["crop"] = "left"
    report = extract(rows, processor, towers, store_folder)
    assert (report.done, report.reused) == (3, len(rows) - 3)
    new = EmbeddingStore(store_folder)
    assert len(new["clip_2"][0]) == 2 < len(old["clip_2"][0])
    assert not torch.equal(new["clip_3"][1], old["clip_3"][1]) and torch.equal(new["clip_3"][0], old["clip_3"][0])
    assert not torch.equal(new["clip_1"][0], old["clip_1"][0])
    assert torch.equal(new["clip_4"][0], old["clip_4"][0])


def test_a_store_serves_where_the_media_are_not(clips, processor, towers, tmp_path):
    """A store from the Hub, for instance; the report says that nothing could be compared."""
    path = shutil.copy(clips[0]["media"]["path"], tmp_path / "x.mp4")
    extract([clip("x", path)], processor, towers, tmp_path / "store")
    os.remove(path)
    report = extract([clip("x", path)], processor, untouched(towers), tmp_path / "store")
    assert (report.reused, report.unchecked, report.num_failed) == (1, 1, 0)
    assert "their file is not there to compare" in str(report)
    # Another cut of it is not in the store, and cannot be made.
    report = extract([clip("x", path, 0.0, 0.1)], processor, towers, tmp_path / "store")
    assert report.failed == {"no file": 1}


def test_cuts_beyond_the_media(clips, processor, towers, tmp_path):
    path = clips[3]["media"]["path"]  # 5.2 s
    rows = [
        clip("negative", path, -0.4875, 1.0),
        clip("beyond", path, 4.2, 9.0),
        clip("no length", path, 2.0, 2.0),
        clip("no length at 0", path, -0.3, 0.0),
        clip("shortest", path, 1.0, 1.12),
        clip("behind", path, 7.0, 8.0),
        clip("reversed", path, 3.0, 2.0),
        clip("plain", path, 0.0, 1.0),
    ]
    report = extract(rows, processor, towers, tmp_path)
    store = EmbeddingStore(tmp_path)
    counts = {row["id"]: tuple(map(len, store[row["id"]])) for row in rows}
    assert counts == {
        "negative": (2, 2),
        "beyond": (2, 2),
        "no length": (1, 1),
        "no length at 0": (1, 1),
        "shortest": (1, 1),
        "behind": (0, 0),
        "reversed": (0, 0),
        "plain": (2, 2),
    }
    assert all(torch.equal(one, two) for one, two in zip(store["negative"], store["plain"]))
    assert report.failed == {"zero length": 2} and report.done == 6
    assert "ends at 9.00 s, the file at 5.2" in store.status("beyond").note
    assert "no length: one frame is taken" in store.status("no length").note


def test_clips_over_the_length_limit_fail(clips, processor, towers, tmp_path):
    report = extract(clips, processor, towers, tmp_path)
    report = extract(clips, processor, towers, tmp_path, max_seconds=3.0)
    assert report.failed == {"over the length limit": 2} and report.reused == 4
    assert [len(stream) for stream in EmbeddingStore(tmp_path)["clip_3"]] == [0, 0]
    assert "lasts 5.2 s, the limit is 3 s" in EmbeddingStore(tmp_path).status("clip_3").note
    report = extract(clips, processor, towers, tmp_path)
    assert (report.done, report.reused, report.num_failed) == (2, 4, 0)


def test_one_tower_alone(clips, odd, processor, towers, tmp_path):
    rows = [*clips, clip("silent", odd["no audio"]), clip("blind", odd["no video"])]
    report = extract(rows, processor, {"vision": towers["vision"], "audio": None}, tmp_path)
    assert report.done == len(clips) + 1 and report.failed == {"no video stream": 1} and not report.partial
    audio, vision = EmbeddingStore(tmp_path)["clip_1"]
    assert audio.shape == (0, 0) and vision.shape == (2, VISION_WIDTH)
    with pytest.raises(FingerprintError, match="it has no audio embeddings"):
        extract(rows, processor, towers, tmp_path)


def test_a_store_of_both_serves_one_tower(clips, processor, towers, tmp_path):
    extract(clips[:3], processor, towers, tmp_path)
    assert extract(clips[:3], processor, {"audio": Untouched(towers["audio"])}, tmp_path).reused == 3
    with pytest.raises(FingerprintError, match=r"so 3 new clips \(clip_3, clip_4, clip_5\) need the vision encoder"):
        extract(clips, processor, {"audio": towers["audio"]}, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames_per_second": 4.0}, "sampling.frames_per_second: it has 2.0, requested is 4.0"),
        ({"num_frames": 5}, "sampling.num_frames: it has None, requested is 5"),
        ({"audio_window": 1.0}, "audio.window: it has 2.0, requested is 1.0"),
        ({"vision_window": "clip"}, "vision.window: it has 'image', requested is 'clip'"),
    ],
)
def test_other_settings_need_another_store(clips, processor, towers, tmp_path, settings, message):
    extract(clips[:1], processor, towers, tmp_path)
    with pytest.raises(FingerprintError, match=message):
        extract(clips[:1], tiny_processor(**settings), towers, tmp_path)


def test_other_weights_or_crops_need_another_store(clips, processor, towers, tmp_path):
    extract(clips[:1], processor, towers, tmp_path)
    with pytest.raises(FingerprintError, match="audio.weights_hash: it has .*vision.weights_hash: it has "):
        extract(clips[:1], processor, tiny_towers(seed=1), tmp_path)
    crops = tiny_processor()
    crops.image_processor.num_crops = 3
    with pytest.raises(FingerprintError, match="vision.front_end.num_crops: it has 1, requested is 3"):
        extract(clips[:1], crops, towers, tmp_path)
    extract(clips[:1], crops, towers, tmp_path / "crops")
    audio, vision = EmbeddingStore(tmp_path / "crops")["clip_0"]
    assert (len(audio), len(vision)) == (1, 3)
