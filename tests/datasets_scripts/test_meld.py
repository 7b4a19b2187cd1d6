"""MELD: the layouts, encodings and quirks of its releases, and the real annotation files."""

from collections import Counter

import pytest

from datasets_scripts import load_corpus, task_specification
from datasets_scripts.meld import KNOWN_BAD_MEDIA, Meld, decode_text, read_utterances
from modeling_semanticmac.media_decoding import open_media
from tests.helpers.meld_folder import ENCODINGS, ROWS, add_clip, make_meld, write_meld

TRAIN_TEXTS = ["\u201cWhat?\u201d\u2026", "No way", "I can\u2019t.", "Hi"]


@pytest.fixture
def load(tmp_path):
    """Load MELD with a cache of this test's own."""
    return lambda folder, task="emotion", **options: load_corpus(
        "meld", folder, task, cache_dir=tmp_path / "cache", **options
    )


def test_rows_of_a_small_release(tmp_path, load):
    corpus = load(make_meld(tmp_path / "meld"))
    train = corpus["train"]
    assert train["id"] == ["train_dia0_utt0", "train_dia0_utt1", "train_dia0_utt3", "train_dia2_utt0"]
    assert train["text"] == TRAIN_TEXTS
    assert train["context"] == [[], TRAIN_TEXTS[:1], TRAIN_TEXTS[:2], []]
    assert train["context_speakers"] == [[], ["Joey"], ["Joey", "The Interviewer"], []]
    assert train["video_id"] == ["train_dia0"] * 3 + ["train_dia2"]
    assert train["speaker"] == ["Joey", "The Interviewer", "Chandler", "Joey"]
    # The official ids: neutral 0, surprise 1, fear 2, sadness 3, joy 4, disgust 5, anger 6.
    assert [corpus[split]["label"] for split in corpus] == [[1, 0, 6, 4], [2, 5], [3, 4]]
    assert corpus["validation"]["text"][0] == "caf\u00e9"


def test_later_utterances_follow_the_earlier_ones_in_the_context(tmp_path, load):
    folder = make_meld(tmp_path / "meld")
    first, second, third, _ = TRAIN_TEXTS
    found = load(folder, later_context=1)["train"]["context"]
    assert found == [[second], [first, third], [first, second], []]
    assert load(folder, later_context=-1)["train"]["context"][0] == [second, third]
    assert load(folder, later_context=-1, context=False)["train"]["context"][1] == [third]
    found = load(folder, earlier_context=1, later_context=1)["train"]
    assert found["context"] == [[second], [first, third], [second], []]
    assert found["context_speakers"] == [["The Interviewer"], ["Joey", "Chandler"], ["The Interviewer"], []]
    assert load(folder, earlier_context=0)["train"]["context"] == [[], [], [], []]
    for name in ("earlier_context", "later_context"):
        with pytest.raises(ValueError, match=f"{name} is -2; expected a number of utterances"):
            load(folder, **{name: -2})


def test_sentiment_has_its_own_ids(tmp_path, load):
    corpus = load(make_meld(tmp_path / "meld"), "sentiment")
    assert corpus["train"]["label"] == [1, 0, 2, 1]
    assert task_specification("meld", "sentiment").label_names == ("neutral", "positive", "negative")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_gives_the_same_text(tmp_path, load, encoding):
    corpus = load(make_meld(tmp_path / encoding, encoding))
    assert corpus["train"]["text"] == TRAIN_TEXTS and corpus["validation"]["text"][0] == "caf\u00e9"


def test_a_byte_that_no_encoding_knows_does_not_stop():
    assert decode_text(b"a\x81b\x92") == "a\ufffdb\u2019"
    assert decode_text("a\x85\x81".encode()) == "a\u2026\ufffd"


@pytest.mark.parametrize(
    "csv_place, clips",
    [
        ("{split}_sent_emo.csv", "{folder}"),
        ("MELD.Raw/{split}_sent_emo.csv", "MELD.Raw/{folder}"),
        ("{split}/{split}_sent_emo.csv", "{split}/{folder}"),
        ("MELD.Raw/{split}/{split}_sent_emo.csv", "MELD.Raw/{split}/{folder}"),
        ("{split}_sent_emo.csv", "MELD.Raw/{split}/{folder}"),
        ("{split}_sent_emo.csv", "{split}"),
    ],
)
def test_layouts_are_found_by_looking(tmp_path, load, csv_place, clips):
    folder = make_meld(tmp_path / "meld", csv_place=csv_place)
    names = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
    wanted = [add_clip(folder, clips.format(split=split, folder=name), "dia0_utt0") for split, name in names.items()]
    corpus = load(folder)
    assert [corpus[split][0]["media"]["path"] for split in corpus] == [str(path) for path in wanted]


@pytest.mark.parametrize("corrected_last", [True, False])
def test_corrected_clips_are_preferred_and_litter_ignored(tmp_path, load, corrected_last):
    folder = make_meld(tmp_path / "meld")
    place = "output_repeated_splits_test"
    names = ["dia0_utt0", "final_videos_testdia0_utt0", "._dia0_utt1", "dia0_utt10", "dia0_utt1_copy"]
    for name in names if corrected_last else reversed(names):
        add_clip(folder, place, name)
    paths = [media["path"] for media in load(folder)["test"]["media"]]
    assert paths == [str(folder / place / "final_videos_testdia0_utt0.mp4"), ""]


