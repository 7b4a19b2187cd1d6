"""CH-SIMS and CH-SIMS v2 in each of their layouts, and the real annotation."""

import pickle

import pytest

from datasets_scripts import load_corpus
from datasets_scripts.loading import corpus_builder
from modeling_semanticmac.metrics import compute_metrics
from tests.helpers.real_corpora import SPLITS, rows_of, write_real_sims
from tests.helpers.sims_folder import SIMS, V2, write_ch_sims, write_ch_sims_v2


@pytest.fixture
def load(tmp_path):
    return lambda name, folder, **options: load_corpus(name, folder, cache_dir=tmp_path / "cache", **options)


def assert_clips(corpus, expected) -> None:
    found = rows_of(corpus)
    assert found.keys() == {f"{row[0]}_{row[1]}" for row in expected}
    for video, clip, text, m, t, a, v, split in expected:
        row = found[f"{video}_{clip}"]
        labels = [row[name] for name in ("label", "label_text", "label_audio", "label_vision")]
        assert labels == pytest.approx([m, t, a, v]) and row["text"] == text and row["video_id"] == video
        assert row["media"]["path"].endswith(f"Raw/{video}/{clip}.mp4")
        assert row["id"] in corpus[{"valid": "validation"}.get(split, split)]["id"]


@pytest.mark.parametrize("layout", ["headerless", "header", "stripped", "metadata", "pickle"])
def test_every_layout_of_the_first_version(tmp_path, load, layout):
    assert_clips(load("ch_sims", write_ch_sims(tmp_path / "sims", layout), media="required"), SIMS)


@pytest.mark.parametrize("layout", ["meta", "stripped"])
def test_the_second_version(tmp_path, load, layout):
    assert_clips(load("ch_sims_v2", write_ch_sims_v2(tmp_path / "sims", layout), media="required"), V2)


