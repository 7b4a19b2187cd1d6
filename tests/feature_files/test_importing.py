"""Feature files into a store: normalisation by the training split, repairs, missing clips, streams of several files."""

import json
import pickle

import numpy as np
import pytest
import torch

from datasets_scripts import load_corpus
from modeling_semanticmac.commands import features
from modeling_semanticmac.embedding_store import EmbeddingStore, FingerprintError, StoreWriter
from modeling_semanticmac.embedding_store.joined import JoinedStore
from modeling_semanticmac.embedding_store.store import ClipRecord
from modeling_semanticmac.feature_files.description import describe_file
from modeling_semanticmac.feature_files.importing import FeatureImport, check_overlap
from modeling_semanticmac.feature_files.known_files import MOSI_COVAREP, MOSI_FACET, known_as
from modeling_semanticmac.feature_files.normalization import ColumnStatistics, repaired
from modeling_semanticmac.feature_files.reading import content_digest
from modeling_semanticmac.feature_files.segments import Segment
from modeling_semanticmac.feature_files.sources import named_stream, read_streams
from tests.helpers import feature_files as written
from tests.helpers.real_corpora import SPLITS, write_real_mosi

IDS = {"train": ["a_1", "b_1", "c_1"], "valid": ["d_1"], "test": ["e_1"]}
BOTH = ("audio", "vision")


def plain(name: str) -> str:
    return name.replace("$_$", "_")


def write_arrays(path, arrays: dict):
    path.write_bytes(pickle.dumps(arrays))
    return path


@pytest.fixture
def mmsa(tmp_path):
    expected = written.write_mmsa(tmp_path / "mosi.pkl", IDS)
    return tmp_path / "mosi.pkl", {plain(name): streams for name, streams in expected.items()}


def test_standard_scores_by_the_training_split(mmsa, tmp_path):
    """Each value is that of numpy on the rows of the training clips; the store keeps single precision."""
    path, expected = mmsa
    streams = read_streams([str(path)], BOTH, plain)
    imported = FeatureImport(streams, ["a_1", "b_1", "c_1"])
    store = imported.write(tmp_path / "store", expected)
    assert store.fingerprint["storage_dtype"] == "float32" and store.fingerprint["audio"]["width"] == 5
    for place, modality in enumerate(BOTH):
        rows = np.concatenate([expected[clip][place] for clip in ("a_1", "b_1", "c_1")]).astype(np.float64)
        for clip in expected:
            scores = (expected[clip][place] - rows.mean(axis=0)) / rows.std(axis=0)
            found = store[clip][place]
            assert found.dtype == torch.float32
            torch.testing.assert_close(found.double(), torch.from_numpy(scores), rtol=0, atol=1e-5)
        part = store.fingerprint[modality]
        np.testing.assert_allclose(part["column_means"], rows.mean(axis=0), rtol=1e-6)
    other = FeatureImport(streams, ["a_1", "b_1"])  # another fold
    assert other.folder_name != imported.folder_name
    with pytest.raises(FingerprintError, match="audio.statistics_sha256"):
        other.write(tmp_path / "store", expected)


def test_scores_are_clipped_and_columns_without_spread_are_zero(tmp_path):
    arrays = {"a": np.array([[1.0, 5.0], [3.0, 5.0]]), "b": np.array([[1e9, 5.0], [2.0, 6.0]])}
    streams = read_streams([f"audio={write_arrays(tmp_path / 'f.pkl', arrays)}"], BOTH)
    store = FeatureImport(streams, ["a"]).write(tmp_path / "store", ["a", "b"])
    assert store["a"][0].tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert store["b"][0].tolist() == [[30.0, 0.0], [0.0, 1.0]]


def test_raw_values_are_exact_in_single_precision(tmp_path):
    values = np.array([[70000.0, 1e-7, 123456.78125]], dtype=np.float32)  # half precision holds none of them
    streams = read_streams([f"vision={write_arrays(tmp_path / 'f.pkl', {'a': values})}"], BOTH)
    store = FeatureImport(streams, [], "none").write(tmp_path / "store", ["a"])
    assert store["a"][1].numpy().tobytes() == values.tobytes() and store["a"][0].shape == (0, 0)
    assert store.fingerprint["vision"]["normalize"] == "none"


