"""UR-FUNNY's released pickles, COSMIC's lists, Hugging Face datasets with columns that the user names, ids of times."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets_scripts.mosi import Mosi
from modeling_semanticmac.feature_files import read_feature_file
from modeling_semanticmac.feature_files.reading import clips_of
from modeling_semanticmac.feature_files.segments import Places
from modeling_semanticmac.feature_files.sources import read_streams
from tests.helpers import feature_files as written
from tests.helpers.cmu_folder import write_mosi
from tests.helpers.pickles import Malicious


def by_id(path) -> dict:
    return {clip.id: clip for clip in clips_of(read_feature_file(path))}


def test_ur_funny(tmp_path):
    """One file is one stream; the folder has both, words, labels and splits. A punchline without words is empty."""
    written.write_ur_funny_sdk(tmp_path)
    file = read_feature_file(tmp_path / "covarep_features_sdk.pkl")
    assert file.form == "punchlines" and {clip.id: clip.single.shape for clip in clips_of(file)} == {
        "7": (2, 81), "8": (3, 81), "9": (0, 81),
    }  # fmt: skip
    whole, clips = read_feature_file(tmp_path), by_id(tmp_path)
    clip = clips["8"]
    assert whole.form == "ur_funny" and clip.vision.shape == (3, 371) and clip.audio.shape == (3, 81)
    assert (clip.text, clip.context, clip.label, clip.split) == ("words of 8", ["before"], 1, "validation")
    streams = read_streams([str(tmp_path)], ["audio", "vision"])
    assert streams["audio"].rows["9"].shape == (0, 81) and streams["vision"].width == 371
    (tmp_path / "language_sdk.pkl").write_bytes(b"changed")
    assert read_feature_file(tmp_path).sha256 != whole.sha256


def test_cosmic(tmp_path):
    """Texts, labels and splits of dialogues, without features."""
    for number, extra in ((6, []), (7, [{"d": [0, 1]}])):
        content = [{"d": ["M", "F"]}, {"d": [2, 5]}, *extra, {"d": ["one", "two"]}, {"x"}, {"d"}, {"y"}]
        (tmp_path / f"{number}.pkl").write_bytes(pickle.dumps(content))
        clip = by_id(tmp_path / f"{number}.pkl")["d_1"]
        assert (clip.text, clip.context, clip.label, clip.split, clip.speaker) == ("two", ["one"], 5, "test", "F")
    with pytest.raises(ValueError, match="form conversation_texts.* holds no stream of features"):
        read_streams([str(tmp_path / "6.pkl")], ["audio", "vision"])


def write_parquet(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def test_columns_are_named_by_the_user(tmp_path):
    """FILE#COLUMN@ID, in a file and in the folder of a dataset repository; arrays of datasets are lists."""
    sequences, vectors = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]]], [[1.0], [2.0]]
    write_parquet(tmp_path / "f.parquet", uid=["a", "b"], speech=sequences, face=vectors, id=[1, 2])
    with pytest.raises(ValueError, match=r"2 columns of lists \(speech, face\).*say which: FILE#COLUMN"):
        by_id(tmp_path / "f.parquet")
    clips = by_id(f"{tmp_path / 'f.parquet'}#speech@uid")
    assert clips["a"].single.tolist() == [[1, 2], [3, 4]] and clips["b"].single.tolist() == [[5, 6]]
    assert by_id(f"{tmp_path / 'f.parquet'}#face")["2"].single.tolist() == [[2]]
    with pytest.raises(ValueError, match="has no column 'voice'; it has uid, speech, face, id"):
        by_id(f"{tmp_path / 'f.parquet'}#voice")
    digests = {read_feature_file(f"{tmp_path / 'f.parquet'}#{column}").sha256 for column in ("speech", "face")}
    assert len(digests) == 2
    for shard, name in enumerate(("x", "y")):
        write_parquet(tmp_path / f"repo/data/train-0000{shard}-of-00002.parquet", id=[name], speech=[[[1.0, shard]]])
    assert {name: clip.single.tolist() for name, clip in by_id(tmp_path / "repo").items()} == {
        "x": [[1, 0]], "y": [[1, 1]],
    }  # fmt: skip
    streams = read_streams([f"audio={tmp_path / 'repo'}#speech"], ["audio"])
    assert streams["audio"].rows["y"].tolist() == [[1, 1]]
    write_parquet(tmp_path / "ragged.parquet", id=["a"], speech=[[[1.0, 2.0], [3.0]]])
    with pytest.raises(ValueError, match=r"the rows have \[1, 2\] numbers"):
        by_id(tmp_path / "ragged.parquet")


