"""Metrics of humour and sarcasm detection, for `evaluate.load("examples/metrics/semanticmac_detection")`."""

# The loader takes the one metric class that this file names.
from modeling_semanticmac.metrics.evaluate_metrics import DetectionMetric

__all__ = ["DetectionMetric"]
