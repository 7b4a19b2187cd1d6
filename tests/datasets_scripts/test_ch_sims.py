"""CH-SIMS and CH-SIMS v2 in each of their layouts, and the real annotation."""

import pytest

from datasets_scripts import load_corpus
from datasets_scripts.corpus import corpus_builder
from modeling_semanticmac.metrics import compute_metrics

from .real_corpora import write_real_sims
from .sims_folder import SIMS, V2, write_ch_sims, write_ch_sims_v2

SPLITS = ("train", "validation", "test")


@pytest.fixture
def load(tmp_path):
    return lambda name, folder, **options: load_corpus(name, folder, cache_dir=tmp_path / "cache", **options)


def rows_of(corpus) -> dict[str, dict]:
    return {row["id"]: row for split in SPLITS for row in corpus[split]}


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
        (["#NAME?", "0001", "x", 0.0, "", "", "", "", "train"], "row 8: video_id '#NAME\\?' .* a spreadsheet has damaged them"),
        (["video_9", "0001", "x", 1.2, "", "", "", "", "train"], "row 8: label is '1.2'; expected a score from -1 to 1"),
        (["video_9", "0001", "x", 0.2, "", "", "", "", "all"], "row 8: mode is 'all'; expected train, valid or test"),
        (["video_9", "0001", "x", "", "", "", "", "", "train"], "row 8: there is no label"),
    ],
)  # fmt: skip
def test_damaged_rows_are_named(tmp_path, load, row, message):
    folder = write_ch_sims(tmp_path / "sims")
    with open(folder / "label.csv", "a", encoding="utf-8") as file:
        file.write(",".join(map(str, row)) + "\n")
    with pytest.raises(ValueError, match=message):
        load("ch_sims", folder)


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
