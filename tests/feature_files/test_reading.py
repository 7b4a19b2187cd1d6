"""Every public form of a feature file, told by its content: sequences without padding, ids, text, labels, splits."""

import pickle

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modeling_semanticmac.feature_files import read_feature_file
from modeling_semanticmac.feature_files.reading import clips_of
from modeling_semanticmac.feature_files.streams import padding_side, without_padding
from tests.helpers import feature_files as written
from tests.helpers.pickles import Malicious

IDS = {"train": ["a_b_1", "c_1"], "valid": ["d_1"], "test": ["e_1", "f_12"]}


def by_id(path) -> dict:
    return {clip.id: clip for clip in clips_of(read_feature_file(path))}


@pytest.mark.parametrize("aligned", [True, False])
def test_mmsa(tmp_path, aligned):
    """Lengths come from the file, or from the tokens where it is aligned and has none; `config` is not a split."""
    path = tmp_path / "anything.bin"
    expected = written.write_mmsa(path, IDS, aligned, {"config": {"audio": {"tool": "x"}}, "align": True})
    file, clips = read_feature_file(path), by_id(path)
    assert file.form == "mmsa" and clips.keys() == expected.keys() == {"a$_$b_1", "c$_$1", "d$_$1", "e$_$1", "f$_$12"}
    for name, (audio, vision) in expected.items():
        assert np.array_equal(clips[name].audio, audio) and np.array_equal(clips[name].vision, vision)
    clip = clips["f$_$12"]
    assert (clip.text, clip.label, clip.split) == ("text of f_12", 3.0, "test")
    assert clip.unimodal == {"text": 2.0} and clip.token_ids[1].sum() == 4 and clip.text_features.shape == (4, 768)
    assert clips["d$_$1"].split == "validation"


def test_mmsa_with_splits_of_different_sizes_inside_is_refused(tmp_path):
    path = tmp_path / "x.pkl"
    written.write_mmsa(path, IDS)
    content = pickle.loads(path.read_bytes())
    content["test"]["id"] = content["test"]["id"][:1]
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="x.pkl, test has 1 ids but .*'audio': 2"):
        by_id(path)


@pytest.mark.parametrize("side", ["front", "back"])
def test_mult_is_padded_on_one_side(tmp_path, side):
    expected, clips = written.write_mult(tmp_path / "mosei.pkl", side), by_id(tmp_path / "mosei.pkl")
    assert read_feature_file(tmp_path / "mosei.pkl").form == "mult" and clips.keys() == expected.keys()
    for name, (audio, vision) in expected.items():
        assert np.array_equal(clips[name].audio, audio) and np.array_equal(clips[name].vision, vision)
    assert clips["testv3[1.5,2.5]"].label == 3.0 and clips["validv0[1.5,2.5]"].split == "validation"


def test_padding():
    filled = np.ones((3, 2), np.float32)
    zeros = np.zeros((2, 2), np.float32)
    front, back = np.concatenate([zeros, filled]), np.concatenate([filled, zeros])
    assert padding_side([front, np.ones((5, 2))], "x") == "front" and padding_side([back], "x") == "back"
    assert padding_side([np.ones((5, 2)), np.zeros((5, 2))], "x") is None
    assert np.array_equal(without_padding(front, "front"), filled) and np.array_equal(
        without_padding(back, "back"), filled
    )
    inner = np.concatenate([filled, zeros, filled])
    assert np.array_equal(without_padding(inner, "back"), inner)  # silence inside is no padding
    assert without_padding(np.zeros((5, 2)), None).shape == (0, 2)  # a missing modality
    with pytest.raises(ValueError, match="f: 1 clips begin and 1 end with rows of zeros, so the side .* is unknown"):
        padding_side([front, back], "f")


@pytest.mark.parametrize("form, has_vision", [("iemocap", True), ("meld", False), ("meld_visual", True)])
def test_conversations(tmp_path, form, has_vision):
    """The 9-tuples of IEMOCAP and MELD are told apart by what stands at the sixth place."""
    written.write_conversations(tmp_path / "f.pkl", form)
    clips = by_id(tmp_path / "f.pkl")
    dialogue, second = ("d1", "d1_F001") if form == "iemocap" else (0, "dia0_utt1")
    assert read_feature_file(tmp_path / "f.pkl").form == "conversations" and len(clips) == 5
    clip = clips[second]
    assert (clip.text, clip.context, clip.label, clip.split) == (f"s1 of {dialogue}", [f"s0 of {dialogue}"], 1, "train")
    assert clip.audio.shape == (1, 4) and clip.text_features.shape == (1, 6) and (clip.vision is not None) == has_vision
    assert clip.speaker == ("F" if form == "iemocap" else "1")


def test_hkt(tmp_path):
    written.write_hkt(tmp_path / "humor.pkl")
    clips = by_id(tmp_path / "humor.pkl")
    clip = clips["dev1"]
    assert clip.vision.shape == (3, 91) and clip.audio.shape == (3, 81) and clip.split == "validation"
    assert (clip.text, clip.context, clip.label) == ("punch line 1", ["a first sentence", "a second"], 1)
    assert clips["train0"].context == []


