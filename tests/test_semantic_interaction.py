import pytest
import torch

from modeling_semanticmac.semantic_interaction import InteractionStack, SemanticInteraction
from tests.helpers.tiny import tiny_config


def interaction(**fields) -> SemanticInteraction:
    torch.manual_seed(0)
    module = SemanticInteraction(tiny_config(**fields)).eval()
    if module.modality_embedding is not None:
        torch.nn.init.normal_(module.modality_embedding)
    return module


def streams():
    generator = torch.Generator().manual_seed(1)
    tokens = [torch.randn(2, length, 16, generator=generator) for length in (6, 5, 4)]
    masks = [torch.ones(2, length, dtype=torch.bool) for length in (6, 5, 4)]
    masks[0][1, 3:] = False
    return tokens, masks


def test_equals_equations_5_and_10_to_12_written_out():
    """One sample without padding, so that plain means and concatenations are the whole truth."""
    module = interaction()
    tokens = [x[:1] for x in streams()[0]]
    ones = [torch.ones(x.shape[:2]) for x in tokens]
    text, audio, vision = (x + e for x, e in zip(tokens, module.modality_embedding))
    pairs = [
        (text, torch.cat([audio, vision], 1)),
        (audio, torch.cat([text, vision], 1)),
        (vision, torch.cat([text, audio], 1)),
    ]
    pooled = [module.specific(x, torch.ones(x.shape[:2])).mean(1) for x, _ in pairs]
    pooled += [module.shared(x, torch.ones(x.shape[:2]), c, torch.ones(c.shape[:2])).mean(1) for x, c in pairs]
    expected = torch.cat(pooled, -1) @ module.fusion.weight.T + module.fusion.bias
    multimodal, specific, shared = module(tokens, ones)
    torch.testing.assert_close(multimodal, expected)
    torch.testing.assert_close(specific, torch.stack(pooled[:3], 1))
    torch.testing.assert_close(shared, torch.stack(pooled[3:], 1))


def test_specific_of_a_modality_does_not_see_the_others_and_shared_does():
    module = interaction()
    tokens, masks = streams()
    _, specific, shared = module(tokens, masks)
    changed = [tokens[0], torch.randn_like(tokens[1]), tokens[2]]
    _, specific2, shared2 = module(changed, masks)
    torch.testing.assert_close(specific2[:, [0, 2]], specific[:, [0, 2]])
    assert not torch.allclose(specific2[:, 1], specific[:, 1], atol=1e-3)
    assert not torch.allclose(shared2[:, 0], shared[:, 0], atol=1e-3)


def test_a_missing_modality_is_zero_and_no_key():
    module = interaction()
    tokens, masks = streams()
    masks[1] = torch.zeros_like(masks[1])
    _, specific, shared = module(tokens, masks)
    assert specific[:, 1].eq(0).all() and shared[:, 1].eq(0).all()
    noise = [tokens[0], torch.randn_like(tokens[1]), tokens[2]]
    for found, expected in zip(module(noise, masks), module(tokens, masks)):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("use", [True, False])
def test_modality_embeddings_tell_equal_streams_apart(use):
    module = interaction(use_modality_embeddings=use)
    same = torch.randn(2, 4, 16)
    _, specific, _ = module([same] * 3, [torch.ones(2, 4)] * 3)
    assert torch.allclose(specific[:, 0], specific[:, 1], atol=1e-4) != use


def test_context_stays_fixed_and_self_interaction_follows_the_layers():
    torch.manual_seed(0)
    stack = InteractionStack(tiny_config()).eval()
    hidden, context = torch.randn(1, 3, 16), torch.randn(1, 4, 16)
    mask, context_mask = torch.ones(1, 3), torch.ones(1, 4)
    first, second = stack.layers
    middle = first(hidden, context, mask, context_mask)
    torch.testing.assert_close(
        stack(hidden, mask, context, context_mask), stack.norm(second(middle, context, mask, context_mask))
    )
    middle = first(hidden, hidden, mask, mask)
    torch.testing.assert_close(stack(hidden, mask), stack.norm(second(middle, middle, mask, mask)))
