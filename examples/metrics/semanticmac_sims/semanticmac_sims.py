"""Metrics of CH-SIMS and CH-SIMS v2 sentiment scores, for `evaluate.load("examples/metrics/semanticmac_sims")`."""

# The loader takes the one metric class that this file names.
from modeling_semanticmac.metrics.evaluate_metrics import SimsMetric

__all__ = ["SimsMetric"]
