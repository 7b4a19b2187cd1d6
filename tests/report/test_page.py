"""`report.md` and `report.json` show the content of a run's files; figures of classes equal scikit-learn's."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import classification_report, confusion_matrix

from modeling_semanticmac.configuration_semanticmac import TaskSpecification
from modeling_semanticmac.files.atomic_files import write_json
from modeling_semanticmac.metrics import prediction_metrics
from modeling_semanticmac.report import main, write_report
from modeling_semanticmac.report.pictures import confusion_picture, label_picture
from modeling_semanticmac.runs.folder import RunFolder, split_results
from modeling_semanticmac.runs.record import prediction_arrays
from tests.helpers.run_folders import one_hot, write_run
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT

MELD = TaskSpecification("emotion", "single_label_classification", ("joy", "fear", "a|b"), None, "conversation")
SIMS = TaskSpecification("sentiment", "regression", ("sentiment",), (-1.0, 1.0), "sims")


def section(text: str, title: str) -> list[list[str]]:
    """Return the cells of the tables below a heading."""
    body = text.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if set(row[0].strip()) != {"-"}]


def pictures(folder, text: str) -> list[str]:
    """Return the pictures that the page shows; each exists as PNG, SVG and CSV."""
    shown = re.findall(r"!\[[^]]+\]\(report/(\w+)\.png\)", text)
    for name in shown:
        assert (folder / f"report/{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert (folder / f"report/{name}.svg").is_file() and (folder / f"report/{name}.csv").is_file()
    assert {path.stem for path in (folder / "report").iterdir()} == set(shown)
    return shown


def test_a_run_reports_itself(world):
    text, data = (world["run"] / "report.md").read_text(), json.loads((world["run"] / "report.json").read_text())
    results = json.loads((world["run"] / "all_results.json").read_text())
    assert section(text, "Clips") == [
        ["split", "found", "used"],
        *([split, str(n), str(n)] for split, n in (("train", 12), ("validation", 5), ("test", 5))),
    ]
    assert "No public count" in text and "stops the run" in text
    found = {row[0]: row for row in section(text, "Metrics")}
    assert found["`mae`"][1:3] == [f"{results['eval_mae']:.4f}", f"{results['test_mae']:.4f}"]
    assert len(found) == 11 and all(row[3] for row in found.values()) and "the paper" not in found["metric"]
    assert data["metrics"]["metrics"]["mae"]["test"] == results["test_mae"]
    assert results["test_opened"] in text
    assert [row[0].split(" ")[0].strip("*") for row in section(text, "Training")] == ["epoch", "1", "2"]
    assert "(chosen)" in text and data["training"]["chosen_epoch"] in (1, 2)
    assert [row[0] for row in section(text, "Pseudo labels")] == ["sub-task", "S", "T", "A", "V"]
    assert data["pseudo_labels"]["epochs"] == [2]
    assert sum(row["clips"] for row in data["predictions"]["by_label"]) == 5
    assert data["clips"]["train"]["found"] == 12 and data["circumstances"]["seed"] == 42
    assert pictures(world["run"], text) == ["scores", "training", "pseudo_labels"]
    assert text == write_report(world["run"])  # again, from the folder alone


def test_size_time_and_memory(world):
    from transformers import AutoModelForVideoClassification

    found = json.loads((world["run"] / "report.json").read_text())["costs"]
    model = AutoModelForVideoClassification.from_pretrained(world["run"])
    parameters = found["parameters"]
    assert parameters["trained"] == parameters["language_model"] + parameters["new_modules"] == model.num_parameters()
    assert parameters["frozen_in_model"] == 0 and parameters["vision_tower"] > 0 and parameters["audio_tower"] > 0
    assert 50 * 2**20 < found["peak_memory_bytes"] < 64 * 2**30
    assert found["seconds"]["training"] > 0 and found["seconds"]["embedding of test"] > 0


def test_the_metrics_are_those_of_the_predictions_to_the_last_digit(world):
    run = RunFolder(world["run"])
    found = prediction_metrics(run.task, *prediction_arrays(run.task, run.predictions))
    assert {name: value for name, value in split_results(run.results, "test").items() if name != "loss"} == found


def test_classes_are_those_of_scikit_learn(tmp_path):
    generator = np.random.default_rng(0)
    labels, predictions = generator.integers(0, 3, (2, 60))
    labels[labels == 1] = 0  # one class that no clip has
    folder = write_run(tmp_path / "run", MELD, labels, one_hot(predictions, 3))
    text = write_report(folder)
    expected = classification_report(
        labels, predictions, labels=range(3), target_names=MELD.label_names, output_dict=True, zero_division=0
    )
    rows = {name.replace("\\", ""): row for name, *row in section(text, "Predictions by class")[1:]}
    for name in MELD.label_names:
        found = dict(zip(("support", "precision", "recall", "f1-score"), map(float, (rows[name][0], *rows[name][2:]))))
        assert found == pytest.approx(expected[name], abs=1e-4)
    data = json.loads((folder / "report.json").read_text())["predictions"]
    assert data["confusion"]["rows_are_labels"] == confusion_matrix(labels, predictions).tolist()
    assert pictures(folder, text) == ["confusion"]
    assert (folder / "report/confusion.csv").read_text().splitlines()[0] == "label,joy,fear,a|b"


def test_several_labels_at_their_thresholds(tmp_path):
    generator = np.random.default_rng(1)
    labels, logits = generator.integers(0, 2, (50, 3)), generator.normal(size=(50, 3))
    thresholds = {"happy": 0.3, "sad": 0.5, "angry": 0.7}
    results = {f"test_threshold_{name}": value for name, value in thresholds.items()}
    folder = write_run(tmp_path / "run", EMOTIONS, labels, logits, results=results)
    text = write_report(folder)
    found = json.loads((folder / "report.json").read_text())["predictions"]["by_class"]
    scores = 1 / (1 + np.exp(-logits.astype(np.float32).astype(float)))
    for index, (name, threshold) in enumerate(thresholds.items()):
        expected = classification_report(labels[:, index], scores[:, index] > threshold, output_dict=True)
        row = found[name]
        assert [row["precision"], row["recall"], row["f1"]] == pytest.approx(
            [expected["1"][key] for key in ("precision", "recall", "f1-score")]
        )
        assert row["s_acc"] == pytest.approx(expected["accuracy"]) and row["threshold"] == threshold
        assert row["n_acc"] == pytest.approx(expected["macro avg"]["recall"])
    assert "thresholds tuned on validation" in text and pictures(folder, text) == ["labels"]


def test_scores_of_ch_sims_are_told_by_the_levels_of_its_raters(tmp_path):
    labels = np.array([-1.0, -0.8, 0.0, 0.2, 0.2, 1.0])
    folder = write_run(tmp_path / "run", SIMS, labels, (labels + [0.1, 0, 0, 0.1, -0.3, 0])[:, None])
    write_report(folder)
    rows = json.loads((folder / "report.json").read_text())["predictions"]["by_label"]
    assert [(row["label"], row["clips"]) for row in rows] == [(-1.0, 1), (-0.8, 1), (0.0, 1), (0.2, 2), (1.0, 1)]
    assert rows[3]["bias"] == pytest.approx(-0.1) and rows[3]["mean_absolute_error"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("keep", "rows", "said"),
    [
        (lambda whole: whole, 4, None),
        (lambda whole: b"".join(whole.splitlines(keepends=True)[:3]), 2, "misses 2 of the 4 test clips of the run."),
        (
            lambda whole: whole[: whole.index(b"c3") + 3],
            3,
            "misses 1 of the 4 test clips of the run and ends within a row.",
        ),
        (lambda whole: whole.rstrip(), 3, "misses 1 of the 4 test clips of the run and ends within a row."),
        (lambda whole: whole + whole.splitlines(keepends=True)[1], 5, "holds 1 clips more than once."),
        (
            lambda whole: whole.replace(b"c0", b"d0"),
            4,
            "misses 1 of the 4 test clips of the run and holds 1 clips that the run did not predict.",
        ),
        (lambda whole: whole.splitlines(keepends=True)[0], 0, "misses 4 of the 4 test clips of the run."),
    ],
    ids=["whole", "half", "cut", "cut in the last number", "twice", "foreign", "empty"],
)  # fmt: skip
def test_half_a_file_of_predictions_is_told(tmp_path, keep, rows, said):
    """Section and summary say so; the figures that the run measured on all clips stay."""
    labels = np.array([-1.0, 0.0, 1.0, 2.0])
    folder = write_run(tmp_path / "run", SENTIMENT, labels, labels[:, None] + 0.5, results={"test_mae": 0.5})
    write_json(folder / "splits.json", {"test": ["c0", "c1", "c2", "c3"]})
    path = folder / "predictions_test.csv"
    path.write_bytes(keep(path.read_bytes()))
    text = write_report(folder)
    data = json.loads((folder / "report.json").read_text())
    assert sum(row["clips"] for row in data["predictions"].get("by_label", [])) == rows
    assert data["metrics"]["metrics"]["mae"]["test"] == 0.5
    if said is None:
        assert "test predictions" not in text and "lacking" not in data["predictions"]
    else:
        assert data["predictions"]["lacking"].startswith(f"The file of test predictions {said}")
        assert data["summary"].endswith(f"**The file of test predictions {said}**")
        assert text.count(f"The file of test predictions {said}") == 2


def test_a_picture_of_120_classes_is_no_larger_than_one_of_twelve(tmp_path):
    sizes = {}
    for count in (12, 120):
        names = [
            f"class number {index} with a name that is longer than any axis has room for" for index in range(count)
        ]
        matrix = np.arange(count**2).reshape(count, count) % 7
        columns = {"recall": np.linspace(0, 1, count)}
        paths = [
            confusion_picture(tmp_path / f"c{count}", matrix, names),
            label_picture(tmp_path / f"l{count}", names, columns, "x"),
        ]
        sizes[count] = [Image.open(path).size for path in paths]
        table = list(csv.reader((tmp_path / f"c{count}.csv").read_text().splitlines()))
        assert [row[0] for row in table[1:]] == names and table[5][3] == str(matrix[4, 2])  # the numbers are all there
    assert sizes[120][0] == sizes[12][0] and max(map(max, sizes[120])) <= 2400


@pytest.mark.parametrize(
    ("bounds", "step"),
    [((-3, 3), 1), ((-1, 1), 0.2), ((1, 5), 1), ((0, 10), 1), ((0, 100), 20), ((0, 1), 0.2), ((0, 0.5), 0.1)],
)
def test_scores_of_any_scale_are_told_by_some_bins(tmp_path, bounds, step):
    task = TaskSpecification("sentiment", "regression", ("sentiment",), bounds)
    labels = np.linspace(*bounds, 41)
    folder = write_run(tmp_path / "run", task, labels, labels[:, None])
    write_report(folder)
    data = json.loads((folder / "report.json").read_text())["predictions"]
    assert data["step"] == pytest.approx(step) and 5 <= len(data["by_label"]) <= 11
    assert [row["label"] for row in data["by_label"]] == pytest.approx(np.arange(bounds[0], bounds[1] + step / 2, step))


def test_a_run_without_test_split_and_an_undefined_figure(tmp_path):
    folder = write_run(tmp_path / "run", SENTIMENT, [0.0], [[1.0]], results={"eval_pearson": float("nan")})
    (folder / "predictions_test.csv").unlink()
    write_json(folder / "all_results.json", {"eval_pearson": float("nan"), "eval_runtime": 3.0})
    text = write_report(folder)
    assert "The test split was not opened." in text and "## Predictions" not in text
    assert section(text, "Metrics")[1][:3] == ["`pearson`", "undefined", ""]
    told = (folder / "report.json").read_text()
    assert "NaN" not in told and json.loads(told)["metrics"]["metrics"]["pearson"]["validation"] is None


def test_counts_dropped_rows_and_media_that_failed(tmp_path):
    folder = write_run(tmp_path / "run", SENTIMENT, [0.0, 1.0], [[1.0], [2.0]], arguments=("--on_error", "skip"))
    counts = {"found": {"train": 9, "test": 2}, "expected": {"train": 10, "test": 2}, "table_ii": {"train": 16326}}
    write_json(folder / "corpus.json", {**counts, "dropped": {"train": {"no label": 3}}})
    clips = [{"id": f"c{i}", "path": "", "status": "failed", "reason": "no file", "note": ""} for i in range(25)]
    write_json(folder / "media_train.json", {"failed": {"no file": 25}, "partial": {}, "clips": clips})
    write_json(folder / "splits.json", {"train": ["c1"], "test": ["c0", "c1"]})
    text = write_report(folder)
    tables = section(text, "Clips")
    assert tables[:4] == [
        ["split", "the paper", "expected", "found", "used"],
        ["train", "16,326", "10", "9", "1"],
        ["validation", "", "", "", ""],
        ["test", "", "2", "2", "2"],
    ]
    assert ["train", "row not used", "no label", "3"] in tables and [
        "train",
        "media failed",
        "no file",
        "25",
    ] in tables
    assert "`media_<split>.json` names the clips" in text and "is left out" in text
    assert not {f"c{i}" for i in range(25)} & set(re.findall(r"\w+", text + (folder / "report.json").read_text()))


def test_curves_of_classes_have_the_metric_that_chooses_and_no_modality_that_is_not_used(tmp_path):
    folder = write_run(tmp_path / "run", SARCASM, [0, 1], one_hot([0, 1], 2))
    training = {"loss": 2.0, "loss_M": 0.7, "loss_T": 0.6, "loss_A": 0, "loss_intra": 0, "loss_inter": 1.0}
    log = [{**training, "epoch": epoch, "step": 3 * epoch} for epoch in (1, 2)]
    log += [
        {"eval_loss": 0.5, "eval_w_f1": f1, "epoch": epoch, "step": 3 * epoch} for epoch, f1 in ((1, 0.8), (2, 0.7))
    ]
    log += [{**training, "loss_M": 0.9, "epoch": 2, "step": 6}]  # logged again by a resumed run
    log += [{"labels/weight_T": 0.9, "labels/movement_T": 0.1, "labels/differs_T": 0.2, "epoch": 1, "step": 3}]
    write_json(folder / "trainer_state.json", {"log_history": log, "best_global_step": 3})
    text = write_report(folder)
    drawn = [line.split(",") for line in (folder / "report/training.csv").read_text().splitlines()]
    assert drawn[0] == ["epoch", "loss_M", "eval_loss", "loss_T", "loss_inter", "eval_w_f1"]
    assert sorted(drawn[1:]) == [
        ["1", "", "0.5", "", "", "0.8"],
        ["1", "0.7", "", "0.6", "1.0", ""],
        ["2", "", "0.5", "", "", "0.7"],
        ["2", "0.9", "", "0.6", "1.0", ""],
    ]
    assert section(text, "Training")[1:] == [
        ["**1** (chosen)", "2.0000", "0.7000", "0.5000", "0.8000"],
        ["2", "2.0000", "0.9000", "0.5000", "0.7000"],
    ]
    assert (folder / "report/pseudo_labels.csv").read_text().splitlines() == [
        "epoch,weight_T,movement_T,differs_T",
        "2,0.9,0.1,0.2",
    ]


def test_what_is_another_experiment_than_the_papers_is_told(tmp_path):
    words = ("--corpus", "mustard", "--language_model", "google-bert/bert-base-uncased")
    results = {"test_w_acc": 0.5, "test_w_recall": 0.5}
    folder = write_run(tmp_path / "same", SARCASM, [0, 1], one_hot([0, 0], 2), results=results, arguments=words)
    write_json(folder / "corpus.json", {"table_ii": {"test": 2}, "expected": {"test": 2}, "found": {}, "dropped": {}})
    text = write_report(folder)
    assert {row[0]: row[3] for row in section(text, "Metrics")}["`w_acc`"] == "0.7969"
    told = json.loads((folder / "report.json").read_text())["metrics"]["paper_row"]
    assert (
        told.startswith("MUStARD (Table IX), SemanticMAC with BERT, the mean of five runs")
        and "not the same" not in told
    )
    assert "language model is" not in told and "also has" not in told and "last incomplete batch" in told
    words = ("--corpus", "mustard", "--language_model", "x", "--modalities", "text", "--use_context", "false")
    folder = write_run(tmp_path / "other", SARCASM, [0, 1], one_hot([0, 0], 2), results=results, arguments=words)
    write_json(folder / "corpus.json", {"table_ii": {"test": 68}, "expected": {}, "found": {}, "dropped": {}})
    write_report(folder)
    told = json.loads((folder / "report.json").read_text())["metrics"]["paper_row"]
    for part in (
        "language model is `x`",
        "also has audio and vision",
        "with earlier utterances",
        "68 clips, this run's 2",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("recorded", "best", "named"),
    [("loss", 0.5, "loss"), ("loss", 0.8, "w_f1"), ("None", 0.8, "w_f1"), ("w_acc", 0.9, "w_acc")],
)
def test_the_figure_that_chose_the_model_is_named(tmp_path, recorded, best, named):
    """Version 0.1 recorded "loss" for classes and chose by weighted F1; the state of the Trainer tells it apart."""
    folder = write_run(tmp_path / "run", SARCASM, [0, 1], one_hot([0, 1], 2))
    record = json.loads((folder / "run.json").read_text())
    record["training"]["metric_for_best_model"] = recorded
    write_json(folder / "run.json", record)
    log = [{"loss": 1.0, "loss_M": 0.7, "epoch": 1, "step": 3}]
    log += [{"eval_loss": 0.5, "eval_w_f1": 0.8, "eval_w_acc": 0.9, "epoch": 1, "step": 3}]
    write_json(folder / "trainer_state.json", {"log_history": log, "best_global_step": 3, "best_metric": best})
    write_report(folder)
    assert json.loads((folder / "report.json").read_text())["training"]["chosen_by"] == f"validation {named}"


def test_the_command(tmp_path, capsys):
    folder = write_run(tmp_path / "run", SENTIMENT, [0.0, 1.0], [[1.0], [2.0]])
    main([str(folder)])
    assert capsys.readouterr().out.startswith("# own, sentiment\n") and (folder / "report.md").is_file()
    record = json.loads((folder / "run.json").read_text())
    del record["task"]
    write_json(folder / "run.json", record)
    for words, message in (([str(tmp_path)], "no run.json"), ([str(folder)], "does not name the task")):
        with pytest.raises(SystemExit):
            main(words)
        assert message in capsys.readouterr().err
