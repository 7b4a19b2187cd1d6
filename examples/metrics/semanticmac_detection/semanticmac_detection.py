"""Metrics of humour and sarcasm detection, for `evaluate.load("examples/metrics/semanticmac_detection")`."""

# `evaluate.load` uses the metric class that this file imports.
from modeling_semanticmac.metrics.evaluate_metrics import DetectionMetric

__all__ = ["DetectionMetric"]
