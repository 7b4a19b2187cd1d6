"""One epoch of `run_mac.py` on every corpus, from a folder in its release's layout with real media to predictions for
every test clip.
"""

import csv
import json

import pytest

from datasets_scripts import load_corpus
from modeling_semanticmac.commands import train as train_command
from tests.helpers.cmu_folder import write_mosei, write_mosi
from tests.helpers.iemocap_folder import write_iemocap
from tests.helpers.meld_folder import make_meld, write_meld
from tests.helpers.mustard_folder import write_mustard
from tests.helpers.project import RECIPE
from tests.helpers.sims_folder import write_ch_sims, write_ch_sims_v2
from tests.helpers.ur_funny_folder import write_ur_funny
from tests.helpers.video_folder_folder import write_video_folder

# name -> corpus, task, writer, options, a metric of the task
CASES = {
    "mosi": ("mosi", "sentiment", write_mosi, {}, "test_acc2_neg_pos"),
    "mosi, cut from full videos": (
        "mosi",
        "sentiment",
        lambda f, with_media: write_mosi(f, "full", with_media),
        {},
        "test_mae",
    ),
    "mosei emotion": (
        "mosei",
        "emotion",
        lambda f, with_media: write_mosei(f, "mmsa+csd", with_media),
        {},
        "test_w_f1",
    ),
    "ch_sims": ("ch_sims", "sentiment", write_ch_sims, {}, "test_sims_acc2"),
    "ch_sims_v2": ("ch_sims_v2", "sentiment", write_ch_sims_v2, {}, "test_sims_acc5"),
    "iemocap": ("iemocap", "emotion", write_iemocap, {}, "test_w_f1"),
    "meld": ("meld", "emotion", write_meld, {"max_seconds": 20}, "test_w_f1"),
    "ur_funny": ("ur_funny", "humor", write_ur_funny, {}, "test_w_f1"),
    "mustard": ("mustard", "sarcasm", write_mustard, {"fold": 1}, "test_w_f1"),
    "own videos": ("video_folder", "sentiment", write_video_folder, {}, "test_mae"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_epoch(tmp_path, models, case):
    corpus, task, write, options, metric = CASES[case]
    write(tmp_path / "corpus", with_media=True)
    train_command.main(
        [
            RECIPE,
            "--corpus",
            corpus,
            "--task",
            task,
            "--data_dir",
            str(tmp_path / "corpus"),
            "--corpus_options",
            json.dumps(options),
            *models,
            "--on_error",
            "mask",
            "--num_train_epochs",
            "1",
            "--per_device_train_batch_size",
            "8",
            "--extraction_workers",
            "0",
            "--disable_tqdm",
            "true",
            "--use_cpu",
            "--output_dir",
            str(tmp_path / "run"),
        ]
    )
    results = json.loads((tmp_path / "run/all_results.json").read_text())
    assert metric in results and results["train_loss"] > 0
    with open(tmp_path / "run/predictions_test.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(load_corpus(corpus, tmp_path / "corpus", task, **options)["test"])
    report = json.loads(next((tmp_path / "run/embeddings").glob("report*.json")).read_text())
    assert report["done"] > 0


def test_media_may_be_absent_altogether(tmp_path, models):
    """The tables of MELD alone: a model that is said to use audio and vision is refused, one on text is trained."""
    make_meld(tmp_path / "corpus")
    words = [
        RECIPE,
        "--corpus",
        "meld",
        "--task",
        "emotion",
        "--data_dir",
        str(tmp_path / "corpus"),
        *models,
        "--num_train_epochs",
        "1",
    ]
    words += ["--extraction_workers", "0", "--disable_tqdm", "true", "--use_cpu", "--output_dir", str(tmp_path / "run")]
    with pytest.raises(ValueError, match="no file"):
        train_command.main(words)
    with pytest.raises(ValueError, match="none of the 4 clips of train has audio or vision.*--modalities text"):
        train_command.main([*words, "--media", "optional"])
    report = json.loads((tmp_path / "run/embeddings/report_train.json").read_text())
    assert report["failed"] == {"no file": report["total"]} and report["total"] == 4
    assert not (tmp_path / "run/run.json").exists()
    train_command.main([*words, "--modalities", "text"])
    assert len((tmp_path / "run/predictions_test.csv").read_text().splitlines()) == 3
