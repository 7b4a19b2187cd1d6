"""The clip schema, the options and tasks of corpora, and the cache of their rows."""

import logging
import os

import datasets
import pytest

from datasets_scripts import load_corpus, task_specification
from datasets_scripts.corpus import SPLITS, CorpusBuilder, CorpusConfig, clip_features, make_clip
from datasets_scripts.corpus_files import CorpusFiles, find_one, media_in
from modeling_semanticmac.configuration_semanticmac import TaskSpecification
from tests.helpers.meld_folder import ROWS, add_clip, make_meld

COLUMNS = {
    "id", "video_id", "speaker", "media", "text", "context", "context_speakers", "label", "label_text", "label_audio",
    "label_vision",
}  # fmt: skip


@pytest.fixture
def load(tmp_path):
    """Load MELD's emotions with a cache of this test's own."""
    return lambda folder, **options: load_corpus("meld", folder, "emotion", cache_dir=tmp_path / "cache", **options)


def test_label_features_follow_the_task():
    regression = clip_features(task_specification("synthetic", "sentiment"))
    assert regression["label"] == datasets.Value("float32") and set(regression) == COLUMNS
    classes = clip_features(task_specification("meld", "sentiment"))["label"]
    assert classes.names == ["neutral", "positive", "negative"]
    several = clip_features(task_specification("synthetic", "emotion"))["label"]
    assert several.feature == datasets.Value("int8") and several.length == 4


def test_a_clip_has_every_column_and_no_other():
    clip = make_clip("a", 1.0, context=["b"])
    assert (
        set(clip) == COLUMNS and clip["context"] == ["b"] and clip["label_text"] is None and clip["media"]["path"] == ""
    )
    with pytest.raises(ValueError, match="no column .'contxt'"):
        make_clip("a", 1.0, contxt=[])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: task_specification("mled"), "unknown corpus 'mled'; known: ch_sims, .* Did you mean .meld."),
        (lambda: load_corpus("x", "."), "unknown corpus .x.; known: ch_sims, "),
        (
            lambda: task_specification("meld", "emotions"),
            "unknown task 'emotions' of meld; known: emotion, sentiment. Did you",
        ),
        (
            lambda: load_corpus("mustard", ".", flod=1),
            "unknown option 'flod' of mustard; known: context, fold, .*mean 'fold'",
        ),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_first_task_is_the_default():
    assert task_specification("meld").name == "emotion"
    assert task_specification("synthetic") == TaskSpecification(
        "sentiment", "regression", ("sentiment",), (-3, 3), "mosi"
    )


def test_missing_files_are_named_with_what_is_there(tmp_path, load):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "train").mkdir()
    with pytest.raises(
        FileNotFoundError, match="train_sent_emo.csv, train/train_sent_emo.csv; it holds notes.txt, train/"
    ):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        load(tmp_path / "nowhere")


