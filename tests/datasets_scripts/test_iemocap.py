"""IEMOCAP: its split, its texts, whose half of the picture it is, and the public lists of its utterances."""

from collections import Counter

import pytest
import torch

from datasets_scripts import load_corpus, task_specification
from datasets_scripts.iemocap import Iemocap, split_dialogues
from modeling_semanticmac.feature_extraction_imagebind import ImageBindFeatureExtractor
from modeling_semanticmac.image_processing_imagebind import ImageBindImageProcessor
from modeling_semanticmac.processing_semanticmac import SemanticMACProcessor
from tests.helpers.iemocap_folder import DIALOGUES, LEFT, RIGHT, write_iemocap, write_listed
from tests.helpers.tiny import word_tokenizer

SIX = ["happy", "sad", "neutral", "angry", "excited", "frustrated"]


@pytest.fixture
def load(tmp_path):
    """Load IEMOCAP with a cache of this test's own."""
    return lambda folder, task="emotion", **options: load_corpus(
        "iemocap", folder, task, cache_dir=tmp_path / "cache", **options
    )


@pytest.fixture
def clips(tmp_path, load):
    """Every clip of the small tree, by id."""
    corpus = load(write_iemocap(tmp_path / "iemocap"))
    return {clip["id"]: clip for split in corpus.values() for clip in split}


@pytest.fixture
def mesm(shared):
    """The published lists of ids, by split."""
    folder = shared / "corpora/iemocap/mesm"
    names = {"train": "train_split.txt", "validation": "valid_split.txt", "test": "test_split.txt"}
    return {split: (folder / name).read_text().split() for split, name in names.items()}


def test_the_clips_of_a_small_tree(clips):
    expected = {
        f"{dialogue}_{name}": SIX[("hap", "sad", "neu", "ang", "exc", "fru").index(code)]
        for dialogue, turns in DIALOGUES.items()
        for *_, name, code, _ in turns
        if code not in ("xxx", "oth", "sur")
    }
    assert {id: SIX[clip["label"]] for id, clip in clips.items()} == expected
    clip = clips["Ses01F_impro01_M000"]
    assert clip["video_id"] == "Ses01F_impro01" and clip["speaker"] == "Ses01M"
    assert (clip["media"]["start"], clip["media"]["end"]) == (0.5, 0.9)
    assert clip["media"]["path"].endswith("Session1/dialog/avi/DivX/Ses01F_impro01.avi")


def test_texts_keep_tags_colons_and_letters(clips):
    assert clips["Ses01F_impro01_F002"]["text"] == "[LAUGHTER]"
    assert clips["Ses01F_impro01_M000"]["text"] == "Really: [SIGH]: you did?"
    assert clips["Ses01M_script01_1_F000"]["text"] == "caf\u00e9"  # a latin-1 file
    assert clips["Ses01M_script01_1_M000"]["text"] == "No. Not again."


def test_context_is_in_the_order_of_time_and_has_the_other_emotions_too(clips, tmp_path, load):
    assert clips["Ses01F_impro01_F000"]["context"] == []
    assert clips["Ses01F_impro01_M000"]["context"] == ["Excuse me.", "I mean -"]
    assert clips["Ses01F_impro01_M000"]["context_speakers"] == ["Ses01F", "Ses01F"]
    assert clips["Ses05M_script03_2_F000"]["context"] == ["Oh!"]
    assert not any(load(tmp_path / "iemocap", context=False)["test"]["context"])
    nearest = [
        clip for clip in load(tmp_path / "iemocap", earlier_context=1)["train"] if clip["id"] == "Ses01F_impro01_M000"
    ]
    assert [clip["context"] for clip in nearest] == [["I mean -"]]
    whole = load(tmp_path / "iemocap", later_context=-1)
    for clip in (clip for split in whole.values() for clip in split):
        before = clips[clip["id"]]["context"]
        assert clip["context"][: len(before)] == before
    (first,) = [clip for split in whole.values() for clip in split if clip["id"] == "Ses01F_impro01_F000"]
    assert first["text"] == "Excuse me."
    assert first["context"][:2] == ["I mean -", clips["Ses01F_impro01_M000"]["text"]]


def test_the_half_of_the_picture_is_the_speakers(clips):
    for id, clip in clips.items():
        letter_of_the_dialogue, letter_of_the_speaker = id[5], id.rsplit("_", 1)[1][0]
        assert clip["media"]["crop"] == ("left" if letter_of_the_dialogue == letter_of_the_speaker else "right")


def test_session_5_is_test_and_validation_is_whole_dialogues(tmp_path, load):
    corpus = load(write_iemocap(tmp_path / "iemocap"))
    dialogues = {split: set(clips["video_id"]) for split, clips in corpus.items()}
    assert dialogues["test"] == {"Ses05F_impro04", "Ses05M_script03_2"}
    assert len(dialogues["validation"]) == 1 and not dialogues["validation"] & dialogues["train"]
    drawn = {
        seed: set(load(tmp_path / "iemocap", split_seed=seed)["validation"]["video_id"]).pop() for seed in range(6)
    }
    assert drawn[0] == dialogues["validation"].pop() and len(set(drawn.values())) > 1


def test_excited_is_happy_in_four_classes(tmp_path, load):
    corpus = load(write_iemocap(tmp_path / "iemocap"), "emotion_4")
    assert task_specification("iemocap", "emotion_4").label_names == ("happy", "sad", "neutral", "angry")
    assert task_specification("iemocap").label_names == tuple(SIX)
    labels = {clip["id"]: clip["label"] for split in corpus.values() for clip in split}
    assert labels["Ses01F_impro01_M000"] == labels["Ses01F_impro01_F000"] == 0
    assert "Ses03F_script02_2_F000" not in labels  # frustrated


