"""The support vector machine: torch computes what scikit-learn does, and a saved one computes the same."""

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from modeling_semanticmac.benchmark.support_vectors import (
    GRID,
    SupportVectorOptions,
    SupportVectors,
    fit_support_vectors,
)
from tests.helpers.tiny import EMOTIONS, SARCASM


@pytest.fixture
def clips():
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    audio = generator.normal(5, 3, (60, 6)) + labels[:, None]
    vision = np.concatenate([generator.normal(-1, 0.1, (60, 3)) - 0.05 * labels[:, None], np.ones((60, 1))], axis=1)
    return {"audio": audio, "vision": vision}, labels


@pytest.mark.parametrize("standardize", [True, False])
def test_torch_computes_the_decision_of_scikit_learn(clips, standardize, tmp_path):
    streams, labels = clips
    options = SupportVectorOptions(C=10, standardize=standardize)
    machine = SupportVectors(SARCASM, options, 10).fit(streams, labels)
    columns = np.hstack(list(streams.values()))
    steps = [StandardScaler()] if standardize else []
    expected = make_pipeline(*steps, SVC(C=10, gamma="scale")).fit(columns, labels).decision_function(columns)
    np.testing.assert_allclose(machine.decision(streams).numpy(), expected, atol=1e-5)
    logits = machine.logits(streams)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected, atol=1e-5)
    machine.save(tmp_path)
    again = SupportVectors.load(tmp_path, SARCASM, options)
    assert torch.equal(again.decision(streams), machine.decision(streams))
    count = len(machine.tensors["weights"])
    assert machine.num_parameters == count * 10 + count + 1


def test_what_a_clip_lacks_is_the_mean_of_the_others(clips):
    streams, labels = clips
    lacking = {name: rows.copy() for name, rows in streams.items()}
    lacking["audio"][3] = np.nan
    machine = SupportVectors(SARCASM, SupportVectorOptions(), 1).fit(lacking, labels)
    filled = {
        **lacking,
        "audio": np.where(np.isnan(lacking["audio"]), np.nanmean(lacking["audio"], axis=0), lacking["audio"]),
    }
    torch.testing.assert_close(machine.decision(lacking), machine.decision(filled))


def test_validation_chooses(clips):
    streams, labels = clips
    parts = ({name: rows[:40] for name, rows in streams.items()}, labels[:40])
    held = ({name: rows[40:] for name, rows in streams.items()}, labels[40:])
    chosen = fit_support_vectors(SARCASM, SupportVectorOptions(), parts, held)
    qualities = [SupportVectors(SARCASM, SupportVectorOptions(), C).fit(*parts).quality(*held) for C in GRID]
    assert chosen.C == GRID[int(np.argmax(qualities))]
    with pytest.raises(ValueError, match="svm is for two classes"):
        SupportVectors(EMOTIONS, SupportVectorOptions(), 1)
    with pytest.raises(ValueError, match="svm has no option 'standardise'. Did you mean 'standardize'"):
        SupportVectorOptions.read({"standardise": True})
