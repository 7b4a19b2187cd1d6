"""The `Example:` sections of the metrics show what the functions return."""

import doctest
import importlib

import pytest

from modeling_semanticmac import metrics

MODULES = ("classification", "families", "multi_label", "scores", "sentiment")


@pytest.mark.parametrize("name", MODULES)
def test_examples_return_what_they_show(name):
    found = doctest.testmod(importlib.import_module(f"modeling_semanticmac.metrics.{name}"))
    assert found.attempted > 0 and found.failed == 0


def test_every_metric_has_an_example():
    """All functions that return one figure."""
    for name in metrics.__all__:
        member = getattr(metrics, name)
        if callable(member) and name.split("_")[-1] in ("f1", "acc", "acc2", "acc3", "acc5", "acc7", "mae", "pearson"):
            assert ">>>" in member.__doc__, name
