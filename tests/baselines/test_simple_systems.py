"""Mean pooling, EF-LSTM, LF-LSTM and LF-Transformer against values computed by hand, and their numbers of weights."""

import pytest
import torch
from torch import nn

from modeling_semanticmac.baselines.early_fusion_lstm import EarlyFusionLSTM, EarlyFusionLSTMOptions
from modeling_semanticmac.baselines.late_fusion_sequence import (
    LateFusionLSTM,
    LateFusionLSTMOptions,
    LateFusionTransformer,
    LateFusionTransformerOptions,
)
from modeling_semanticmac.baselines.mean_pooling import MeanPooling, MeanPoolingOptions
from modeling_semanticmac.configuration_semanticmac import MODALITIES
from modeling_semanticmac.task_specification import TaskSpecification
from tests.helpers.fusion import random_streams
from tests.helpers.tiny import SENTIMENT

SIX = TaskSpecification("emotion", "multi_label_classification", tuple("abcdef"))
NARROW = {"text": 8, "audio": 4, "vision": 6}


def count(system, options, widths: tuple[int, int, int], task=SENTIMENT) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in system(options, dict(zip(MODALITIES, widths)), task).parameters())


@pytest.mark.parametrize(
    ("widths", "options", "public"),
    [
        ((768, 5, 20), {}, 885605),
        ((768, 1024, 1024), {}, 1921381),
        ((768, 74, 35), {"hidden_size": 256, "num_layers": 2}, 1754725),
        ((768, 33, 709), {"hidden_size": 32, "num_layers": 3}, 215717),
    ],
)
def test_ef_lstm_has_the_published_number_of_weights_but_for_its_norm(widths, options, public):
    """A layer norm over the width in the place of the published batch norm over 50 positions."""
    found = count(EarlyFusionLSTM, EarlyFusionLSTMOptions(**options), widths)
    assert found == public - 2 * 50 + 2 * sum(widths)


def test_lf_lstm_and_lf_transformer_have_the_published_numbers_of_weights():
    widths = (300, 144, 35)
    assert count(LateFusionLSTM, LateFusionLSTMOptions(media_width=None), widths, SIX) == 2026336
    options = LateFusionTransformerOptions(media_width=None, num_heads=1)
    assert count(LateFusionTransformer, options, widths, SIX) == 9739268
    assert count(MeanPooling, MeanPoolingOptions(audio=True), (768, 1024, 1024), SIX) == (768 + 1024 + 1) * 6


def test_mean_pooling_is_linear_in_the_means():
    streams = random_streams(NARROW, missing=[("audio", 1)])
    system = MeanPooling(MeanPoolingOptions(audio=True, dropout=0.0), NARROW, SENTIMENT)
    mean = torch.cat([streams.text[0].mean(0), streams.audio[0].mean(0)])
    second = torch.cat([streams.text[1, :-1].mean(0), torch.zeros(4)])  # no audio, and one token less
    expected = torch.stack([mean, second]) @ system.output.weight.T + system.output.bias
    torch.testing.assert_close(system(streams).logits, expected)
    assert MeanPooling(MeanPoolingOptions(), NARROW, SENTIMENT).output.in_features == 8  # text alone by default


def test_one_step_of_ef_lstm_is_an_lstm_on_the_concatenated_vector():
    """One word and three frames: the step is the word and the means of the frames."""
    torch.manual_seed(0)
    streams = random_streams(NARROW, lengths=(3, 3, 3), size=1)
    system = EarlyFusionLSTM(EarlyFusionLSTMOptions(5, 2, input_norm="none"), NARROW, SENTIMENT).eval()
    step = torch.cat([streams.text[0, 1], streams.audio[0].mean(0), streams.vision[0].mean(0)])
    _, (hidden, _) = system.lstm.lstm(step[None, None])
    expected = system.output(torch.relu(system.hidden(hidden[-1])))
    torch.testing.assert_close(system(streams).logits, expected)


@pytest.mark.parametrize(
    ("system", "options"),
    [(LateFusionLSTM, LateFusionLSTMOptions(4)), (LateFusionTransformer, LateFusionTransformerOptions(4, 1, 2))],
)
def test_weights_of_the_text_alone_give_its_own_prediction(system, options):
    torch.manual_seed(0)
    fusion = system(options, NARROW, SENTIMENT).eval()
    nn.init.zeros_(fusion.weights.weight)
    fusion.weights.weight.data[0, 0] = 1.0
    found = fusion(random_streams(NARROW, missing=[("audio", 0), ("text", 1)]))
    text = random_streams(NARROW, missing=[("text", 1)])
    own = fusion.branches["text"](fusion.projections["text"](text.text), text.text_mask)
    torch.testing.assert_close(found.logits[0], own[0])
    assert found.logits[1] == 0 and found.modality_logits[0, 1] == 0 and found.modality_logits[1, 0] == 0
    assert found.modality_logits[0, 2] != 0


def test_the_order_of_frames_matters_to_lf_transformer_only_with_positions():
    for positions, same in (("none", True), ("sinusoidal", False)):
        torch.manual_seed(0)
        options = LateFusionTransformerOptions(4, 1, 2, positions=positions)
        fusion = LateFusionTransformer(options, NARROW, SENTIMENT).eval()
        streams = random_streams(NARROW, size=1)
        before = fusion(streams).logits
        streams.audio = streams.audio.flip(1)
        assert torch.allclose(fusion(streams).logits, before, atol=1e-6) == same


def test_one_transformer_of_width_64_has_the_published_number_of_weights():
    with torch.device("meta"):
        branch = LateFusionTransformer(LateFusionTransformerOptions(), NARROW, SENTIMENT).branches["text"]
    layers = sum(p.numel() for p in branch.layers.parameters())
    assert layers + branch.first.numel() == 1124672
    with pytest.raises(ValueError, match="num_heads is 4, which does not divide the width 6"):
        LateFusionTransformer(LateFusionTransformerOptions(media_width=None), NARROW, SENTIMENT)
