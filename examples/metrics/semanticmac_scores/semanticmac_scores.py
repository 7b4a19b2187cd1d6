"""Metrics of scores on a scale of your own, for `evaluate.load("examples/metrics/semanticmac_scores")`."""

# The loader takes the one metric class that this file names.
from modeling_semanticmac.metrics.evaluate_metrics import ScoresMetric

__all__ = ["ScoresMetric"]
