import torch
from torch.nn import functional as F

from modeling_semanticmac.baselines import Streams
from modeling_semanticmac.baselines.fusion_layers import (
    PackedLSTM,
    first_state,
    last_state,
    masked_mean,
    pool_to_steps,
    text_summary,
    word_steps,
)

GAPS = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()  # (4, 5)


def garbage(mask: torch.Tensor, width: int) -> torch.Tensor:
    """Return rows (B, T, width) with NaN where the mask is 0."""
    x = torch.randn(*mask.shape, width, generator=torch.Generator().manual_seed(0))
    return x.masked_fill(~mask[..., None], float("nan"))


def test_means_and_states_are_those_of_the_valid_positions():
    x = torch.tensor([[[1.0], [9.0], [2.0], [6.0], [9.0]]]).repeat(4, 1, 1).masked_fill(~GAPS[..., None], float("nan"))
    torch.testing.assert_close(masked_mean(x, GAPS).flatten(), torch.tensor([3.0, 17 / 3, 0.0, 5.4]))
    assert first_state(x, GAPS).flatten().tolist() == [1.0, 2.0, 0.0, 1.0]
    assert last_state(x, GAPS).flatten().tolist() == [6.0, 9.0, 0.0, 9.0]


def test_a_text_is_summed_up_by_its_first_token_its_words_or_its_last_token():
    text = torch.tensor([[[1.0], [2.0], [4.0], [7.0]], [[0.0], [5.0], [6.0], [8.0]]])
    mask = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1]]).bool()  # padded on the right, and on the left
    words = torch.tensor([[0, 1, 1, 0], [0, 1, 1, 0]]).bool()
    found = {how: text_summary(text, mask, words, how).flatten().tolist() for how in ("first", "mean", "last")}
    assert found == {"first": [1.0, 5.0], "mean": [3.0, 5.5], "last": [4.0, 8.0]}


def test_a_packed_lstm_equals_an_lstm_on_each_row_without_its_invalid_steps():
    torch.manual_seed(0)
    for directions in (1, 2):
        layer = PackedLSTM(3, 4, num_layers=2, bidirectional=directions == 2).eval()
        states, final = layer.states(garbage(GAPS, 3), GAPS)
        assert layer(garbage(GAPS, 3), GAPS).equal(final)
        for row, mask in enumerate(GAPS):
            if not mask.any():
                assert not final[row].any() and not states[row].any()
                continue
            expected, (hidden, _) = layer.lstm(garbage(GAPS, 3)[row : row + 1, mask])
            torch.testing.assert_close(states[row, mask], expected[0])
            torch.testing.assert_close(final[row], hidden[-directions:].reshape(-1))
            assert not states[row, ~mask].any()


def test_pooling_to_steps_is_adaptive_average_pooling_of_the_valid_parts():
    frames = torch.arange(9) < torch.tensor([[9], [2], [5], [0], [7]])
    steps = torch.tensor([[0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0] * 6])
    steps = steps.bool()
    x = garbage(frames, 3)
    found = pool_to_steps(x, frames, steps)
    for row in range(5):
        assert not found[row, ~steps[row]].any()
        if row == 3:  # without frames
            assert not found[row].any()
        elif row != 4:  # without steps
            expected = F.adaptive_avg_pool1d(x[row, frames[row]].T[None], int(steps[row].sum()))[0].T
            torch.testing.assert_close(found[row, steps[row]], expected)


def test_steps_are_the_words_and_without_words_the_frames_up_to_fifty():
    lengths = torch.tensor([[0, 2, 60, 3], [0, 5, 1, 0]])  # of audio and vision, four clips
    audio_mask, vision_mask = (torch.arange(60) < row[:, None] for row in lengths)
    text_mask = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]]).bool()
    words = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]).bool()
    text, audio, vision = torch.ones(4, 4, 2), torch.ones(4, 60, 1), torch.ones(4, 60, 1)
    steps = word_steps(Streams(text, text_mask, words, audio, audio_mask, vision, vision_mask, torch.ones(4, 3).bool()))
    assert steps.mask.sum(dim=1).tolist() == [2, 5, 50, 1]
    assert steps.mask[0].nonzero().flatten().tolist() == [1, 2]
    assert steps.text.sum(dim=1)[:, 0].tolist() == [2.0, 0.0, 0.0, 1.0]
    assert steps.audio.sum(dim=1).flatten().tolist() == [0.0, 5.0, 50.0, 1.0]
    assert steps.vision.sum(dim=1).flatten().tolist() == [0.0, 5.0, 50.0, 0.0]