def test_nan_and_infinity_become_zero_and_are_counted(tmp_path):
    """The statistics are those of the finite values; the repaired ones are 0 before the standard scores."""
    rows = np.array([[1.0, -np.inf], [3.0, 4.0], [np.nan, 8.0]])
    streams = read_streams([f"audio={write_arrays(tmp_path / 'f.pkl', {'a': rows, 'b': np.ones((1, 2))})}"], BOTH)
    imported = FeatureImport(streams, ["a"])
    store = imported.write(tmp_path / "store", ["a", "b"])
    assert store["a"][0].tolist() == [[-1.0, -3.0], [1.0, -1.0], [-2.0, 1.0]]  # means 2 and 6, deviations 1 and 2
    report = imported.report(["a", "b"])
    assert (report.repaired, report.repaired_clips) == ({"audio": 2}, {"audio": 1})
    assert "audio values that were NaN or infinite, now 0 (1 clips)" in str(report)
    assert imported.report(["b"]).repaired == {}
    assert repaired(np.array([[np.inf, 2.0]]))[1] == 1


def test_statistics_of_large_numbers_keep_small_deviations():
    rows = 1e6 + np.array([[0.0], [1.0], [2.0], [3.0]], dtype=np.float32)
    found = ColumnStatistics.of([rows[:1], rows[1:]])
    assert found.deviations[0] == pytest.approx(np.sqrt(1.25), rel=1e-6) and found.means[0] == 1e6 + 1.5
    again = ColumnStatistics.from_lists(*found.as_lists().values())
    assert again.sha256() == found.sha256()


def test_the_writer_refuses_what_is_not_finite(tmp_path):
    fingerprint = {"storage_dtype": "float32", "audio": {"width": 1}, "vision": None}
    with StoreWriter(tmp_path / "s", fingerprint) as writer:
        with pytest.raises(
            ValueError, match="clip 'x': audio embeddings hold NaN, infinity or values beyond 3.4.*float32"
        ):
            writer.add(ClipRecord("x"), audio=torch.tensor([[torch.inf]]))
        writer.add(ClipRecord("y"), audio=torch.tensor([[70000.5]]))
    assert EmbeddingStore(tmp_path / "s")["y"][0].tolist() == [[70000.5]]


def test_missing_clips_and_sequences_of_length_zero(tmp_path):
    audio = write_arrays(tmp_path / "audio.pkl", {"a": np.ones((2, 3)), "b": np.ones((0, 3)), "c": np.zeros((1, 3))})
    vision = write_arrays(tmp_path / "vision.pkl", {"a": np.ones((1, 2)), "b": np.ones((1, 2))})
    streams = read_streams([f"audio={audio}", f"vision={vision}"], BOTH)
    imported = FeatureImport(streams, ["a"], "none")
    store = imported.write(tmp_path / "store", ["a", "b", "c", "d"])
    assert [(store.status(c).status, store.status(c).reason) for c in "abcd"] == [
        ("ok", ""),
        ("partial", "audio features of length 0"),
        ("partial", "no vision features"),
        ("failed", "no features"),
    ]
    report = imported.report(["a", "b", "c", "d"])
    assert (report.total, report.done, report.failed) == (4, 3, {"no features": 1})
    assert report.partial == {"audio features of length 0": 1, "no vision features": 1}
    assert store["c"][0].tolist() == [[0.0, 0.0, 0.0]] and len(store["c"][1]) == 0
    store = imported.write(tmp_path / "store", ["a", "e"])  # a clip that came to the corpus later
    assert len(store) == 5 and store.status("e").status == "failed"
    with pytest.raises(ValueError, match="audio features of none of the 1 clips .* file: a, b, c; of the corpus: z"):
        check_overlap(streams, ["z"])
    with pytest.raises(ValueError, match="none of the 1 clips of the training split has audio features"):
        FeatureImport(streams, ["z"])


