"""Attention over time, against weights computed head by head and multiplied as matrices over all tokens."""

import numpy as np
import pytest
import torch

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.analyses.attention_over_time import attention_over_time, recorded_attention
from modeling_semanticmac.configuration_semanticmac import MODALITIES
from modeling_semanticmac.semantic_interaction import GatedBridgeAttention, GatedBridgeLayer
from tests.helpers.tiny import random_batch, tiny_config


def model(**fields) -> SemanticMACForAffect:
    """Return a random model whose weights are so large that attention is far from even."""
    torch.manual_seed(0)
    return SemanticMACForAffect(tiny_config(initializer_range=0.5, **fields)).eval()


def softmax(rows: np.ndarray) -> np.ndarray:
    rows = np.exp(rows - rows.max(axis=-1, keepdims=True, initial=-np.inf))
    return rows / rows.sum(axis=-1, keepdims=True)  # without keys: no column at all


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def head_slices(linear: torch.nn.Linear, width: int, heads: int) -> list[np.ndarray]:
    """Return the weight of each head; a shared weight is returned for each."""
    rows = numbers(linear.weight)
    return [rows[i * width : (i + 1) * width] if len(rows) > width else rows for i in range(heads)]


def perceiver_matrix(layer, latents: np.ndarray, media: np.ndarray) -> np.ndarray:
    """Return the mean over heads of softmax(Q K^T / sqrt(d_h)), (N, T + N), from normed inputs."""
    queries, keys = (head_slices(linear, layer.head_width, 4) for linear in (layer.query, layer.key))
    return np.mean(
        [softmax(latents @ q.T @ k @ media.T / layer.head_width**0.5) for q, k in zip(queries, keys)], axis=0
    )


