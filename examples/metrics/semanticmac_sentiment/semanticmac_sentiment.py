"""Metrics of CMU-MOSI and CMU-MOSEI sentiment scores, for `evaluate.load("examples/metrics/semanticmac_sentiment")`."""

# `evaluate.load` uses the metric class that this file imports.
from modeling_semanticmac.metrics.evaluate_metrics import SentimentMetric

__all__ = ["SentimentMetric"]