def test_the_unsupervised_part_is_refused(tmp_path, load):
    with pytest.raises(ValueError, match="has no mode; .* The unsupervised part of CH-SIMS v2 has no labels"):
        load("ch_sims_v2", write_ch_sims_v2(tmp_path / "u", "unsupervised"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            ["#NAME?", "0001", "x", 0.0, "", "", "", "", "train"],
            "row 8: video_id '#NAME\\?' .* a spreadsheet has damaged them",
        ),
        (
            ["video_9", "0001", "x", 1.2, "", "", "", "", "train"],
            "row 8: label is '1.2'; expected a score from -1 to 1",
        ),
        (["video_9", "0001", "x", 0.2, "", "", "", "", "all"], "row 8: mode is 'all'; expected train, valid or test"),
        (["video_9", "0001", "x", "", "", "", "", "", "train"], "row 8: there is no label"),
        (["video_9", "0001", "x", 0.2], "row 8 has 4 cells, .* expected video_id, clip_id"),
        (
            ["video_9", "0001", "x", "y", 0.2, "", "", "", "", "train"],
            "row 8 has 10 cells, .* a comma stands in quotes",
        ),
    ],
)
def test_damaged_rows_are_named(tmp_path, load, row, message):
    folder = write_ch_sims(tmp_path / "sims")
    with open(folder / "label.csv", "a", encoding="utf-8") as file:
        file.write(",".join(map(str, row)) + "\n")
    with pytest.raises(ValueError, match=message):
        load("ch_sims", folder)


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("train_index", "row\n0\n", "train_index.csv: its columns are .'row'.; expected index"),
        ("train_index", "index\nx\n", "train_index.csv: index 'x'; the tables have 7 rows"),
        ("train_index", "index\n7\n", "train_index.csv: index '7'; the tables have 7 rows"),
        ("train_index", "index\n0\n1\n2\n3\n4\n5\n6\n", "val_index.csv: index . is in train already"),
        (
            "sentiment/label_A",
            "video_id,clip_id,label\nvideo_0001,1,0.0\n",
            "label_A.csv lists other clips than .*label_M.csv",
        ),
        (
            "sentiment/label_M",
            "video_id,clip_id\n",
            "label_M.csv: its columns are .*; expected video_id, clip_id, label",
        ),
    ],
)
def test_tables_that_contradict_each_other(tmp_path, load, table, content, message):
    folder = write_ch_sims(tmp_path / "sims", "metadata")
    (folder / f"metadata/{table}.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        load("ch_sims", folder)


def test_rows_in_no_split_are_told(tmp_path, load):
    folder = write_ch_sims(tmp_path / "sims", "metadata")
    path = folder / "metadata/train_index.csv"
    first, *others = path.read_text().split()[1:]
    path.write_text(f"index\n{first}\n")
    assert len(load("ch_sims", folder)["train"]) == 1
    dropped = corpus_builder("ch_sims")(None, folder, tmp_path / "cache").dropped_clips("train")
    train = [row for row in sorted(SIMS, key=lambda row: (row[1], row[0])) if row[-1] == "train"]
    assert dropped == {f"{row[0]}_{row[1]}": "in no index of a split" for row in train[1:]} and len(others) == len(
        dropped
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda parts: [], "part 'all' holds list; expected train, valid and test"),
        (
            lambda parts: {"train": {}},
            "part 'train' holds dict; expected train, valid and test, each with as many id, raw_text",
        ),
        (
            lambda parts: {"other": parts["train"]},
            "part 'other' holds 3 lists of .3, 3, 3.; expected train, valid and test",
        ),
        (lambda parts: {"train": parts["train"] | {"raw_text": ["a"]}}, "part 'train' holds 3 lists of .3, 1, 3."),
        (
            lambda parts: {"train": parts["train"] | {"id": ["a", "b", "c"]}},
            "train 0: id 'a'; expected <video_id>._.<clip_id>",
        ),
        (
            lambda parts: {"train": parts["train"] | {"regression_labels_T": [1, 2, 0]}},
            "train 1: label_T is '2'; expected a score",
        ),
    ],
)
def test_pickles_of_another_form(tmp_path, load, change, message):
    path = write_ch_sims(tmp_path / "sims", "pickle") / "Processed/unaligned_39.pkl"
    path.write_bytes(pickle.dumps(change(pickle.loads(path.read_bytes()))))
    with pytest.raises(ValueError, match=message):
        load("ch_sims", tmp_path / "sims")


@pytest.mark.parametrize(
    ("version", "name", "counts"),
    [(1, "ch_sims", (1368, 456, 457)), (2, "ch_sims_v2", (2722, 647, 1034))],
)
def test_the_real_annotation(tmp_path, shared, load, version, name, counts):
    """Counts, and a golden value: always zero has this accuracy on the test split."""
    corpus = load(name, write_real_sims(shared, tmp_path / "sims", version))
    assert tuple(len(corpus[split]) for split in SPLITS) == counts
    builder = corpus_builder(name)
    assert builder.expected_counts("sentiment") == dict(zip(SPLITS, counts)) == builder.TABLE_II["sentiment"]
    labels = corpus["test"].with_format("numpy")["label"][:]
    found = compute_metrics(builder.task_config(None).task, [[0.0]] * len(labels), labels)
    golden = {1: (0.6937, 0.1510, 0.6057), 2: (0.5909, 0.1190, 0.5392)}[version]
    assert (round(found["sims_acc2"], 4), round(found["sims_acc3"], 4), round(found["sims_mae"], 4)) == golden


def test_the_second_version_holds_the_first(tmp_path, shared, load):
    """Same labels, same splits; ids stay unique although they have underscores in both parts."""
    one, two = (
        load(name, write_real_sims(shared, tmp_path / name, version))
        for version, name in ((1, "ch_sims"), (2, "ch_sims_v2"))
    )
    for split in SPLITS:
        first, second = ({row["id"]: row["label"] for row in corpus[split]} for corpus in (one, two))
        assert all(second[id] == label for id, label in first.items())
