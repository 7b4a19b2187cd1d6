"""Each public form of feature file to a row of results in one command, with the embeddings that an independent reading
of the file gives.
"""

import csv
import math
import pickle
from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from datasets_scripts import load_corpus
from examples.tiny_models import save_tiny_language_model
from modeling_semanticmac.commands import train
from modeling_semanticmac.embedding_store import EmbeddingStore
from tests.helpers import feature_files as written
from tests.helpers.cmu_folder import MOSI, write_mosi
from tests.helpers.mustard_folder import write_mustard
from tests.helpers.pickles import Malicious
from tests.helpers.real_corpora import SPLITS, write_real_mosi
from tests.helpers.runs import record, rows

SIZES = ["--hidden_size", "8", "--num_attention_heads", "2", "--num_latents", "2", "--num_bridge_tokens", "2"]
SHORT = ["--num_train_epochs", "1", "--pseudo_labels", "off", "--do_train", "--do_predict", "--use_cpu",
         "--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "false"]  # fmt: skip
MMSA_IDS = {"train": ["a_b_1", "c_1", "c_2", "d_3"], "valid": ["e_1", "f_1"], "test": ["g_1", "h_12", "i_1"]}
ZEROS = np.zeros((0, 1), np.float32)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A tiny language model, and MOSI and MUStARD as they lie on disk, without media."""
    folder = tmp_path_factory.mktemp("forms")
    save_tiny_language_model(folder / "language_model", ["a good film and a bad day", "no words"])
    write_mosi(folder / "mosi", "segmented")
    write_mustard(folder / "mustard")
    return folder


def random(seed: int, length: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(length, width)).astype(np.float32)


def mosi_clips() -> dict[str, tuple[str, float, float]]:
    """Return clip -> video, start and end, of the segments that last."""
    return {f"{video}_{n}": (video, start, end) for video, n, start, end, *_ in MOSI if end > start}


def mmsa(path: Path, aligned: bool):
    found = written.write_mmsa(path / "f.pkl", MMSA_IDS, aligned, {"config": {}} if aligned else None, text_width=6)
    content = pickle.loads((path / "f.pkl").read_bytes())
    content["train"]["audio"][0, 0, 1] = -np.inf  # COVAREP's silence
    (path / "f.pkl").write_bytes(pickle.dumps(content))
    expected = {name.replace("$_$", "_"): dict(zip(("audio", "vision"), pair)) for name, pair in found.items()}
    expected["a_b_1"]["audio"] = expected["a_b_1"]["audio"].copy()
    expected["a_b_1"]["audio"][0, 1] = 0
    for split in MMSA_IDS:
        for row, clip in enumerate(MMSA_IDS[split]):
            expected[clip]["text"] = content[split]["text"][row, : 3 + row % 5]
    return [str(path / "f.pkl"), "--text", "features"], [], expected


def mult(path: Path):
    """The padding is in front, and GloVe does not know the last word of a clip."""
    found = written.write_mult(path / "f.pkl", "front")
    content = pickle.loads((path / "f.pkl").read_bytes())
    content["test"]["text"][3, -1] = 0
    (path / "f.pkl").write_bytes(pickle.dumps(content, protocol=2))
    expected = {clip: dict(zip(("audio", "vision"), pair)) for clip, pair in found.items()}
    for split, part in content.items():
        for row in range(4):
            expected[f"{split}v{row}[1.5,2.5]"]["text"] = part["text"][row, 7 - (2 + row) :]
    return [str(path / "f.pkl"), "--text", "features"], [], expected


def conversations(path: Path, form: str):
    written.write_conversations(path / "f.pkl", form, dialogues=4)
    content = pickle.loads((path / "f.pkl").read_bytes())
    streams = dict(zip(("text", "audio", "vision")[: 2 if form == "meld" else 3], content[3:]))
    expected = {}
    for dialogue, names in content[0].items():
        for row, name in enumerate(names):
            clip = name if form == "iemocap" else f"dia{dialogue}_utt{name}"
            expected[clip] = {m: np.float32(part[dialogue][row])[None] for m, part in streams.items()}
    return [str(path / "f.pkl"), "--text", "features", "--modalities", *streams], [], expected


def hkt(path: Path):
    written.write_hkt(path / "f.pkl")
    content = pickle.loads((path / "f.pkl").read_bytes())
    expected = {
        clip: {"vision": words[1], "audio": words[2]} for part in content.values() for words, _, clip, _ in part
    }
    return [str(path / "f.pkl"), "--task", "humor"], [], expected


def ur_funny(path: Path):
    """One clip has a punchline without words; the pickles are those of Python 2."""
    written.write_ur_funny_sdk(path, more=4)
    names = {"audio": "covarep_features_sdk", "vision": "openface_features_sdk"}
    contents = {m: pickle.loads((path / f"{name}.pkl").read_bytes()) for m, name in names.items()}
    rows, words = (pickle.loads((path / f"word_embedding_{name}.pkl").read_bytes()) for name in ("indexes_sdk", "list"))
    expected = {
        str(clip): {m: np.float32(found[clip]["punchline_features"]) for m, found in contents.items()}
        | {"text": np.float32([words[row] for row in rows[clip]["punchline_embedding_indexes"]])}
        for clip in contents["audio"]
        if contents["audio"][clip]["punchline_features"]
    }
    return [str(path), "--corpus", "ur_funny", "--on_error", "skip", "--text", "features"], [], expected


def of_mosi(arguments: list[str], expected: dict, modality: str = "vision"):
    only = [argument for argument in arguments if not argument.startswith("-")]
    return (
        [*only, "--modalities", "text", modality, "--on_error", "skip"],
        ["mosi"],
        {clip: {modality: x} for clip, x in expected.items()},
    )


def csd(path: Path):
    """Rows of whole videos, one of which begins before the first segment; a row belongs to where it begins."""
    begins = {video: np.arange(-0.05, 1.0, 0.1) for video, *_ in MOSI}
    values = {video: (random(seed, len(begins[video]), 3), begins[video]) for seed, video in enumerate(sorted(begins))}
    written.write_csd(path / "f.csd", values)
    expected = {}
    for clip, (video, start, end) in mosi_clips().items():
        kept = [row for row, begin in enumerate(begins[video]) if start - 1e-3 <= begin < end]
        expected[clip] = values[video][0][kept]
    return of_mosi([f"audio={path / 'f.csd'}"], expected, "audio")


def aligned_csd(path: Path):
    """Entries are counted from 0 by the SDK, in the order of its own; their times say which clip they are."""
    clips = mosi_clips()
    expected = {clip: random(seed, 2, 3) for seed, clip in enumerate(clips)}
    values = {}
    for number, (clip, (video, start, end)) in enumerate(reversed(clips.items())):
        values[f"{video}[{number}]"] = (expected[clip], np.array([start, (start + end) / 2]))
    written.write_csd(path / "f.csd", values)
    return of_mosi([str(path / "f.csd")], expected)


def arrays(path: Path):
    """A dict of arrays by clip, in protocol 2 and a defaultdict."""
    expected = {clip: random(seed, 2 + seed, 4) for seed, clip in enumerate(mosi_clips())}
    content = defaultdict(None, {"$_$".join(clip.rsplit("_", 1)): x for clip, x in expected.items()})
    (path / "f.p").write_bytes(pickle.dumps(content, protocol=2))
    return of_mosi([str(path / "f.p")], expected)


def mult_by_time(path: Path):
    """Ids that are video, start and end: the clips of the corpus at these times."""
    content, expected = {}, {}
    for seed, (clip, (video, start, end)) in enumerate(mosi_clips().items()):
        expected[clip] = random(seed, 3, 2)
        content[clip] = (np.array([video.encode(), str(start).encode(), str(end).encode()]), expected[clip])
    ids, streams = np.stack([x[0] for x in content.values()]), np.stack([x[1] for x in content.values()])
    part = {"vision": streams, "audio": streams, "labels": np.zeros((len(ids), 1, 1)), "id": ids}
    empty = {name: values[:0] for name, values in part.items()}
    (path / "f.pkl").write_bytes(pickle.dumps({"train": part, "test": empty}, protocol=2))
    return of_mosi([str(path / "f.pkl")], expected)


def hdf5(path: Path):
    expected = {clip: random(seed, 3, 8) for seed, clip in enumerate(mosi_clips())}
    with h5py.File(path / "f.hdf5", "w") as file:
        for clip, values in expected.items():
            file[clip] = values
    return of_mosi([str(path / "f.hdf5")], expected)


def table(path: Path):
    """Rows of one clip that are not beside each other, and a column of labels, which is no feature."""
    expected = {clip: random(seed, 2, 2) for seed, clip in enumerate(mosi_clips())}
    with open(path / "f.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "AU01", "label", "AU02"])
        for step in range(2):
            writer.writerows(
                [clip, repr(float(x[step, 0])), 3, repr(float(x[step, 1]))] for clip, x in expected.items()
            )
    return of_mosi([str(path / "f.csv")], expected)


def parquet(path: Path):
    """A folder of Parquet files as a dataset repository has it, with two columns of lists of which one is named."""
    expected = {clip: random(seed, 1 + seed, 3) for seed, clip in enumerate(mosi_clips())}
    (path / "repo/data").mkdir(parents=True)
    for shard, part in enumerate((list(expected)[:3], list(expected)[3:])):
        values = [expected[clip].tolist() for clip in part]
        columns = {"uid": part, "speech": values, "other": [[1.0]] * len(part), "label": [1.0] * len(part)}
        pq.write_table(pa.table(columns), path / f"repo/data/train-{shard:05d}-of-00002.parquet")
    return of_mosi([f"{path / 'repo'}#speech@uid"], expected)


def npy(path: Path):
    """A vector, a sequence and a folder of frames, with a companion file of macOS between."""
    expected = {clip: random(seed, 1 + seed % 3, 4) for seed, clip in enumerate(mosi_clips())}
    for seed, (clip, values) in enumerate(expected.items()):
        if seed == 2:
            (path / "u" / clip).mkdir(parents=True)
            for number, frame in enumerate(values):
                np.save(path / "u" / clip / f"frame_{number}.npy", frame)
        else:
            (path / "u").mkdir(exist_ok=True)
            np.save(path / "u" / f"{clip}.npy", values[0] if len(values) == 1 else values)
    (path / "u/._x.npy").write_bytes(b"\0")
    return of_mosi([str(path / "u")], expected)


def mustard(path: Path):
    """Audio as (d, T) in a pickle of Python 2, ResNet as (T, 2048) in HDF5 (narrower here): one stream from each."""
    clips = [f"1_{n}" for n in range(20)]
    expected = {
        clip: {"audio": random(n, 2 + n % 3, 5), "vision": random(50 + n, 3, 6)} for n, clip in enumerate(clips)
    }
    turned = {clip: np.ascontiguousarray(x["audio"].T) for clip, x in expected.items()}
    (path / "audio_features.p").write_bytes(pickle.dumps(turned, protocol=2))
    with h5py.File(path / "resnet_pool5.hdf5", "w") as file:
        for clip, found in expected.items():
            file[clip] = found["vision"]
    return [f"audio={path / 'audio_features.p'}", f"vision={path / 'resnet_pool5.hdf5'}"], ["mustard"], expected


FORMS = {
    "mmsa": lambda path: mmsa(path, False), "mmsa_fet_aligned": lambda path: mmsa(path, True), "mult": mult,
    "mult_by_time": mult_by_time, "iemocap_9": lambda path: conversations(path, "iemocap"),
    "meld_9": lambda path: conversations(path, "meld"), "meld_10": lambda path: conversations(path, "meld_visual"),
    "hkt": hkt, "ur_funny": ur_funny, "csd": csd, "aligned_csd": aligned_csd, "arrays": arrays, "hdf5": hdf5,
    "table": table, "parquet": parquet, "npy": npy, "mustard": mustard,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_form_to_a_row(form, home, tmp_path):
    features, corpus, expected = FORMS[form](tmp_path)
    arguments = ["--features", *features, "--normalize", "none", "--embeddings_dir", str(tmp_path / "e")]
    if corpus:
        arguments += ["--corpus", corpus[0], "--data_dir", str(home / corpus[0])]
    arguments += [] if "features" in features else ["--language_model", str(home / "language_model")]
    train.main([*SHORT, *SIZES, "--disable_tqdm", "true", *arguments, "--output_dir", str(tmp_path / "run")])
    found = record(tmp_path / "run", "all_results.json")
    figures = {name: value for name, value in found.items() if name.startswith("test_") and name != "test_opened"}
    assert len(figures) > 3 and all(math.isfinite(value) for value in figures.values()), figures
    store = EmbeddingStore(next((tmp_path / "e").glob("features_*")))
    stored = {clip: store.status(clip) for clip in store if store.status(clip).status != "failed"}
    assert stored.keys() == expected.keys()
    for clip, streams in expected.items():
        counts = {modality: getattr(stored[clip], modality) for modality in ("audio", "vision", "text")}
        assert counts == {modality: len(streams.get(modality, ZEROS)) for modality in counts}
        for modality, values in streams.items():
            assert np.array_equal(store.stream(clip, modality).numpy(), values), (clip, modality)
    splits = record(tmp_path / "run", "splits.json")
    assert [row["id"] for row in rows(tmp_path / "run/predictions_test.csv")] == splits["test"]
    assert {clip for clips in splits.values() for clip in clips} <= expected.keys()


def test_the_real_ids_of_mosi_to_a_row(shared, home, tmp_path):
    """MMSA's form with the 2,199 released ids, texts and scores of MOSI and random features."""
    folder = write_real_mosi(shared, tmp_path / "MOSI")
    corpus = load_corpus("mosi", folder, cache_dir=tmp_path / "cache")
    names = dict(zip(SPLITS, ("train", "valid", "test")))
    by_name = {name: ["$_$".join(x.rsplit("_", 1)) for x in corpus[split]["id"]] for split, name in names.items()}
    expected = written.write_mmsa(tmp_path / "unaligned.pkl", by_name, text_width=1)
    command = ["--features", str(tmp_path / "unaligned.pkl"), "--corpus", "mosi", "--data_dir", str(folder)]
    model = ["--language_model", str(home / "language_model"), "--max_steps", "2", "--max_length", "8"]
    own = ["--output_dir", str(tmp_path / "run"), "--embeddings_dir", str(tmp_path / "e")]
    large = ["--per_device_train_batch_size", "128", "--per_device_eval_batch_size", "256", "--disable_tqdm", "true"]
    train.main([*SHORT, *SIZES, *command, *model, *own, *large])
    assert record(tmp_path / "run", "modalities.json")["test"] == {
        "clips": 686, "text": 686, "audio": 686, "vision": 686,
    }  # fmt: skip
    figures = record(tmp_path / "run", "all_results.json")
    labels = [float(row["label"]) for row in rows(tmp_path / "run/predictions_test.csv")]
    predictions = [float(row["prediction"]) for row in rows(tmp_path / "run/predictions_test.csv")]
    assert figures["test_mae"] == pytest.approx(np.abs(np.subtract(labels, predictions)).mean(), abs=1e-4)
    assert labels == pytest.approx(corpus["test"]["label"][:], abs=1e-6)
    store = EmbeddingStore(next((tmp_path / "e").glob("features_*")))
    train_rows = np.concatenate([expected[clip][0] for clip in by_name["train"]]).astype(float)
    clip = by_name["test"][33]
    scores = (expected[clip][0] - train_rows.mean(axis=0)) / train_rows.std(axis=0)
    np.testing.assert_allclose(store[clip.replace("$_$", "_")][0], scores, atol=1e-5)


@pytest.mark.parametrize("trap", ["hostile", "damaged", "torch tensors", "torch.save"])
def test_what_is_not_safe_to_read_is_refused_before_anything_is_written(trap, home, tmp_path):
    """One command with a pickle that would run code, one that is cut, and tensors of torch."""
    path, made = tmp_path / "f.pkl", tmp_path / "harm"
    written.write_mmsa(path, MMSA_IDS, text_width=1)
    content = pickle.loads(path.read_bytes())
    if trap == "torch.save":
        torch.save(content, path)
    else:
        content["train"]["audio"] = {
            "hostile": Malicious(made), "damaged": None, "torch tensors": torch.as_tensor(content["train"]["audio"]),
        }[trap]  # fmt: skip
        path.write_bytes(pickle.dumps(content)[: -9 if trap == "damaged" else None])
    message = {
        "hostile": "only containers, numbers, strings and numpy arrays are read",
        "damaged": "was not read: .*Nothing in it was run",
        "torch tensors": 'it holds torch tensors.*return_type="np"',
        "torch.save": "is a zip archive, perhaps a file of torch.save",
    }[trap]
    with pytest.raises(ValueError, match=message):
        train.main([*SHORT, *SIZES, "--features", str(path), "--language_model", str(home / "language_model"),
                    "--output_dir", str(tmp_path / "run")])  # fmt: skip
    assert not made.exists() and not (tmp_path / "run").exists()
