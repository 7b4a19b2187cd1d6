"""Training clips as an explanation: those that lie nearest to a clip in each modality, from the bank of a model.

A model that was trained with `keep_bank` has `neighbor_bank.safetensors` beside its weights: the representations z_S of
its training clips in text, audio and vision, made by the model itself in evaluation mode, with their ids and labels.

Legend: N training clips, C outputs of a head, d width of the representations.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers.utils import cached_file

from .affect_results import NO_LABEL
from .configuration_semanticmac import MODALITIES, SEMANTICMAC, SPOKEN
from .task_specification import TaskSpecification

BANK = "neighbor_bank.safetensors"
TENSORS = ("embeds", "present", "labels", "probe")
ROWS_AT_ONCE = 65536  # of which distances are computed in double precision
SAME = 2**-7  # relative difference of weights that were rounded to bfloat16 on the way


@dataclass(frozen=True)
class NeighborBank:
    """Representations of training clips, in which the nearest of another clip are found.

        D_ij = ||z_i - z_j||_2 / sqrt(d)    eq. (13)

    Args:
        task: the task specification.
        ids: of the training clips, N.
        embeds: z_S of text, audio and vision, (N, 3, d).
        present: which of these a clip has, bool (N, 3).
        labels: ground truth, (N,) scores or class ids, or (N, C) multi-hot.
        probe: `bank_probe` of the model that made the representations, by which a model that was trained on is told.
    """

    task: TaskSpecification
    ids: list[str]
    embeds: torch.Tensor
    present: torch.Tensor
    labels: torch.Tensor
    probe: torch.Tensor

    @classmethod
    def of_model(cls, model) -> "NeighborBank":
        """Read the bank beside the checkpoint that a model was loaded from, in a folder or on the Hub.

        Raises:
            ValueError: the model is a comparison system, its checkpoint has no bank, or the bank is damaged or that of
                other weights.
        """
        if model.config.model_type != SEMANTICMAC:
            raise ValueError(
                f"neighbors: a {type(model).__name__} has no representations of single modalities that are learnt to "
                "be compared; only SemanticMAC names nearest training clips."
            )
        name = model.name_or_path
        try:
            path = cached_file(name, BANK, revision=getattr(model.config, "_commit_hash", None)) if name else None
        except OSError:
            path = None
        if path is None:
            raise ValueError(
                f"neighbors: there is no {BANK} beside the model{f' at {name}' if name else ''}. Train it with "
                f"--keep_bank (keep_bank=True), or put the {BANK} of its run there: it is copied and uploaded only on "
                "request, since it holds ids and labels of the training clips."
            )
        bank = cls._read(path, model.config.task)
        if bank.embeds.shape[1:] != (len(MODALITIES), model.config.hidden_size) or not _same(bank, model):
            raise ValueError(
                f"neighbors: {path} was made by other weights than those of this model, so distances would mean "
                "nothing. Train with --keep_bank again."
            )
        return bank

    @classmethod
    def _read(cls, path: str | Path, task: TaskSpecification) -> "NeighborBank":
        """Return the bank of a file.

        Raises:
            ValueError: it is damaged.
        """
        try:
            with safe_open(path, framework="pt") as file:
                ids = json.loads((file.metadata() or {})["ids"])
                bank = cls(task, ids, **{name: file.get_tensor(name) for name in TENSORS})
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); train with --keep_bank again.") from error
        if not len(ids) == len(bank.embeds) == len(bank.present) == len(bank.labels):
            raise ValueError(f"{path} is damaged: its parts are of different lengths; train with --keep_bank again.")
        return bank

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what is written into the file, with the ids in its metadata."""
        return {name: getattr(self, name).contiguous() for name in TENSORS}

    def nearest(self, modality: str, embed: torch.Tensor, count: int, without: str | None = None) -> list[dict]:
        """Return the training clips whose representation of a modality is nearest, nearest first.

        Args:
            modality: "text", "audio" or "vision".
            embed: z_S of the clip, (d,).
            count: how many; fewer are returned where fewer have the modality.
            without: id of a training clip to leave out, of the clip itself.

        Returns:
            For each `id`, `label` (the score, the name of the class, or the names of the labels) and `distance`, D.
            Equally near ones stand in the order of the training set.
        """
        column = MODALITIES.index(modality)
        rows = self.present[:, column].nonzero().flatten()
        if without is not None:
            rows = rows[[self.ids[row] != without for row in rows.tolist()]]
        if len(rows) == 0:
            return []
        query = embed.detach().cpu().double()
        squared = torch.cat([
            (self.embeds[some, column].double() - query).square_().sum(dim=1) for some in rows.split(ROWS_AT_ONCE)
        ])  # fmt: skip
        squared, order = squared.sort(stable=True)
        distances = (squared[:count] / len(query)).sqrt().tolist()
        return [
            {"id": self.ids[row], "label": self._label(row), "distance": distance}
            for row, distance in zip(rows[order[:count]].tolist(), distances)
        ]

    def neighbors(
        self, embeds: torch.Tensor, present: torch.Tensor, count: int, without: str | None = None
    ) -> dict[str, list[dict]]:
        """Return modality -> `nearest` for each modality that a clip has.

        Args:
            embeds: z_S of the clip, (3, d).
            present: bool (3,).
        """
        return {
            modality: self.nearest(modality, embed, count, without)
            for modality, embed, there in zip(MODALITIES, embeds, present.tolist())
            if there
        }

    def _label(self, row: int) -> float | str | list[str]:
        """Return the ground truth of a training clip in plain JSON types."""
        value, names = self.labels[row], self.task.label_names
        if self.task.is_regression:
            return float(value)
        if self.task.is_multi_label:
            return [name for name, there in zip(names, value.tolist()) if there > 0.5]
        return names[int(value)]


def bank_probe(model) -> torch.Tensor:
    """Return the weights (3, C, d) of the output layers of text, audio and vision, float32.

    Any training moves them, so they tell whether a bank was made by these weights.
    """
    return torch.stack([model.predictors[head].output.weight.detach().float().cpu() for head in "TAV"])


def _same(bank: NeighborBank, model) -> bool:
    """Return whether a model has the weights that made a bank, as far as its number format shows."""
    probe = bank_probe(model)
    return probe.shape == bank.probe.shape and torch.allclose(probe, bank.probe.float(), rtol=SAME, atol=0)


def neighbor_rows(result: Mapping) -> list[tuple[str, str, str, float]]:
    """Return the neighbours of a result of the pipeline as rows for readers, nearest first within each modality.

    Args:
        result: of `pipe(clip, neighbors=K)`; without neighbours there are no rows.

    Returns:
        Rows of the modality ("words", "voice" or "picture"), the id of the training clip, its label in words, and its
        distance.
    """
    return [
        (SPOKEN[modality], clip["id"], label_words(clip["label"]), clip["distance"])
        for modality, found in result.get("neighbors", {}).items()
        for clip in found
    ]


def label_words(label: float | str | list[str]) -> str:
    """Return the label of a neighbour in words."""
    if isinstance(label, str):
        return label
    return (", ".join(label) or NO_LABEL) if isinstance(label, list) else f"{label:+.2f}"


__all__ = ["BANK", "NeighborBank", "bank_probe", "label_words", "neighbor_rows"]
