"""The streams of dialogues from a padded batch, with the language model that reads each utterance by itself."""

from typing import Any

import torch

from ..affect_heads import task_loss
from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES
from ..task_specification import TaskSpecification
from .dialogue_data import IGNORED, DialogueStreams
from .fusion_layers import masked_mean

UTTERANCES_PER_CHUNK = 64  # that the language model reads at once


def encode_dialogues(
    model: Any,
    dialogue_mask: torch.Tensor,
    speaker: torch.Tensor | None = None,
    modality_mask: torch.Tensor | None = None,
    text_embeds: torch.Tensor | None = None,
    tokens: dict[str, torch.Tensor] | None = None,
    **media: torch.Tensor | None,
) -> DialogueStreams:
    """Return the streams of a batch of `DialogueCollator`.

    Args:
        model: `FusionForAffect`, whose language model reads the tokens.
        dialogue_mask: the valid utterances (D, U).
        speaker: who speaks (D, U); None: one person.
        modality_mask: which modalities an utterance has (D, U, 3); None: those that are given.
        text_embeds: summaries of the texts (D, U, D_t), in the place of tokens.
        tokens: `input_ids`, `attention_mask` (, `token_type_ids`), (D, U, L); or `inputs_embeds` (D, U, L, D_t).
        media: `audio_embeds` (D, U, D_a), `vision_embeds` (D, U, D_v).

    Raises:
        ValueError: shapes that do not fit.
    """
    mask, device = dialogue_mask.bool(), dialogue_mask.device
    widths = {"text": model.config.get_text_config().hidden_size}
    widths |= {name: getattr(model.config, f"{name}_width") for name in MEDIA_MODALITIES}
    given = {name: values for name, values in (tokens or {}).items() if values is not None}
    if text_embeds is None and given.keys() & {"input_ids", "inputs_embeds"}:
        text_embeds = _read_utterances(model, mask, given)
    fields, present = {}, []
    for name in MODALITIES:
        given = text_embeds if name == "text" else media.get(f"{name}_embeds")
        expected = (*mask.shape, widths[name])
        if given is not None and given.shape != expected:
            raise ValueError(
                f"{name}_embeds of dialogues have shape {tuple(given.shape)}; expected {expected}: dialogues, "
                "utterances and the width of the configuration."
            )
        present.append(mask if given is not None else torch.zeros_like(mask))
        if given is not None and name in MEDIA_MODALITIES:
            given = model.media_scaling[name](given)  # the mean of scaled frames
        fields[name] = torch.zeros(expected, device=device) if given is None else given
    has = torch.stack(present, dim=2)  # (D, U, 3)
    if modality_mask is not None:
        has = has & modality_mask.bool()
    for position, name in enumerate(MODALITIES):
        fields[name] = fields[name].masked_fill(~has[..., position, None], 0.0).to(model.dtype)
    return DialogueStreams(
        **fields, modality_mask=has, dialogue_mask=mask, speaker=torch.zeros_like(mask).long() if speaker is None
        else speaker,
    )  # fmt: skip


def _read_utterances(model: Any, mask: torch.Tensor, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the summary of each valid utterance that has words, 0 elsewhere: (D, U, D_t)."""
    first = next(iter(tokens.values()))
    words = tokens.setdefault("attention_mask", first.new_ones(first.shape[:3])).bool()  # (D, U, L)
    chosen = (mask & words.any(dim=2)).nonzero(as_tuple=True)
    embeds = torch.zeros(*mask.shape, model.config.get_text_config().hidden_size, device=mask.device, dtype=model.dtype)
    vectors = [
        model.encode(**{name: values[rows] for name, values in tokens.items()}).text_vector
        for rows in zip(*(part.split(UTTERANCES_PER_CHUNK) for part in chosen))
        if len(rows[0])
    ]
    return embeds.index_put(chosen, torch.cat(vectors)) if vectors else embeds


def single_utterances(streams: Any) -> DialogueStreams:
    """Return the `Streams` of B clips as B dialogues of one utterance."""
    vectors = {name: masked_mean(getattr(streams, name), getattr(streams, f"{name}_mask")) for name in MEDIA_MODALITIES}
    vectors["text"] = streams.text_vector
    mask = torch.ones(len(streams.text), 1, dtype=torch.bool, device=streams.text.device)
    return DialogueStreams(
        **{name: vector[:, None] for name, vector in vectors.items()},
        modality_mask=streams.modality_mask[:, None], dialogue_mask=mask, speaker=torch.zeros_like(mask).long(),
    )  # fmt: skip


def labelled(labels: torch.Tensor) -> torch.Tensor:
    """Return which utterances have a label, bool (D, U), from labels (D, U) or (D, U, C)."""
    return (labels if labels.dim() == 2 else labels[..., 0]) != IGNORED


def utterance_losses(
    logits: torch.Tensor, labels: torch.Tensor, task: TaskSpecification, kind: str = "l1",
    class_weight: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Return the loss of each utterance (D, U), 0 for those without a label; nothing waits for the device.

    Args:
        logits: (D, U, C).
        labels: (D, U) or (D, U, C), -100 where there is none.
        task, kind, class_weight: as in `task_loss`.
    """
    counted = labelled(labels)
    known = labels.masked_fill(~(counted if labels.dim() == 2 else counted[..., None]), 0)
    losses = task_loss(logits.flatten(0, 1), known.flatten(0, 1), task, kind, class_weight)  # (D U,)
    return losses.view_as(counted).masked_fill(~counted, 0)


__all__ = ["UTTERANCES_PER_CHUNK", "encode_dialogues", "labelled", "single_utterances", "utterance_losses"]
