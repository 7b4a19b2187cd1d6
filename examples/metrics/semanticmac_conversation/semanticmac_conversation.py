"""Metrics of one emotion a turn in conversations, for `evaluate.load("examples/metrics/semanticmac_conversation")`."""

# `evaluate.load` uses the metric class that this file imports.
from modeling_semanticmac.metrics.evaluate_metrics import ConversationMetric

__all__ = ["ConversationMetric"]