def bridge_matrix(module, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the mean over heads of A_i (L_q, L_k), with the adaptive pooling of PyTorch."""
    found = []
    heads = (head_slices(linear, module.head_width, 4) for linear in (module.query, module.key))
    for q, k in zip(*heads):
        query, key, scale = queries @ q.T, keys @ k.T, module.head_width**0.5
        if module.num_bridge_tokens is None:
            found.append(softmax(query @ key.T / scale))
            continue
        pool = torch.nn.functional.adaptive_avg_pool1d(torch.tensor(query.T)[None], module.num_bridge_tokens)
        bridge = pool[0].T.numpy()
        found.append(softmax(query @ bridge.T / scale) @ softmax(bridge @ key.T / scale))
    return np.mean(found, axis=0)


def brute_force(net: SemanticMACForAffect, batch: dict, lengths: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Return the shares of the frames of one clip.

    Weights are computed from the inputs of each layer and multiplied as matrices over frames and latents, and over all
    tokens.
    """
    base, inputs = net.semanticmac, {}
    handles = [
        module.register_forward_hook(lambda module, given, _: inputs.setdefault(module, []).append(given))
        for module in base.modules()
        if isinstance(module, GatedBridgeLayer) or type(module).__name__ == "PerceiverLayer"
    ]
    with torch.no_grad():
        net(**batch)
    for handle in handles:
        handle.remove()
    present = [m for m in range(3) if lengths[m]]
    sizes = [lengths[0] if m == 0 else 5 for m in present]
    starts = np.cumsum([0, *sizes])
    pooled = np.zeros(sum(sizes))
    for call in range(len(present)):
        own = np.arange(starts[call], starts[call + 1])
        others = np.setdiff1d(np.arange(sum(sizes)), own)
        for stack, keys_at in ((base.interaction.specific, own), (base.interaction.shared, others)):
            chain = np.eye(sum(sizes))
            for layer in stack.layers:
                hidden, context = inputs[layer][call][:2]
                normed = [numbers(norm(x)[0]) for norm, x in ((layer.norm_query, hidden), (layer.norm_key, context))]
                step = np.eye(sum(sizes))
                step[own] *= 0.5
                step[np.ix_(own, keys_at)] += 0.5 * bridge_matrix(layer.attention, *normed)
                chain = step @ chain
            pooled += chain[own].mean(axis=0)
    found = {}
    for call, m in enumerate(present):
        if m == 0:
            continue
        perceiver, frames = getattr(base, f"{MODALITIES[m]}_perceiver"), lengths[m]
        chain = np.eye(frames + 5)
        for layer in perceiver.layers:
            latents, embeds, _ = inputs[layer][0]
            latents, embeds = layer.norm_latents(latents)[0], layer.norm_embeds(embeds)[0]
            step = np.eye(frames + 5)
            share = 0.5 if layer.residual else 1.0
            step[frames:] *= 1 - share
            step[frames:] += share * perceiver_matrix(layer, numbers(latents), numbers(torch.cat([embeds, latents])))
            chain = step @ chain
        held = chain[frames:, :frames]
        weight = pooled[starts[call] : starts[call + 1]] @ held
        found[MODALITIES[m]] = (held.sum(axis=0) / held.sum(), weight / weight.sum())
    return found


@pytest.mark.parametrize("lengths", [(4, 6, 7), (0, 6, 1), (5, 0, 9), (0, 0, 4)])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"multi_query": False, "perceiver_residual": False},
        {"use_bridge_tokens": False, "perceiver_norm": "none"},
    ],
)
def test_equals_the_same_weights_chained_as_matrices(lengths, fields):
    net, batch = model(**fields), random_batch([lengths])
    keep = [name for name, length in zip(("input_ids", "audio_embeds", "vision_embeds"), lengths) if length]
    masks = {"input_ids": "attention_mask", "audio_embeds": "audio_mask", "vision_embeds": "vision_mask"}
    batch = {name: batch[name] for key in keep for name in (key, masks[key])}
    found, expected = attention_over_time(net, batch), brute_force(net, batch, lengths)
    assert set(found) == set(expected)
    for name, (perceiver, representations) in expected.items():
        np.testing.assert_allclose(found[name].perceiver[0], perceiver, atol=1e-5)
        np.testing.assert_allclose(found[name].representations[0], representations, atol=1e-5)
        if len(perceiver) > 1:
            assert perceiver.max() > 1.2 / len(perceiver)  # far from even, so that agreement means something


def test_rows_sum_to_one_and_padding_has_no_effect():
    """Alone or in a batch of longer clips whose padding is NaN; a clip without the modality has zeros."""
    lengths = [(4, 6, 7), (9, 2, 3), (3, 0, 2), (0, 1, 0)]
    net, batch = model(), random_batch(lengths)
    found = attention_over_time(net, batch | {"labels": torch.zeros(4), "clip_index": torch.arange(4)})
    for m, name in ((1, "audio"), (2, "vision")):
        for kind in ("perceiver", "representations"):
            weights = getattr(found[name], kind)
            assert weights.shape == batch[f"{name}_mask"].shape
            assert weights[batch[f"{name}_mask"] == 0].eq(0).all()
            expected = torch.tensor([float(row[m] > 0) for row in lengths])
            torch.testing.assert_close(weights.sum(dim=1), expected)
    alone = {name: value[1:2] for name, value in batch.items()}
    alone |= {name: alone[name][:, :length] for name, length in (("audio_embeds", 2), ("audio_mask", 2))}
    single = attention_over_time(net, alone)["audio"].representations
    torch.testing.assert_close(single, found["audio"].representations[1:2, :2], atol=1e-5, rtol=1e-4)


def test_crops_of_a_time_step_are_added_up():
    net = model(num_crops=3)
    batch = random_batch([(4, 2, 6), (4, 2, 3)])
    weights = attention_over_time(net, batch)["vision"].representations
    assert weights.shape == (2, 2) and weights[1, 1] == 0
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))


