"""`check` tells what was planted in the folder of each corpus, no more and no less; `prepare` makes what `load_dataset`
loads.
"""

import json

import datasets
import pytest

from datasets_scripts import load_corpus
from datasets_scripts.__main__ import main
from datasets_scripts.check import check_corpus, split_counts
from datasets_scripts.iemocap import Iemocap
from datasets_scripts.loading import BUILDERS, corpus_builder
from datasets_scripts.prepare import push_corpus
from tests.helpers.cmu_folder import DASH, MOSI, UNMATCHED, write_mosei, write_mosi
from tests.helpers.iemocap_folder import write_iemocap
from tests.helpers.media_files import write_media
from tests.helpers.meld_folder import write_meld
from tests.helpers.mustard_folder import write_mustard
from tests.helpers.sims_folder import write_ch_sims, write_ch_sims_v2
from tests.helpers.ur_funny_folder import write_ur_funny
from tests.helpers.video_folder_folder import write_video_folder

SIZE = "splits whose size is not the expected one"
SHARED = "videos or dialogues in more than one split"
ALL = ["train", "validation", "test"]
ZERO = f"{MOSI[1][0]}_2"

# corpus, writer, task, options -> findings: kind -> clips
CASES = {
    "mosi": ("mosi", lambda f: write_mosi(f, "mmsa"), None, {}, {SIZE: ALL}),
    "mosi, full videos": ("mosi", lambda f: write_mosi(f, "full"), None, {}, {SIZE: ALL, "cuts of no length": [ZERO]}),
    "mosei": (
        "mosei",
        lambda f: write_mosei(f, "mmsa+csd"),
        "emotion",
        {},
        {SIZE: ALL, "rows that are not clips: no emotion labels in the label file": [f"{UNMATCHED}_1"]},
    ),
    "mosei, full videos": (
        "mosei",
        lambda f: write_mosei(f, "full"),
        "sentiment",
        {},
        {SIZE: ALL, "cuts that begin before their file": [f"{DASH}_2"]},
    ),
    "ch_sims": ("ch_sims", write_ch_sims, None, {}, {SIZE: ALL, SHARED: ["video_0001", "video_0002", "video_0003"]}),
    "ch_sims_v2": (
        "ch_sims_v2",
        write_ch_sims_v2,
        None,
        {},
        {SIZE: ALL, SHARED: ["video_0001", "video_0002", "video_0003"]},
    ),
    "iemocap": (
        "iemocap",
        write_iemocap,
        "emotion",
        {},
        {
            SIZE: ALL,
            "cuts of no length": ["Ses01F_impro01_F002"],
            "rows that are not clips: emotion code oth is not a class of the task": ["Ses02F_impro02_M000"],
            "rows that are not clips: emotion code sur is not a class of the task": ["Ses05M_script03_2_M000"],
            "rows that are not clips: emotion code xxx is not a class of the task": ["Ses01F_impro01_F001"],
            "rows that are not clips: transcribed but not evaluated": ["Ses01M_script01_1_FXX0"],
            "rows that are not clips: transcribed without an id": ["Ses01M_script01_1, line 3"],
        },
    ),
    "meld": (
        "meld",
        write_meld,
        "emotion",
        {},
        {
            SIZE: ALL,
            "clips without a media file": ["dev_dia0_utt0"],
            "media files without a clip": ["test_dia108_utt1", "test_dia93_utt5"],
        },
    ),
    "mustard": (
        "mustard",
        write_mustard,
        None,
        {"fold": 0},
        {"clips without a media file": ["1_0"], "speakers in more than one split": ["X"]},
    ),
    "ur_funny": ("ur_funny", write_ur_funny, None, {}, {SIZE: ALL, "media files without a clip": ["999"]}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_planted_and_nothing_else(tmp_path, case):
    name, write, task, options, expected = CASES[case]
    write(tmp_path / "corpus")
    found = check_corpus(name, tmp_path / "corpus", task, cache_dir=tmp_path / "cache", **options)
    assert {finding.kind: finding.clips for finding in found.findings} == expected
    problems = {finding.kind for finding in found.findings if finding.problem}
    assert problems == expected.keys() & {SIZE, "clips without a media file"} and found.ok == (not problems)
    corpus = load_corpus(name, tmp_path / "corpus", task, tmp_path / "cache", **options)
    assert found.counts == {split: len(clips) for split, clips in corpus.items()}
    assert sum(sum(labels.values()) for labels in found.labels.values()) >= sum(found.counts.values())
    assert str(found).count("\n! ") == len(problems)


def test_own_clips_without_media_are_no_problem(tmp_path):
    write_video_folder(tmp_path / "clips")
    found = check_corpus("video_folder", tmp_path / "clips", "sentiment", cache_dir=tmp_path / "cache")
    assert found.ok and [finding.kind for finding in found.findings] == ["clips without a media file"]


def test_every_corpus_says_what_is_known_of_it():
    for name in set(BUILDERS) - {"synthetic", "video_folder"}:
        builder = corpus_builder(name)
        assert (
            builder.TERMS
            and builder.CITATION.startswith("@")
            and builder.CITATION.count("{") == builder.CITATION.count("}")
        )
        task = builder.BUILDER_CONFIGS[0].name
        if not builder.TABLE_II:  # a corpus that the paper does not have
            continue
        assert set(builder.TABLE_II[task]) == set(builder.expected_counts(task)) == set(ALL)
        assert builder.expected_counts(task) == builder.TABLE_II[task] or task in builder.DIFFERENCE


def test_the_real_files_are_as_expected(shared, tmp_path, capsys):
    assert main(["check", "meld", str(shared / "corpora/meld"), "--media", "optional"]) == 0
    told = capsys.readouterr().out
    assert "9989      9989      9765" in told and "all is as expected" in told
    mustard = ["check", "mustard", str(shared / "corpora/mustard")]
    assert main([*mustard, "--media", "required", "--json"]) == 1  # there are no media
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {"train": 554, "validation": 68, "test": 68} and not told["ok"]
    assert main(mustard) == 0  # text alone is a supported use
    assert "no clip has one: train with --modalities text" in capsys.readouterr().out


def test_probe_opens_every_file(tmp_path, capsys):
    """A file that is no media, one without sound, and cuts that run over the end of theirs."""
    folder = write_mosi(tmp_path / "mosi", "full", with_media=True)
    videos = sorted((folder / "Raw/Video/Full").iterdir())
    videos[0].write_text("not a video")
    write_media(videos[1], 0.3, rate=10, sound=None)
    found = check_corpus("mosi", folder, probe=True, cache_dir=tmp_path / "cache")
    kinds = {finding.kind: finding.clips for finding in found.findings}
    mine = {path: [f"{v}_{n}" for v, n, *_ in MOSI if v == path.stem] for path in videos}
    assert kinds["media that cannot be read: not media"] == mine[videos[0]]
    assert kinds["media without sound"] == mine[videos[1]]
    ends = {f"{v}_{n}": end for v, n, _, end, *_ in MOSI}
    assert kinds["cuts that run over the end of their file"] == [id for id in mine[videos[1]] if ends[id] > 0.4]
    assert found.media["files opened"] == 3 and found.media["longest file in seconds"] == pytest.approx(1.0, abs=0.05)
    assert "opening media" in capsys.readouterr().err


def test_errors_of_the_command_are_one_line(tmp_path, capsys):
    assert main(["check", "mosy", str(tmp_path)]) == 2
    assert "error: unknown corpus 'mosy'" in capsys.readouterr().err
    assert main(["check", "mosi", str(tmp_path / "nowhere")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_counts_of_another_split_are_not_expected(tmp_path):
    """One place says so: for `check` and for the report of a run."""
    iemocap, mustard = corpus_builder("iemocap"), corpus_builder("mustard")
    assert iemocap.expected_counts("emotion", split_seed=0) == iemocap.expected_counts("emotion", max_seconds=9.0) != {}
    for options in ({"split_seed": 1}, {"ids_file": "list.txt"}):
        assert iemocap.expected_counts("emotion", **options) == {}
    assert (
        mustard.expected_counts("sarcasm", fold=0) == mustard.expected_counts("sarcasm", speaker_independent=True) == {}
    )
    assert mustard.expected_counts("sarcasm", fold=None, speaker_independent=False)["test"] == 68


def test_counts_for_the_report_of_a_run(tmp_path):
    write_iemocap(tmp_path / "iemocap")
    found = split_counts("iemocap", tmp_path / "iemocap", cache_dir=tmp_path / "cache")
    checked = check_corpus("iemocap", tmp_path / "iemocap", cache_dir=tmp_path / "cache")
    assert (found["found"], found["expected"], found["table_ii"]) == (
        checked.counts,
        checked.expected,
        checked.table_ii,
    )
    dropped = [
        clip for finding in checked.findings if "rows that are not clips" in finding.kind for clip in finding.clips
    ]
    assert sum(sum(reasons.values()) for reasons in found["dropped"].values()) == len(dropped) == 5
    assert found["dropped"]["train"]["emotion code xxx is not a class of the task"] == 1


def plain_load(folder, task, cache) -> datasets.DatasetDict:
    return datasets.load_dataset(str(folder), task, cache_dir=str(cache))


def test_prepared_rows_are_those_of_the_corpus(tmp_path, capsys):
    write_ch_sims(tmp_path / "sims", with_media=True)
    write_meld(tmp_path / "meld")
    for name, tasks in (("ch_sims", ["sentiment"]), ("meld", ["emotion", "sentiment"])):
        out = tmp_path / f"out_{name}"
        assert main(["prepare", name, str(tmp_path / name.removeprefix("ch_")), str(out)]) == 0
        for task in tasks:
            found = plain_load(out, task, tmp_path / "plain")
            expected = load_corpus(name, tmp_path / name.removeprefix("ch_"), task, tmp_path / "cache")
            for split in ALL:
                assert found[split].features == expected[split].features
                for row, clip in zip(found[split], expected[split], strict=True):
                    path = clip["media"].pop("path")
                    assert not row["media"]["path"].startswith("/") and path.endswith(row["media"].pop("path"))
                    assert row == clip
    card = (tmp_path / "out_meld/README.md").read_text()
    assert (
        "| emotion | 4 | 2 | 2 |" in card
        and "poria2019meld" in card
        and "GPL-3.0" in card
        and "config_name: sentiment" in card
    )


def test_embedded_media_are_the_files(tmp_path):
    write_ch_sims(tmp_path / "sims", with_media=True)
    assert main(["prepare", "ch_sims", str(tmp_path / "sims"), str(tmp_path / "out"), "--embed_media"]) == 0
    found = plain_load(tmp_path / "out", "sentiment", tmp_path / "plain")["train"].cast_column(
        "video", datasets.Video(decode=False)
    )
    for row in found:
        assert row["video"]["bytes"] == (tmp_path / "sims" / row["media"]["path"]).read_bytes()


def test_media_that_cannot_be_embedded(tmp_path, capsys):
    write_mosi(tmp_path / "mosi", "full")
    assert main(["prepare", "mosi", str(tmp_path / "mosi"), str(tmp_path / "out"), "--embed_media"]) == 2
    assert "are cuts of longer files" in capsys.readouterr().err
    write_meld(tmp_path / "meld")
    assert main(["prepare", "meld", str(tmp_path / "meld"), str(tmp_path / "out"), "--embed_media"]) == 2
    assert "1 clips of meld have no media file (dev_dia0_utt0)" in capsys.readouterr().err


def test_own_clips_are_prepared_for_a_task(tmp_path, capsys):
    write_video_folder(tmp_path / "clips")
    assert main(["prepare", "video_folder", str(tmp_path / "clips"), str(tmp_path / "out")]) == 2
    assert "give --task, one of sentiment" in capsys.readouterr().err
    words = ["prepare", "video_folder", str(tmp_path / "clips"), str(tmp_path / "out"), "--task", "sentiment"]
    assert main(words) == 0 and len(plain_load(tmp_path / "out", "sentiment", tmp_path / "plain")) == 3


def test_terms_forbid_to_push(tmp_path, capsys, monkeypatch):
    """IEMOCAP is not uploaded unless one says to hold the rights; then what was written is."""
    import huggingface_hub

    pushed = []

    class FakeApi:
        def create_repo(self, repo_id, repo_type, private, exist_ok):
            pushed.append((repo_id, repo_type, private))
            return f"hub/{repo_id}"

        def upload_folder(self, repo_id, folder_path, repo_type, allow_patterns):
            pushed.extend([folder_path, allow_patterns])

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    write_iemocap(tmp_path / "iemocap")
    words = ["prepare", "iemocap", str(tmp_path / "iemocap"), str(tmp_path / "out"), "--push_to_hub", "me/iemocap"]
    assert main(words) == 2 and not pushed and not (tmp_path / "out").exists()
    assert "forbid to pass its transcripts or media on" in capsys.readouterr().err
    assert main([*words, "--i_hold_the_rights"]) == 0
    shards = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.parquet"))
    assert pushed == [("me/iemocap", "dataset", True), str(tmp_path / "out"), ["README.md", *shards]]
    assert "emotion/train-00000-of-00001.parquet" in shards


def test_nothing_but_the_dataset_is_pushed(tmp_path, monkeypatch):
    """Neither what else lies in the folder, nor what a link leads to."""
    import huggingface_hub

    pushed = []

    class FakeApi:
        def create_repo(self, repo_id, **kwargs):
            return f"hub/{repo_id}"

        def upload_folder(self, folder_path, allow_patterns, **kwargs):
            pushed.extend(allow_patterns)

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    out = tmp_path / "out"
    (out / "emotion").mkdir(parents=True)
    for name in ("README.md", ".env", "notes.txt", "emotion/train-00000-of-00001.parquet", "emotion/mine.parquet"):
        (out / name).write_text(name)
    push_corpus(out, Iemocap, "me/iemocap", i_hold_the_rights=True)
    assert pushed == ["README.md", "emotion/train-00000-of-00001.parquet"]
    (out / "emotion" / "test-00000-of-00001.parquet").symlink_to(out / ".env")
    with pytest.raises(ValueError, match="symbolic link; nothing was uploaded"):
        push_corpus(out, Iemocap, "me/iemocap", i_hold_the_rights=True)


def test_the_report_is_plain_json(tmp_path):
    write_mosi(tmp_path / "mosi")
    found = check_corpus("mosi", tmp_path / "mosi", cache_dir=tmp_path / "cache").to_dict()
    assert json.loads(json.dumps(found)) == found