def test_sequences_can_be_freed_once_they_are_stored(tmp_path):
    """The report stays; what is not stored yet is refused and never written as zeros."""
    path = write_arrays(tmp_path / "f.pkl", {"a": np.array([[1.0, np.inf]]), "b": np.ones((0, 2))})
    imported = FeatureImport(read_streams([f"audio={path}"], BOTH), [], "none")
    store, before = imported.write(tmp_path / "store", ["a", "b"]), str(imported.report(["a", "b", "c"]))
    imported.forget_sequences()
    assert str(imported.report(["a", "b", "c"])) == before and imported.longest == 1
    assert imported.write(tmp_path / "store", ["a"])["a"][0].tolist() == store["a"][0].tolist() == [[1.0, 0.0]]
    with pytest.raises(RuntimeError, match="were freed, but 1 clips are not in the store"):
        imported.write(tmp_path / "store", ["c"])


def test_which_stream_a_file_gives(mmsa, tmp_path):
    path, _ = mmsa
    table = tmp_path / "au.csv"
    table.write_text("clip,x\na_1,1\n")

    def given(*arguments, wanted=BOTH, towers=()) -> dict:
        return {m: stream.file.path.name for m, stream in read_streams(arguments, wanted, plain, towers).items()}

    assert given(str(path)) == {"audio": "mosi.pkl", "vision": "mosi.pkl"}
    assert given(str(path), wanted=("vision",)) == {"vision": "mosi.pkl"}
    assert given(f"audio={path}", f"vision={table}") == {"audio": "mosi.pkl", "vision": "au.csv"}
    assert given(str(table), f"audio={path}") == {"audio": "mosi.pkl", "vision": "au.csv"}
    assert given(str(table), towers=["audio"]) == {"vision": "au.csv"}
    assert given(str(table), wanted=("audio",)) == {"audio": "au.csv"}
    with pytest.raises(
        ValueError, match="holds one stream and does not say which; write --features audio=.* or vision="
    ):
        given(str(table))
    with pytest.raises(ValueError, match="mosi.pkl and --audio_encoder both give audio; say .* --features vision="):
        given(str(path), towers=["audio"])
    with pytest.raises(ValueError, match="both give audio"):
        given(f"audio={path}", f"audio={table}")
    meld = tmp_path / "meld.pkl"
    written.write_conversations(meld, "meld")
    with pytest.raises(ValueError, match="has audio and text, but no vision"):
        given(f"vision={meld}")
    assert named_stream("x=y.csv")[0] is None


def test_ids_and_widths_that_do_not_fit(tmp_path):
    both = write_arrays(tmp_path / "f.pkl", {"a$_$1": np.ones((1, 2)), "a_1": np.ones((1, 2))})
    with pytest.raises(ValueError, match=r"'a\$_\$1' and 'a_1' are both clip 'a_1'"):
        read_streams([f"audio={both}"], BOTH, plain)
    early = write_arrays(tmp_path / "g.pkl", {"a": np.ones((1, 74)), "b": np.ones((2, 43)), "c": np.ones((2, 43))})
    with pytest.raises(ValueError, match=r"different widths: 43 \(clip 'b'\), 74 \(clip 'a'\); expected one"):
        read_streams([f"audio={early}"], BOTH)


def test_videos_are_cut_by_the_times_of_the_corpus(tmp_path):
    written.write_csd(tmp_path / "covarep.csd", {"v": (np.arange(10.0)[:, None], np.arange(10.0))})
    segments = {"v_1": Segment("v", 2.0, 4.5), "v_2": Segment("v", 9.5, 12.0), "w_1": Segment("w", 0.0, 1.0)}
    stream = read_streams([f"audio={tmp_path / 'covarep.csd'}"], BOTH, segments=segments)["audio"]
    assert stream.rows["v_1"].ravel().tolist() == [2.0, 3.0, 4.0] and stream.rows["v_2"].shape == (0, 1)
    assert stream.rows.keys() == {"v_1", "v_2"}
    moved = read_streams([f"audio={tmp_path / 'covarep.csd'}"], BOTH, segments={"v_1": Segment("v", 0.0, 1.0)})
    assert moved["audio"].segments != stream.segments


