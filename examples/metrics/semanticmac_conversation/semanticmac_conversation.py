"""Metrics of one emotion a turn in conversations, for `evaluate.load("examples/metrics/semanticmac_conversation")`."""

# The loader takes the one metric class that this file names.
from modeling_semanticmac.metrics.evaluate_metrics import ConversationMetric

__all__ = ["ConversationMetric"]