def test_one_of_several_candidates(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("same")
    assert find_one(tmp_path, ["x", "b", "a"], "table") == tmp_path / "b"
    (tmp_path / "c").write_text("other")
    with pytest.raises(ValueError, match="they differ: a, c"):
        find_one(tmp_path, ["a", "c"], "table")


def test_media_files_without_litter(tmp_path):
    wanted = add_clip(tmp_path, "first", "dia0")
    add_clip(tmp_path, "second", "dia0")
    add_clip(tmp_path, "first", "._dia0")
    other = add_clip(tmp_path, "second", "dia1")
    (tmp_path / "second" / "notes.txt").touch()
    found = media_in([tmp_path / "first", tmp_path / "absent", tmp_path / "second"])
    assert found == {"dia0": wanted, "dia1": other}


def test_an_edited_annotation_file_is_seen(tmp_path, load):
    folder = make_meld(tmp_path / "meld")
    assert load(folder)["test"]["text"] == ["Oh", "Ah"]
    path = folder / "test_sent_emo.csv"
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"Ah", b"Eh"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size and time: only the content tells
    assert load(folder)["test"]["text"] == ["Oh", "Eh"]


def test_media_that_come_later_are_seen(tmp_path, load):
    folder = make_meld(tmp_path / "meld")
    assert [media["path"] for media in load(folder)["test"]["media"]] == ["", ""]
    clip = add_clip(folder, "output_repeated_splits_test", "dia0_utt1")
    media = load(folder)["test"]["media"]
    assert [entry["path"] for entry in media] == ["", str(clip)] and os.path.isabs(clip)
    assert media[0]["start"] is None and media[0]["crop"] is None


def test_options_and_folders_do_not_share_rows(tmp_path, load):
    one, two = make_meld(tmp_path / "one"), make_meld(tmp_path / "two")
    add_clip(two, "train_splits", "dia0_utt0")
    assert load(one)["train"][1]["context"] and not load(one, context=False)["train"][1]["context"]
    assert load(one)["train"][1]["context"]
    assert load(one)["train"][0]["media"]["path"] == "" != load(two)["train"][0]["media"]["path"]


def test_rows_are_made_once(tmp_path, load):
    folder = make_meld(tmp_path / "meld")
    load(folder)
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.arrow")}
    load(folder, context=True)  # the default, said aloud
    load(f"{folder}/../meld")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.arrow")} == first
    assert len(first) == len(SPLITS)


def test_clips_without_media_are_counted(tmp_path, load, caplog):
    folder = make_meld(tmp_path / "meld")
    with caplog.at_level(logging.INFO, "datasets_scripts"):
        load(folder)
    assert "train 4, validation 2, test 2 clips; 8 of 8 have no media file (" in caplog.text
    for split, place in (("train", "train_splits"), ("test", "output_repeated_splits_test"), ("dev", "dev")):
        for *_, dialogue, utterance in ROWS[split][: 1 if split == "dev" else None]:
            add_clip(folder, place, f"dia{dialogue}_utt{utterance}")
    caplog.clear()
    with caplog.at_level(logging.INFO, "datasets_scripts"):
        load(folder)
    assert "1 of 8 have no media file (dev_dia0_utt1): only their text can be used" in caplog.text


class Twins(CorpusBuilder):
    """A corpus whose clips are what a test says."""

    BUILDER_CONFIGS = [CorpusConfig(name="sentiment", task=task_specification("synthetic"))]
    IDS: dict[str, list[str]] = {}

    @classmethod
    def find_files(cls, folder, config):
        return CorpusFiles({})

    def clips(self, split):
        yield from (make_clip(id, 0.5) for id in self.IDS[split])

    def dropped_clips(self, split):
        return {"lost": "it has no label"} if split == "train" else {}


@pytest.mark.parametrize(
    "train, validation, message",
    [
        (["a", "a"], ["b"], "clip id 'a' occurs twice in train; ids are unique"),
        (["a", "c"], ["b"], "clip id 'c' occurs in train and in test; ids are unique"),
        (
            ["a"],
            [],
            "a split has no clips .train 1, validation 0, test 1.; .* rows that are not clips: 1 .it has no label.",
        ),
    ],
)
def test_splits_that_cannot_be_used(tmp_path, monkeypatch, train, validation, message):
    """A clip of two splits would be trained on and tested on."""
    monkeypatch.setattr(Twins, "IDS", {"train": train, "validation": validation, "test": ["c"]})
    with pytest.raises(ValueError, match=message):
        Twins(None, tmp_path, tmp_path / "cache").build()


def test_an_id_that_is_in_two_splits_is_not_dealt_out_either(tmp_path, monkeypatch):
    monkeypatch.setattr(Twins, "IDS", {"train": ["a", "c"], "validation": ["b"], "test": ["c"]})
    path = tmp_path / "list.json"
    path.write_text('{"train": ["a"], "validation": ["b"], "test": ["c"]}')
    with pytest.raises(ValueError, match="clip id 'c' occurs in train and in test"):
        Twins(None, tmp_path, tmp_path / "cache", ids_file=str(path)).build()
