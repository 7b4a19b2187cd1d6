"""The batch of all processes, which the loss between samples and the pseudo labels need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..affect_heads import SemanticMACForAffectOutput


def field(value: torch.Tensor | None) -> torch.Tensor:
    """Return a field of a model's output.

    Raises:
        ValueError: the output lacks it.
    """
    if value is None:
        raise ValueError(
            "the output of the model lacks a field that training needs; use SemanticMACForAffect with return_dict=True."
        )
    return value


def gather_packed(
    tensors: Sequence[torch.Tensor], gather: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Return tensors of any types gathered from all processes, in one exchange.

    Args:
        tensors: (B, ...) each.
        gather: returns (G, n) from (B, n) bytes.

    Returns:
        (G, ...) each, the same bits.
    """
    rows = [tensor.reshape(len(tensor), -1).contiguous().view(torch.uint8) for tensor in tensors]
    gathered = gather(torch.cat(rows, dim=1)).split([part.shape[1] for part in rows], dim=1)
    return tuple(
        part.contiguous().view(tensor.dtype).view(-1, *tensor.shape[1:]) for part, tensor in zip(gathered, tensors)
    )


@dataclass
class GlobalBatch:
    """The samples of all processes in one step, G in total, of which this process holds B.

    Args:
        multimodal_embeds: F_M of all samples, with gradient, (G, d).
        labels: ground truth of all samples, (G,) or (G, C).
        is_self: bool (B, G), the place of this process's samples among them.
        counts: bool (G,), False for samples that only fill up the last batch.
        sample_weight: weight of each of this process's samples (B,), chosen so that the mean over processes is the mean
            over the global batch; None: 1 / B.
    """

    multimodal_embeds: torch.Tensor
    labels: torch.Tensor
    is_self: torch.Tensor
    counts: torch.Tensor
    sample_weight: torch.Tensor | None = None

    @classmethod
    def of_one_process(cls, output: SemanticMACForAffectOutput, labels: torch.Tensor) -> "GlobalBatch":
        """Return the batch of a single process."""
        size, device = len(labels), labels.device
        everyone = torch.ones(size, dtype=torch.bool, device=device)
        return cls(field(output.multimodal_embeds), labels, torch.eye(size, dtype=torch.bool, device=device), everyone)


class SeenClips:
    """The training clips that were seen in an epoch.

    To give every process the same number of samples, the last batch of an epoch is filled up with clips from its
    beginning. The model has learnt from them already, so they do not count.

    Args:
        count: number of training clips, N.
        device: device of the batches.
    """

    def __init__(self, count: int, device: torch.device | str):
        self.seen = torch.zeros(count, dtype=torch.bool, device=device)
        self.epoch = -1

    def first_time(self, clip_index: torch.Tensor, epoch: int) -> torch.Tensor:
        """Return which samples of the global batch are seen for the first time in the epoch, and remember them.

        Args:
            clip_index: rows of the training set, (G,).
            epoch: counted from 0.

        Returns:
            bool (G,).
        """
        if epoch != self.epoch:
            self.seen.fill_(False)
            self.epoch = epoch
        position = torch.arange(len(clip_index), device=clip_index.device)
        same = clip_index[:, None] == clip_index[None]  # (G, G)
        earlier = (same & (position[None] < position[:, None])).any(dim=1)
        first = ~self.seen[clip_index] & ~earlier
        self.seen[clip_index] = True
        return first

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the state as tensors."""
        return {"seen": self.seen, "seen_epoch": torch.tensor(self.epoch)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: the state belongs to a training set of another size.
        """
        if state["seen"].shape != self.seen.shape:
            raise ValueError(
                f"the checkpoint was saved with {len(state['seen'])} training clips, this run has {len(self.seen)}; "
                "resume with the same clips."
            )
        self.seen.copy_(state["seen"])
        self.epoch = int(state["seen_epoch"])


__all__ = ["GlobalBatch", "SeenClips", "field", "gather_packed"]
