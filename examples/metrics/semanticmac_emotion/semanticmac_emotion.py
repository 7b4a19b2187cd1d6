"""Metrics of several emotions at a time, for `evaluate.load("examples/metrics/semanticmac_emotion")`."""

# `evaluate.load` uses the metric class that this file imports.
from modeling_semanticmac.metrics.evaluate_metrics import EmotionMetric

__all__ = ["EmotionMetric"]