def test_recording_changes_no_output_and_removes_its_hooks():
    net, batch = model(), random_batch([(4, 6, 7), (2, 3, 0)])
    with torch.no_grad():
        before = net(**batch)
        with recorded_attention(net) as weights:
            during = net(**batch)
        after = net(**batch)
    assert before.logits.equal(during.logits) and before.subtask_logits.equal(during.subtask_logits)
    assert before.logits.equal(after.logits)
    calls = [(len(rows), isinstance(module, GatedBridgeAttention)) for module, rows in weights.items()]
    assert len(calls) == 2 * 2 + 2 * 2 and all(count == (3 if is_bridge else 1) for count, is_bridge in calls)
    assert not any(module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("fields", [{}, {"multi_query": False}, {"use_bridge_tokens": False}])
def test_weights_are_those_of_the_layers(fields):
    """The output of the attention is its weights times the values."""
    net = model(**fields)
    layer = net.semanticmac.audio_perceiver.layers[0]
    module = net.semanticmac.interaction.shared.layers[0].attention
    rows, mask = torch.randn(2, 6, 16), torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]])
    queries = torch.randn(2, 3, 16)
    weights = module.attention_weights(queries, rows, torch.ones(2, 3), mask)
    value = module.value(rows).unflatten(-1, (-1, module.head_width)).transpose(1, 2)
    expected = module.output((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(module(queries, rows, torch.ones(2, 3), mask), expected, atol=1e-5, rtol=1e-5)
    latents = torch.randn(2, 5, 16)
    weights = layer.attention_weights(latents, rows, mask)
    assert weights[1, ..., 2:6].eq(0).all()
    media = torch.cat([layer.norm_embeds(rows), layer.norm_latents(latents)], dim=1)
    value = layer.value(media).unflatten(-1, (-1, layer.head_width)).transpose(1, 2)
    hidden = layer.output((weights @ value).transpose(1, 2).flatten(2)) + latents
    torch.testing.assert_close(
        layer(latents, rows, mask), hidden + layer.feed_forward(layer.norm_feed_forward(hidden)), atol=1e-5, rtol=1e-5
    )


def planted_frames(count: int, generator: torch.Generator) -> tuple[dict, torch.Tensor, torch.Tensor]:
    """Return clips of six frames of noise, one of which is marked and holds the score.

    Returns:
        Inputs, scores (n,), and the number of the marked frame (n,).
    """
    embeds, rows = torch.randn(count, 6, 20, generator=generator), torch.arange(count)
    score, place = torch.rand(count, generator=generator) * 6 - 3, torch.randint(6, (count,), generator=generator)
    embeds[rows, place] *= 0.3
    embeds[rows, place, 0], embeds[rows, place, 1] = 4.0, score
    return {"vision_embeds": embeds, "vision_mask": torch.ones(count, 6)}, score, place


def test_a_trained_model_looks_at_the_frame_that_holds_the_answer():
    """Before training attention is even; after it the frame with the answer has the most in nearly all clips."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    # Without the linear start: its mean and deviation of the frames answer without attention.
    net = SemanticMACForAffect(tiny_config(dropout=0.0, linear_start=False))
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    held = planted_frames(200, generator)
    even = attention_over_time(net.eval(), held[0])["vision"].representations
    torch.testing.assert_close(even, torch.full_like(even, 1 / 6), atol=0.01, rtol=0)
    net.train()
    for _ in range(200):  # all of five seeds find every frame from 150 steps on; at 100 it depends on rounding
        inputs, score, _ = planted_frames(64, generator)
        optimizer.zero_grad()
        (net(**inputs).logits[:, 0] - score).abs().mean().backward()
        optimizer.step()
    shares = attention_over_time(net.eval(), held[0])["vision"].representations
    assert (shares.argmax(dim=1) == held[2]).float().mean() > 0.9
    assert shares[torch.arange(200), held[2]].mean() > 1.5 / 6
