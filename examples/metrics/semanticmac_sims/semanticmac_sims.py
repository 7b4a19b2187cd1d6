"""Metrics of CH-SIMS and CH-SIMS v2 sentiment scores, for `evaluate.load("examples/metrics/semanticmac_sims")`."""

# `evaluate.load` uses the metric class that this file imports.
from modeling_semanticmac.metrics.evaluate_metrics import SimsMetric

__all__ = ["SimsMetric"]
