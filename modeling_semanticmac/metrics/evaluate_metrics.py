"""The families of metrics as classes of `evaluate.Metric`, thin wrappers of the plain functions.

From the package: `SentimentMetric().compute(predictions=p, references=y)`. From a folder, offline:
`evaluate.load("examples/metrics/semanticmac_sentiment")`. `add_batch` collects batches; with `num_process` and a shared
`cache_dir` it collects over processes, and the first process returns the value.
"""

import evaluate
from datasets import Features, List, Value

from .classification import conversation_metrics, weighted_metrics
from .multi_label import multi_label_metrics
from .scores import scores_metrics
from .sentiment import mosi_metrics, sims_metrics

# Class ids are read as float64 too: an integer column would silently cut 0.7 to 0, whereas the metric refuses it.
NUMBER = Value("float64")


class FamilyMetric(evaluate.Metric):
    """Base of the metrics below.

    Attributes:
        results: description of the results.
        inputs: description of the inputs.
        feature: type of one prediction.
    """

    results: str
    inputs: str
    feature = NUMBER

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.results,
            inputs_description=self.inputs,
            citation="End-to-end Semantic-centric Video-based Multimodal Affective Computing, arXiv 2408.07694",
            features=Features({"predictions": self.feature, "references": self.feature}),
        )


class SentimentMetric(FamilyMetric):
    """Sentiment of CMU-MOSI and CMU-MOSEI: `mosi_metrics`."""

    results = "acc7, acc5, acc3, both forms of the two-class accuracy and F1, mae, pearson"
    inputs = "predictions, references: scores in [-3, 3]"

    def _compute(self, predictions, references):
        return mosi_metrics(predictions, references)


class SimsMetric(FamilyMetric):
    """Sentiment of CH-SIMS and CH-SIMS v2: `sims_metrics`."""

    results = "sims_acc2, sims_f1, sims_acc3, sims_acc5, sims_mae, sims_pearson"
    inputs = "predictions, references: scores in [-1, 1]"

    def _compute(self, predictions, references):
        return sims_metrics(predictions, references)


class ScoresMetric(FamilyMetric):
    """Scores on a scale of your own: `scores_metrics`."""

    results = "mae, pearson, polarity_acc, polarity_f1, polarity_macro_f1"
    inputs = "predictions, references: scores; label_range: (lowest, highest) score of the scale"

    def _compute(self, predictions, references, label_range):
        return scores_metrics(predictions, references, label_range)


class EmotionMetric(FamilyMetric):
    """Several emotions at a time (CMU-MOSEI; IEMOCAP, one against the rest): `multi_label_metrics`."""

    results = "macro_f1; n_acc, s_acc, b_f1, w_f1: mean and value of each class; with thresholds also <metric>_tuned"
    inputs = (
        "predictions: sigmoid scores (n, C); references: multi-hot (n, C); label_names: C names; thresholds: C or none"
    )
    feature = List(NUMBER)

    def _compute(self, predictions, references, label_names, thresholds=None):
        return multi_label_metrics(predictions, references, label_names, thresholds)


class ConversationMetric(FamilyMetric):
    """One emotion a turn (IEMOCAP, MELD): `conversation_metrics`."""

    results = "w_acc, w_f1, macro_f1, f1_<class>"
    inputs = "predictions, references: class ids; label_names: the names in the order of the ids"

    def _compute(self, predictions, references, label_names):
        return conversation_metrics(predictions, references, label_names)


class DetectionMetric(FamilyMetric):
    """Humour (UR-FUNNY) and sarcasm (MUStARD): `weighted_metrics`."""

    results = "w_precision, w_recall, w_f1, w_acc, macro_f1"
    inputs = "predictions, references: class ids"

    def _compute(self, predictions, references):
        return weighted_metrics(predictions, references)
