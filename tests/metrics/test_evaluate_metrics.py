"""`evaluate.Metric` from the package and from the folders of examples/metrics, without a network."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import evaluate
import numpy as np
import pytest

from modeling_semanticmac import metrics
from modeling_semanticmac.metrics import evaluate_metrics
from tests.helpers.project import PROJECT

FOLDERS = PROJECT / "examples" / "metrics"
NAMES = ("happy", "sad")
SCORES, MULTI_HOT = [[0.9, 0.2], [0.4, 0.7], [0.6, 0.1]], [[1, 0], [1, 1], [0, 0]]
REGRESSION = [0.1, -0.4, 0.7, 0.0], [0.2, -0.8, -0.1, 0.0]
CLASSES = [0, 1, 1, 0], [0, 1, 0, 0]

CASES = [
    ("sentiment", *REGRESSION, {}, metrics.mosi_metrics(*REGRESSION)),
    ("sims", *REGRESSION, {}, metrics.sims_metrics(*REGRESSION)),
    ("scores", *REGRESSION, {"label_range": (-1, 1)}, metrics.scores_metrics(*REGRESSION, (-1, 1))),
    ("emotion", SCORES, MULTI_HOT, {"label_names": NAMES}, metrics.multi_label_metrics(SCORES, MULTI_HOT, NAMES)),
    (
        "emotion",
        SCORES,
        MULTI_HOT,
        {"label_names": NAMES, "thresholds": [0.3, 0.5]},
        metrics.multi_label_metrics(SCORES, MULTI_HOT, NAMES, [0.3, 0.5]),
    ),
    ("conversation", *CLASSES, {"label_names": NAMES}, metrics.conversation_metrics(*CLASSES, NAMES)),
    ("detection", *CLASSES, {}, metrics.weighted_metrics(*CLASSES)),
]


@pytest.mark.parametrize(("name", "predictions", "references", "options", "expected"), CASES)
def test_a_folder_gives_the_metric_of_the_package(name, predictions, references, options, expected, tmp_path):
    metric = evaluate.load(str(FOLDERS / f"semanticmac_{name}"), cache_dir=str(tmp_path))
    assert metric.compute(predictions=predictions, references=references, **options) == expected
    # In batches, the last one incomplete: the metric of all clips, not the mean over batches.
    for start in range(0, len(predictions), 3):
        metric.add_batch(predictions=predictions[start : start + 3], references=references[start : start + 3])
    assert metric.compute(**options) == expected
    assert all(word in str(metric) for word in ("predictions", "references"))


def test_the_folders_name_the_classes():
    folders = sorted(path.name for path in FOLDERS.iterdir())
    assert folders == sorted({f"semanticmac_{case[0]}" for case in CASES})
    base = evaluate_metrics.FamilyMetric
    classes = {type(evaluate.load(str(FOLDERS / folder))) for folder in folders}
    assert classes == set(base.__subclasses__())


def test_arrays_are_taken_and_wrong_input_is_refused(tmp_path):
    metric = evaluate_metrics.SentimentMetric(cache_dir=str(tmp_path))
    predictions, references = np.array(REGRESSION, dtype=np.float32)
    assert metric.compute(predictions=predictions, references=references) == metrics.mosi_metrics(
        predictions, references
    )
    with pytest.raises(ValueError):
        metric.add_batch(predictions=[1.0, 2.0], references=[1.0])
    detection = evaluate_metrics.DetectionMetric(cache_dir=str(tmp_path))
    with pytest.raises(ValueError, match="predictions hold 0.7"):
        detection.compute(predictions=[0.7, 0.0], references=[1, 0])


def test_two_ranks_over_a_shared_folder_count_every_clip_once(tmp_path):
    predictions, references = REGRESSION
    parts = [slice(0, 3), slice(3, 4)]

    def rank(process_id: int):
        metric = evaluate_metrics.SentimentMetric(
            num_process=2, process_id=process_id, experiment_id="two", cache_dir=str(tmp_path), timeout=20
        )
        metric.add_batch(predictions=predictions[parts[process_id]], references=references[parts[process_id]])
        return metric.compute()

    with ThreadPoolExecutor(2) as ranks:
        first, second = ranks.map(rank, range(2))
    assert second is None
    assert first == pytest.approx(metrics.mosi_metrics(predictions, references), abs=1e-12)
    assert not list(Path(tmp_path).rglob("*.arrow"))