def test_joined_stores(tmp_path):
    files = {m: write_arrays(tmp_path / f"{m}.pkl", {"a": np.ones((2, 3)), "b": np.ones((1, 3))}) for m in BOTH}
    stores = {}
    for modality, path in files.items():
        imported = FeatureImport(read_streams([f"{modality}={path}"], BOTH), [], "none")
        stores[modality] = imported.write(tmp_path / modality, ["a", "b", "c"] if modality == "audio" else ["a", "c"])
    store = pickle.loads(pickle.dumps(JoinedStore(stores)))
    assert list(store) == ["a", "c"] and len(store) == 2 and "b" not in store
    assert [len(stream) for stream in store["a"]] == [2, 2]
    assert (store.status("a").status, store.status("a").audio, store.status("a").vision) == ("ok", 2, 2)
    assert (store.status("c").status, store.status("c").reason) == ("failed", "no features")
    assert store.fingerprint["vision"]["weights_hash"] == stores["vision"].fingerprint["vision"]["weights_hash"]
    with pytest.raises(ValueError, match="has no audio embeddings"):
        JoinedStore({"audio": stores["vision"]})


def test_description(mmsa, tmp_path):
    path, _ = mmsa
    found = describe_file(path)
    assert (found.form, found.clips, found.splits) == ("mmsa", 5, {"train": 3, "validation": 1, "test": 1})
    assert found.streams["audio"].widths == {5: 5} and found.streams["audio"].longest == 10
    text = str(found)
    assert "unknown: its checksum is not" in text and "1, 3, 6, 25, 60 of 74" in text and "of 47" in text
    assert len(MOSI_COVAREP) == 5 and len(MOSI_FACET) == 20
    assert known_as("78e0f8b5" + 51 * "0" + "02524") == "MMSA MOSI unaligned_50" and known_as("0" * 64) is None
    broken = write_arrays(tmp_path / "f.pkl", {"a": np.array([[np.inf, 2.0]]), "b": np.zeros((0, 2))})
    text = str(describe_file(broken))
    assert "one stream (audio= or vision= says which): 2 clips, width 2" in text
    assert "1 values of 1 clips are NaN or infinite; largest value 2" in text and "1 of length 0" in text


def test_the_real_ids_of_mosi(shared, tmp_path, capsys):
    """A file of MMSA's form with the 2,199 released ids: each is a clip of our builder; one command imports all."""
    folder = write_real_mosi(shared, tmp_path / "MOSI")
    corpus = load_corpus("mosi", folder, cache_dir=tmp_path / "cache")
    ids = {split: corpus[split]["id"][:] for split in SPLITS}
    names = {"train": "train", "validation": "valid", "test": "test"}
    path = tmp_path / "aligned.pkl"
    by_name = {names[split]: ["$_$".join(clip.rsplit("_", 1)) for clip in clips] for split, clips in ids.items()}
    written_as = written.write_mmsa(path, by_name, aligned=True, text_width=1)
    expected = {plain(name): streams for name, streams in written_as.items()}
    assert sum(map(len, ids.values())) == len(expected) == 2199
    command = [str(path), "--corpus", "mosi", "--data_dir", str(folder), "--output", str(tmp_path / "store")]
    assert features.main(command) == 0
    shown = capsys.readouterr().out
    assert [line.split()[-1] for line in shown.splitlines() if line.startswith("with features")] == [
        "1284",
        "229",
        "686",
    ]
    store = EmbeddingStore(tmp_path / "store")
    assert len(store) == 2199 and all(store.status(clip).status == "ok" for clip in store)
    rows = np.concatenate([expected[clip][0] for clip in ids["train"]]).astype(np.float64)
    clip = ids["test"][100]
    scores = (expected[clip][0] - rows.mean(axis=0)) / rows.std(axis=0)
    np.testing.assert_allclose(store[clip][0].numpy(), scores, atol=1e-5)


