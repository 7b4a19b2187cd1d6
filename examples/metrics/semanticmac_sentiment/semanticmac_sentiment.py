"""Metrics of CMU-MOSI and CMU-MOSEI sentiment scores, for `evaluate.load("examples/metrics/semanticmac_sentiment")`."""

# The loader takes the one metric class that this file names.
from modeling_semanticmac.metrics.evaluate_metrics import SentimentMetric

__all__ = ["SentimentMetric"]