def test_labels_in_a_table_are_no_features(tmp_path, caplog):
    """A column of labels would tell the model what it shall predict."""
    (tmp_path / "f.csv").write_text("clip,AU01,Label,fold,AU02,start\na,0.5,3,1,0.25,0.0\nb,1.5,1,2,0.75,2.0\n")
    assert by_id(tmp_path / "f.csv")["b"].single.tolist() == [[1.5, 0.75]]
    assert "the columns Label, fold, start are not used as features" in caplog.text
    (tmp_path / "g.csv").write_text("clip,label\na,1\n")
    with pytest.raises(ValueError, match="0 columns of lists .* and 0 of numbers; expected"):
        by_id(tmp_path / "g.csv")


def test_an_empty_cell_is_a_clip_without_features(tmp_path):
    write_parquet(tmp_path / "f.parquet", id=["a", "b"], x=[[[1.0]], None])
    assert by_id(tmp_path / "f.parquet").keys() == {"a"}


def test_fixed_size_lists(tmp_path):
    table = pa.table({"id": ["a"], "x": pa.array([[[1.0, 2.0], [3.0, 4.0]]], pa.list_(pa.list_(pa.float32(), 2), 2))})
    pq.write_table(table, tmp_path / "f.parquet")
    assert by_id(tmp_path / "f.parquet")["a"].single.tolist() == [[1, 2], [3, 4]]


def test_ids_that_are_times_find_the_clip(tmp_path):
    """MulT names clips by video, start and end: the clip of the corpus at these times, within a tenth of a second."""
    written.write_mult(tmp_path / "f.pkl")  # all from 1.5 to 2.5 s
    segments = {"v_1": ("trainv0", 1.46, 2.53), "v_2": ("trainv0", 2.0, 3.0), "w_1": ("trainv1", 1.8, 2.5)}
    rows = read_streams([str(tmp_path / "f.pkl")], ["audio"], segments=segments)["audio"].rows
    assert "v_1" in rows and "v_2" not in rows and "w_1" not in rows and "trainv1[1.5,2.5]" in rows
    assert Places(segments).clip_at("trainv0[7]") is None


def test_hostile_pickles_in_a_folder_do_nothing(tmp_path):
    made = tmp_path / "harm"
    folder = tmp_path / "sdk"
    folder.mkdir()
    (folder / "covarep_features_sdk.pkl").write_bytes(pickle.dumps({1: {"punchline_features": Malicious(made)}}))
    with pytest.raises(ValueError, match="was not read: .*only containers, numbers, strings and numpy arrays"):
        by_id(folder)
    assert not made.exists()


def test_mosi_knows_the_places_of_its_segments(tmp_path):
    for layout in ("segmented", "csd", "mmsa"):
        folder = tmp_path / layout
        write_mosi(folder, layout)
        places = Mosi.segments(folder)
        assert bool(places) == (layout != "mmsa") and all(end >= start for _, start, end in places.values())


def test_a_large_array_of_numbers_is_read_as_it_is(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    write_parquet(tmp_path / "f.parquet", id=["a"], x=[values.tolist()])
    assert np.array_equal(by_id(tmp_path / "f.parquet")["a"].single, values)