def test_the_command_describes_files(mmsa, capsys):
    path, _ = mmsa
    assert features.main(["info", str(path), "--json", "-"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["form"], found["streams"]["vision"]["widths"]) == ("mmsa", {"20": 5})
    assert features.main(["info", str(path)]) == 0
    assert "vision        5 clips, width 20" in capsys.readouterr().out


@pytest.mark.parametrize("side", ["front", "back"])
def test_mult_is_imported_without_its_padding(tmp_path, side):
    expected = written.write_mult(tmp_path / "mosei.pkl", side)
    streams = read_streams([str(tmp_path / "mosei.pkl")], BOTH)
    store = FeatureImport(streams, [], "none").write(tmp_path / "store", expected)
    for clip, (audio, vision) in expected.items():
        assert np.array_equal(store[clip][0], audio) and np.array_equal(store[clip][1], vision)


def test_a_store_may_be_given_as_a_file(tmp_path):
    """The values of a tower stay as they are; those of an earlier import are standardised by the training split."""
    imported = write_arrays(tmp_path / "f.pkl", {"a": np.array([[1.0], [3.0]]), "b": np.array([[7.0]])})
    FeatureImport(read_streams([f"audio={imported}"], BOTH), [], "none").write(tmp_path / "import", ["a", "b", "c"])
    tower = {"width": 2, "weights_hash": "x", "front_end": {}}
    with StoreWriter(tmp_path / "towers", {"vision": tower, "audio": None}) as writer:
        writer.add(ClipRecord("a"), vision=torch.tensor([[8.0, 0.5]]))
        writer.add(ClipRecord("b", status="failed", reason="no video stream"))
    streams = read_streams([str(tmp_path / "import"), str(tmp_path / "towers")], BOTH)
    assert {modality: stream.file.form for modality, stream in streams.items()} == {"audio": "store", "vision": "store"}
    store = FeatureImport(streams, ["a"]).write(tmp_path / "store", ["a", "b", "c"])
    assert store["a"][0].tolist() == [[-1.0], [1.0]] and store["b"][0].tolist() == [[5.0]]
    assert store["a"][1].tolist() == [[8.0, 0.5]] and store.status("b").reason == "no vision features"
    assert (store.status("c").status, store.fingerprint["vision"]["normalize"]) == ("failed", "none")
    both = FeatureImport(streams, ["a"], "all")
    assert both.fingerprint["vision"]["normalize"] == "train" and both.folder_name != store.folder.name
    before = content_digest(tmp_path / "towers")
    with StoreWriter(tmp_path / "towers", {"vision": tower, "audio": None}) as writer:
        writer.add(ClipRecord("c"), vision=torch.tensor([[1.0, 1.0]]))
    assert content_digest(tmp_path / "towers") != before == streams["vision"].file.sha256


def test_vectors_of_text(mmsa, tmp_path, capsys):
    """A file that names its streams gives them where text is wanted; a nameless one where it is the only one left."""
    path, _ = mmsa
    streams = read_streams([str(path)], (*BOTH, "text"), plain)
    assert list(streams) == ["audio", "vision", "text"] and streams["text"].width == 768
    assert "text" not in read_streams([str(path)], BOTH, plain)
    glove = write_arrays(tmp_path / "glove.pkl", {"a_1": np.ones((2, 3)), "b_1": np.ones((1, 3))})
    both = [f"audio={path}", f"vision={path}", str(glove)]
    assert read_streams(both, (*BOTH, "text"), plain)["text"].rows["a_1"].shape == (2, 3)
    with pytest.raises(ValueError, match="both give text"):
        read_streams([str(path), f"text={glove}"], (*BOTH, "text"), plain)
    plain_import = FeatureImport({"text": streams["text"]}, ["a_1"])
    store = plain_import.write(tmp_path / "s", ["a_1"])
    assert np.array_equal(store.stream("a_1", "text"), streams["text"].rows["a_1"])
    assert store.fingerprint["text"]["normalize"] == "none" and store.status("a_1").text == 3
    scores = FeatureImport({"text": streams["text"]}, ["a_1"], "all")
    assert scores.fingerprint["text"]["normalize"] == "train"