def test_arrays_by_id_are_turned_where_time_runs_along_the_columns(tmp_path):
    arrays = {"1_1": np.arange(8.0).reshape(2, 4), "1_2": np.arange(6.0).reshape(2, 3)}
    (tmp_path / "audio.p").write_bytes(pickle.dumps(arrays, protocol=2))
    clips = by_id(tmp_path / "audio.p")
    assert clips["1_1"].single.shape == (4, 2) and clips["1_2"].single[0].tolist() == [0.0, 3.0]
    (tmp_path / "vectors.p").write_bytes(pickle.dumps({"a": np.ones(3), "b": np.ones(3)}))
    assert by_id(tmp_path / "vectors.p")["a"].single.shape == (1, 3)


def test_npy_folders(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(4))
    np.save(tmp_path / "b.npy", np.ones((3, 4)))
    (tmp_path / "c").mkdir()
    for name in ("2", "1"):
        np.save(tmp_path / "c" / name, np.full(4, float(name)))
    (tmp_path / "._a.npy").write_bytes(b"\0")
    file, clips = read_feature_file(tmp_path), by_id(tmp_path)
    assert file.form == "npy" and {name: clip.single.shape for name, clip in clips.items()} == {
        "a": (1, 4),
        "b": (3, 4),
        "c": (2, 4),
    }
    assert clips["c"].single[:, 0].tolist() == [1.0, 2.0]
    (tmp_path / "d.npy").write_bytes(b"no array")
    with pytest.raises(
        ValueError, match="d.npy was not read: .*; expected an array of numbers as numpy.save writes it"
    ):
        by_id(tmp_path)


def test_hdf5(tmp_path):
    with h5py.File(tmp_path / "f.bin", "w") as file:
        file["1_60"] = np.ones((5, 8), np.float32)
    assert by_id(tmp_path / "f.bin")["1_60"].single.shape == (5, 8)
    with h5py.File(tmp_path / "covarep.csd", "w") as file:
        file["COVAREP/data/vid/features"] = np.ones((4, 74), np.float32)
        file["COVAREP/data/vid/intervals"] = np.arange(8.0).reshape(4, 2)
    clip = by_id(tmp_path / "covarep.csd")["vid"]
    assert clip.single.shape == (4, 74) and clip.interval.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_tables(tmp_path):
    (tmp_path / "au.csv").write_text("Clip,AU01,AU02,note\nx,1,2,a\ny,3,4,b\nx,5,6,c\n")
    clips = by_id(tmp_path / "au.csv")
    assert clips["x"].single.tolist() == [[1, 2], [5, 6]] and clips["y"].single.tolist() == [[3, 4]]
    table = pa.table({"id": ["a", "b"], "feats": [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]]], "label": ["x", "y"]})
    pq.write_table(table, tmp_path / "f.parquet")
    assert by_id(tmp_path / "f.parquet")["a"].single.tolist() == [[1, 2], [3, 4]]
    (tmp_path / "no.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no.csv has the columns a, b; expected one of id, clip"):
        by_id(tmp_path / "no.csv")


def test_the_real_action_units(shared):
    file = shared / "real/ravdess_speech/action_units.csv"
    clips = by_id(file)
    assert len(clips) == 1440 and {clip.single.shape for clip in clips.values()} == {(1, 35)}
    assert clips["03-01-01-01-01-01-01"].single[0, 2] == pytest.approx(0.930510)


@pytest.mark.parametrize(
    "content, message",
    [
        (pickle.dumps({"a": 1})[:-3], "was not read"),
        (
            pickle.dumps({"train": {"x": 1}, "test": {"x": 1}}),
            "holds a dict with the keys train, test; expected one of",
        ),
        (pickle.dumps([1, 2, 3]), "holds list of 3; expected one of"),
        (b"PK\x03\x04rest of an archive", "is a zip archive, perhaps a file of torch.save"),
        (b"\x89HDF\r\n\x1a\nhalf", "was not read|unable|Unable|truncated"),
    ],
)
def test_what_is_no_feature_file_is_refused(tmp_path, content, message):
    path = tmp_path / "f.pkl"
    path.write_bytes(content)
    with pytest.raises((ValueError, OSError), match=message):
        by_id(path)


def test_a_hostile_pickle_does_nothing(tmp_path):
    made = tmp_path / "harm"
    (tmp_path / "f.pkl").write_bytes(pickle.dumps({"train": Malicious(made), "test": {}}))
    with pytest.raises(ValueError, match="was not read: .*only containers, numbers, strings and numpy arrays"):
        by_id(tmp_path / "f.pkl")
    assert not made.exists()


def test_missing_and_empty(tmp_path):
    with pytest.raises(FileNotFoundError, match="no feature file at"):
        read_feature_file(tmp_path / "nothing")
    with pytest.raises(ValueError, match="holds no .npy files"):
        read_feature_file(tmp_path)


def test_an_id_that_occurs_twice_is_refused(tmp_path):
    written.write_mmsa(tmp_path / "f.pkl", {"train": ["a_1"], "test": ["a_1"]})
    with pytest.raises(ValueError, match="clip id 'a\\$_\\$1' occurs twice"):
        by_id(tmp_path / "f.pkl")