def test_what_is_no_clip_has_a_reason(tmp_path):
    builder = Iemocap(None, write_iemocap(tmp_path / "iemocap"), tmp_path / "cache")
    dropped = {id: why for split in ("train", "validation", "test") for id, why in builder.dropped_clips(split).items()}
    assert dropped == {
        "Ses01F_impro01_F001": "emotion code xxx is not a class of the task",
        "Ses02F_impro02_M000": "emotion code oth is not a class of the task",
        "Ses05M_script03_2_M000": "emotion code sur is not a class of the task",
        "Ses01M_script01_1_FXX0": "transcribed but not evaluated",
        "Ses01M_script01_1, line 3": "transcribed without an id",
    }
    assert set(builder.dropped_clips("test")) == {"Ses05M_script03_2_M000"}


def test_a_dialogue_without_its_video_is_text_alone(tmp_path, load):
    folder = write_iemocap(tmp_path / "iemocap")
    (folder / "IEMOCAP_full_release/Session5/dialog/avi/DivX/Ses05F_impro04.avi").unlink()
    paths = {clip["video_id"]: clip["media"]["path"] for clip in load(folder)["test"]}
    assert paths["Ses05F_impro04"] == "" != paths["Ses05M_script03_2"]


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("\thap\t", "\thqp\t", "line 8: .*F000.*hqp.*expected .* one of ang, hap"),
        ("Ses01F_impro01_F000", "Ses01F_impro02_F000", "expected .* an utterance of Ses01F_impro01"),
        ("[0.0000 - 0.4000]", "[x - 0.4000]", "expected .START - END."),
    ],
)
def test_a_damaged_evaluation_is_named(tmp_path, load, old, new, message):
    folder = write_iemocap(tmp_path / "iemocap")
    path = folder / "IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_missing_parts_are_named(tmp_path, load):
    folder = write_iemocap(tmp_path / "iemocap")
    root = folder / "IEMOCAP_full_release"
    (root / "Session2/dialog/transcriptions/Ses02F_impro02.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no transcription of Ses02F_impro02"):
        load(folder)
    (root / "Session2").rename(root / "Session6")
    with pytest.raises(FileNotFoundError, match="no EmoEvaluation files of Session 2 "):
        load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no IEMOCAP: .* it is empty"):
        load(tmp_path / "empty")


def mean_colour(pixels: torch.Tensor) -> torch.Tensor:
    """Mean colour in 0 .. 255 of normalized pixels (T, 3, H, W)."""
    image = ImageBindImageProcessor()
    mean, std = torch.tensor(image.image_mean), torch.tensor(image.image_std)
    return (pixels.mean(dim=(0, 2, 3)) * std + mean) * 255


def test_the_right_actor_comes_out_of_the_processor(tmp_path, load):
    """From the avi through the reader to pixel_values: the red left actor has the letter of the dialogue, the blue one
    the other.
    """
    corpus = load(write_iemocap(tmp_path / "iemocap", with_media=True))
    processor = SemanticMACProcessor(ImageBindImageProcessor(), ImageBindFeatureExtractor(), word_tokenizer())
    for clip in corpus["test"]:
        encoded = processor.encode_media(clip["media"])
        own, other = (LEFT, RIGHT) if clip["id"][5] == clip["id"].rsplit("_", 1)[1][0] else (RIGHT, LEFT)
        colour = mean_colour(encoded["pixel_values"])
        assert (colour - torch.tensor(own)).abs().max() < 12 < (colour - torch.tensor(other)).abs().max()
        assert encoded["input_features"] is not None and encoded["report"]["duration"] == pytest.approx(0.4)


def test_the_published_ids_make_the_papers_test_split(mesm, tmp_path, load):
    """All 7,380 utterances of the six classes by their public ids; their sessions are what is split, their emotions are
    made up.
    """
    ids = sorted(id for listed in mesm.values() for id in listed)
    corpus = load(write_listed(tmp_path / "iemocap", ids))
    assert sorted(id for clips in corpus.values() for id in clips["id"]) == ids and len(ids) == 7380
    sessions = {split: Counter(id[:5] for id in clips["id"]) for split, clips in corpus.items()}
    assert sessions["test"] == {"Ses05": 1622} and "Ses05" not in sessions["train"] + sessions["validation"]
    assert sum((sessions["train"] + sessions["validation"]).values()) == 5758
    assert {split: len(clips) for split, clips in corpus.items()} == Iemocap.EXPECTED["emotion"]
    parts = split_dialogues({id.rsplit("_", 1)[0] for id in ids}, 0)
    assert [len(part) for part in parts.values()] == [108, 12, 31]


def test_mesms_lists_as_the_split(mesm, shared, tmp_path, load):
    folder = write_listed(tmp_path / "iemocap", [id for listed in mesm.values() for id in listed])
    corpus = load(folder, ids_file=str(shared / "corpora/iemocap/mesm"))
    assert {split: len(clips) for split, clips in corpus.items()} == {"train": 5162, "validation": 737, "test": 1481}
    assert all(set(corpus[split]["id"]) == set(mesm[split]) for split in mesm)


def test_an_id_twice_is_refused(tmp_path, load):
    folder = write_iemocap(tmp_path / "iemocap")
    path = folder / "IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    path.write_text(path.read_text().replace("_F002", "_F000"))
    with pytest.raises(ValueError, match="'Ses01F_impro01_F000' occurs twice"):
        load(folder)
