"""Metrics of several emotions at a time, for `evaluate.load("examples/metrics/semanticmac_emotion")`."""

# The loader takes the one metric class that this file names.
from modeling_semanticmac.metrics.evaluate_metrics import EmotionMetric

__all__ = ["EmotionMetric"]
