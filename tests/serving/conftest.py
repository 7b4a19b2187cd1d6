"""The pipeline of the small run."""

import pytest
from transformers import pipeline


@pytest.fixture(scope="package")
def pipe(world):
    return pipeline("video-affect", model=str(world["run"]), device="cpu")
