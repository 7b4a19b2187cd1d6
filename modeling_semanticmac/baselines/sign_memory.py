"""The latest batches of a training, for an entropy over more clips than a batch has (MMIM)."""

import torch

from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES
from ..task_specification import TaskSpecification
from .training_state import check_num_clips


def label_signs(labels: torch.Tensor, task: TaskSpecification) -> torch.Tensor:
    """Return 1, 0 or -1 for each label (B,): on which side of the middle of its scale a score lies, or which of two
    classes a clip has.

    Args:
        labels: on the scale of the loss.
        task: scores or two classes.
    """
    if task.is_regression:
        return (labels.reshape(-1) - (0.0 if task.scale_scores else task.middle)).sign()
    return labels.reshape(-1) * 2 - 1


class SignMemory:
    """Audio and vision representations of the latest batches with the signs of their labels.

    A batch is that of all processes. Before the first step the memory is empty. `targets` returns
    audio_memory, vision_memory (M, d)  and  audio_signs, vision_signs (M,), both 0 in the rows of clips that lack the
    modality or only fill up a batch.

    Args:
        labels: of the training clips.
        task: scores or two classes.
        options: with `memory_batches`, how many batches are kept.
        device: of the batches.
    """

    def __init__(self, labels: torch.Tensor, task: TaskSpecification, options, device: torch.device | str = "cpu"):
        self.task, self.num_batches, self.num_clips, self.device = task, options.memory_batches, len(labels), device
        self.batches: list[dict[str, torch.Tensor]] = []  # oldest first

    def begin_epoch(self, epoch: int) -> dict[str, float]:
        """Do nothing: the memory goes on from one epoch to the next."""
        return {}

    def targets(self, clip_index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the memory, the same for every batch; an empty dict before the first one."""
        if not self.batches:
            return {}
        return {name: torch.cat([batch[name] for batch in self.batches]) for name in self.batches[0]}

    def observe(self, clip_index: torch.Tensor, labels: torch.Tensor, output) -> None:
        """Remember a batch, and forget the oldest one where there are too many.

        Args:
            clip_index: rows of the training set (B,), -1 for what does not count.
            labels: on the scale of the loss (B,).
            output: with audio and vision in `embeds`, (B, d) each, and `modality_mask` (B, 3).
        """
        signs, batch = label_signs(labels, self.task), {}
        for name in MEDIA_MODALITIES:
            has = output.modality_mask[:, MODALITIES.index(name)].bool() & (clip_index >= 0)  # (B,)
            batch[f"{name}_memory"] = output.embeds[name].detach().masked_fill(~has[:, None], 0)
            batch[f"{name}_signs"] = signs.masked_fill(~has, 0)
        self.batches = [*self.batches, batch][-self.num_batches :] if self.num_batches else []

    def after_step(self, model: torch.nn.Module) -> None:
        """Do nothing: the memory follows the batches, not the weights."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the memory as tensors."""
        state = {"num_clips": torch.tensor(self.num_clips)}
        for number, batch in enumerate(self.batches):
            state |= {f"{number}.{name}": value for name, value in batch.items()}
        return state

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: the state is that of another training set.
        """
        check_num_clips(state, self.num_clips)
        batches: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in state.items():
            number, _, name = key.partition(".")
            if name:
                batches.setdefault(int(number), {})[name] = value.to(self.device)
        self.batches = [batches[number] for number in sorted(batches)]


__all__ = ["SignMemory", "label_signs"]
