"""The metrics of a corpus as `evaluate.Metric`, one class for each family: thin coats over plain functions.

From the package: `SentimentMetric().compute(predictions=p, references=y)`. From a folder, offline:
`evaluate.load("examples/metrics/semanticmac_sentiment")`. `add_batch` collects over batches; with `num_process` and a
shared `cache_dir` over processes, and the value comes out on the first of them.
"""

import evaluate
from datasets import Features, List, Value

from .classification import conversation_metrics, multi_label_metrics, weighted_metrics
from .scores import scores_metrics
from .sentiment import mosi_metrics, sims_metrics

# Class ids too are read as float64: an integer column would cut 0.7 to 0 without a word, whereas the metric refuses it.
NUMBER = Value("float64")


class FamilyMetric(evaluate.Metric):
    """What the metrics below share: words on results (`reports`) and inputs (`takes`), the type of one prediction."""

    reports: str
    takes: str
    feature = NUMBER

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.reports,
            inputs_description=self.takes,
            citation="End-to-end Semantic-centric Video-based Multimodal Affective Computing, arXiv 2408.07694",
            features=Features({"predictions": self.feature, "references": self.feature}),
        )


class SentimentMetric(FamilyMetric):
    """CMU-MOSI and CMU-MOSEI sentiment: `mosi_metrics`."""

    reports = "acc7, acc5, acc3, both forms of the two-class accuracy and F1, mae, pearson"
    takes = "predictions, references: scores in [-3, 3]"

    def _compute(self, predictions, references):
        return mosi_metrics(predictions, references)


class SimsMetric(FamilyMetric):
    """CH-SIMS and CH-SIMS v2: `sims_metrics`."""

    reports = "sims_acc2, sims_f1, sims_acc3, sims_acc5, sims_mae, sims_pearson"
    takes = "predictions, references: scores in [-1, 1]"

    def _compute(self, predictions, references):
        return sims_metrics(predictions, references)


class ScoresMetric(FamilyMetric):
    """Scores on a scale of your own: `scores_metrics`."""

    reports = "mae, pearson, polarity_acc, polarity_f1, polarity_macro_f1"
    takes = "predictions, references: scores; label_range: (lowest, highest) score of the scale"

    def _compute(self, predictions, references, label_range):
        return scores_metrics(predictions, references, label_range)


class EmotionMetric(FamilyMetric):
    """Several emotions at a time, CMU-MOSEI and IEMOCAP one against the rest: `multi_label_metrics`."""

    reports = (
        "macro_f1; n_acc, s_acc, b_f1, w_f1, their means and one for each class; with thresholds also <metric>_tuned"
    )
    takes = (
        "predictions: sigmoid scores (n, C); references: multi-hot (n, C); label_names: C names; thresholds: C or none"
    )
    feature = List(NUMBER)

    def _compute(self, predictions, references, label_names, thresholds=None):
        return multi_label_metrics(predictions, references, label_names, thresholds)


class ConversationMetric(FamilyMetric):
    """One emotion a turn, IEMOCAP and MELD: `conversation_metrics`."""

    reports = "w_acc, w_f1, macro_f1, f1_<class>"
    takes = "predictions, references: class ids; label_names: the names in the order of the ids"

    def _compute(self, predictions, references, label_names):
        return conversation_metrics(predictions, references, label_names)


class DetectionMetric(FamilyMetric):
    """Humour (UR-FUNNY) and sarcasm (MUStARD): `weighted_metrics`."""

    reports = "w_precision, w_recall, w_f1, w_acc, macro_f1"
    takes = "predictions, references: class ids"

    def _compute(self, predictions, references):
        return weighted_metrics(predictions, references)
