"""Where the project lies."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
RECIPE = str(PROJECT / "modeling_semanticmac/training/recipes/synthetic_sentiment.yaml")