def test_the_wrong_clips_can_be_asked_for(tmp_path, load):
    folder = write_meld(tmp_path / "meld")
    right, wrong = (
        {clip["id"]: clip["media"]["path"].rpartition("/")[2] for clip in load(folder, corrected=corrected)["test"]}
        for corrected in (True, False)
    )
    assert right == {"test_dia0_utt0": "dia0_utt0.mp4", "test_dia0_utt1": "final_videos_testdia0_utt1.mp4"}
    assert wrong == {"test_dia0_utt0": "dia0_utt0.mp4", "test_dia0_utt1": "dia0_utt1.mp4"}


def test_clips_without_a_row_are_not_used_and_rows_without_a_clip_are_text(tmp_path, load):
    folder = write_meld(tmp_path / "meld")
    corpus = load(folder)
    assert [len(clips) for clips in corpus.values()] == [len(rows) for rows in ROWS.values()]
    assert [bool(media["path"]) for media in corpus["validation"]["media"]] == [False, True]
    unused = set(Meld(None, folder, tmp_path / "cache").files.media) - {
        id for clips in corpus.values() for id in clips["id"]
    }
    assert unused == {"test_dia93_utt5", "test_dia108_utt1"}
    with pytest.raises(FileNotFoundError, match="1 of 8 clips have no media file .dev_dia0_utt0."):
        load(folder, media="required")


def test_wrong_cuts_end_at_the_limit(tmp_path, load):
    media = load(write_meld(tmp_path / "meld"), max_seconds=20)["train"]["media"]
    assert {(clip["start"], clip["end"]) for clip in media} == {(None, 20.0)}
    assert {"test_dia38_utt4", "test_dia220_utt0", "train_dia309_utt0"} <= {
        clip for clip, why in KNOWN_BAD_MEDIA.items() if "wrong cut" in why
    }


def test_the_media_of_the_small_release_can_be_read(tmp_path, load):
    corpus = load(write_meld(tmp_path / "meld", with_media=True))
    for path in {clip["path"] for clips in corpus.values() for clip in clips["media"]}:
        with open_media(path) as media:
            assert media.info.video and media.info.audio and media.info.duration == pytest.approx(0.6, abs=0.1)


@pytest.mark.parametrize(
    "old, new, message",
    [
        (b"anger", b"rage", "train_dia0_utt3 has the emotion 'rage'; expected one of neutral, surprise"),
        (b"Utterance_ID", b"Utt", "has no column Utterance_ID"),
        (b"negative,0,3", b"negative,0,x", "line 2: Dialogue_ID '0' and Utterance_ID 'x'"),
        (b"neutral,neutral,0,1", b"neutral,neutral,0,3", "'train_dia0_utt3' occurs twice"),
    ],
)
def test_what_cannot_be_right_is_named(tmp_path, load, old, new, message):
    folder = make_meld(tmp_path / "meld")
    path = folder / "train_sent_emo.csv"
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(ValueError) as caught:
        load(folder)
    assert message in str(caught.value)


def test_the_real_annotation_files(shared, load):
    corpus = load(shared / "corpora/meld")
    assert {split: len(clips) for split, clips in corpus.items()} == {"train": 9989, "validation": 1109, "test": 2610}
    names = corpus["train"].features["label"].names
    counts = {split: Counter(names[label] for label in clips["label"]) for split, clips in corpus.items()}
    assert counts["train"] == dict(
        neutral=4710, joy=1743, surprise=1205, anger=1109, sadness=683, disgust=271, fear=268
    )
    assert {split: len(clips) for split, clips in corpus.items()} == Meld.expected_counts("emotion")
    assert {clip.split("_dia")[0] for clip in KNOWN_BAD_MEDIA} == {"train", "dev", "test"}
    ids = {id for clips in corpus.values() for id in clips["id"]}
    assert set(KNOWN_BAD_MEDIA) - ids == set()
    assert counts["test"] == dict(neutral=1256, joy=402, surprise=281, anger=345, sadness=208, disgust=68, fear=50)
    assert [len(set(clips["video_id"])) for clips in corpus.values()] == [1038, 114, 280]
    assert corpus["train"][2]["context"] == [
        "also I was the point person on my company\u2019s transition from the KL-5 to GR-6 system.",
        "You must\u2019ve had your hands full.",
    ]
    texts = [text for clips in corpus.values() for text in clips["text"]]
    assert all(texts) and not any("  " in text or text != text.strip() for text in texts)


def test_the_release_of_2018_reads_like_the_repaired_one(shared, tmp_path):
    """The real file put back into its old state: cp1252 bytes read as latin-1, which leaves C1 control characters."""
    clean = shared / "corpora/meld/train_sent_emo.csv"
    text = clean.read_bytes().decode("utf-8")
    old = tmp_path / "train_sent_emo.csv"
    old.write_bytes(text.encode("cp1252").decode("latin-1").encode("utf-8"))
    assert old.read_bytes() != clean.read_bytes() and read_utterances(old) == read_utterances(clean)
