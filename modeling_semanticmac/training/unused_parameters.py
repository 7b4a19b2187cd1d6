"""Whether a training step can leave a parameter without a gradient, which several processes must know beforehand."""

from typing import Any

import datasets
import torch

from ..configuration_semanticmac import MODALITIES, SEMANTICMAC
from .trainer_inputs import trained_encoders

CLIPS = 2  # of the batch that is tried


def can_leave_unused(model: Any, collator: Any, clips: datasets.Dataset) -> bool:
    """Return whether a batch of training clips can leave a parameter of a model without a gradient.

    DistributedDataParallel otherwise waits for all gradients, and need not look for absent ones in every step. The
    answer is yes for comparison systems, whose steps differ; for trained towers, since no clip of a batch may have
    media; where a modality is not trained, or a clip lacks one, so that a whole batch may; and where a batch of the
    first clips leaves a parameter unused, e.g. a part of the language model. A wrong no would let the processes wait
    for each other for ever.

    Args:
        model: in any mode, which is kept, as are the states of random numbers and gradients.
        collator: makes batches.
        clips: the training clips; all processes have the same.
    """
    if model.config.model_type != SEMANTICMAC or trained_encoders(model):
        return True
    if set(getattr(collator, "modalities", ())) != set(MODALITIES):
        return True
    if getattr(collator, "tokens", None) is not None or getattr(collator, "reads_vectors", False):
        return True  # a clip may lack them
    tokenizer = getattr(getattr(collator, "processor", None), "tokenizer", None)
    if tokenizer is None or not tokenizer.num_special_tokens_to_add():
        return True  # an odd text may have no token at all
    if not all(text and text.strip() for text in clips["text"]):
        return True
    if not all(_has_media(collator.store, clip) for clip in clips["id"]):
        return True
    batch = collator([clips[row] for row in range(min(CLIPS, len(clips)))])
    return bool(unused_parameters(model, batch))


def _has_media(store: Any, clip: str) -> bool:
    """Return whether a clip has embeddings of sound and of pictures: by the index of a store, which reads none."""
    if hasattr(store, "status"):
        record = store.status(clip)
        return bool(record.audio and record.vision)
    return all(len(stream) for stream in store[clip])


def unused_parameters(model: Any, batch: dict[str, torch.Tensor]) -> list[str]:
    """Return the names of the trained parameters on which no output of the head depends for a batch."""
    inputs = {name: value.to(model.device) for name, value in batch.items() if name not in ("labels", "clip_index")}
    names, weights = zip(*((name, weight) for name, weight in model.named_parameters() if weight.requires_grad))
    was_training = model.training
    model.eval()
    try:
        output = model(**inputs)
        total = output.logits.sum() + output.subtask_logits.sum()
        gradients = torch.autograd.grad(total, weights, allow_unused=True)
    finally:
        model.train(was_training)
    return [name for name, gradient in zip(names, gradients) if gradient is None]


__all__ = ["can_leave_unused", "unused_parameters"]
