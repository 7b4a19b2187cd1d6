"""The Trainer of SemanticMAC: losses of the five sub-tasks, pseudo labels, contrastive terms."""

import torch

from ..affect_heads import SemanticMACForAffect, SemanticMACForAffectOutput, subtask_embeds
from ..baselines.training_state import Observed
from ..configuration_semanticmac import SUBTASKS
from ..neighbor_bank import NeighborBank
from .affect_trainer import AffectTrainer, Loss
from .gather_with_gradient import gather_rows
from .global_batch import GlobalBatch, field, gather_packed
from .kept_bank import represent_training_clips, save_bank
from .label_history import LabelHistoryWriter
from .modality_dropout import drop_modalities
from .objectives import contrastive_losses, subtask_losses
from .semantic_labels import SemanticLabels


class SemanticMACTrainer(AffectTrainer):
    """Trainer for a head of SemanticMAC.

        L = L_task + alpha L_intra + beta L_inter,   L_task = sum over s in {M, S, T, A, V} of L_s  eq. (19), (21), (22)

    Sub-task M learns the ground truth; S, T, A and V learn their pseudo labels. Each term is logged by itself
    (`loss_M`, ... `loss_V`, `loss_intra`, `loss_inter`), label generation once per epoch (`labels/...`). The loss
    between samples sees the global batch of all processes, with gradient; with gradient accumulation it sees the
    micro-batch of one step. With `modality_dropout` clips lack modalities at random in training; a modality that a clip
    lacks in a step writes no row of the bank. The loss on validation and test is that of sub-task M alone, and every
    clip counts once, also in the last, incomplete batch. The best model is the one with the lowest validation loss
    (scores) or the highest validation weighted F1 (classes), unless `metric_for_best_model` names another figure.
    With `keep_bank` the chosen model represents the training clips at the end of `train`, and `save_model` writes them
    beside it.

    Args, errors: as in [`AffectTrainer`], for a head of SemanticMAC, e.g. `SemanticMACForAffect`.
    """

    model: SemanticMACForAffect
    model_type = "semanticmac"
    state_name = "pseudo labels: that run had another --pseudo_labels"
    state_prefix = ""
    training_state: SemanticLabels | None
    bank: NeighborBank | None  # of a finished training with `keep_bank`

    @property
    def label_state(self) -> SemanticLabels | None:
        """The pseudo labels and the bank that they come from; None where `pseudo_labels` is not "generated"."""
        return self.training_state

    def train(self, *args, **kwargs):
        """Train as `CheckpointingTrainer` does; with `keep_bank` the training clips are represented at the end."""
        if self.args.keep_bank and self.is_fsdp_enabled:
            raise ValueError("keep_bank is not supported with FSDP; leave it out, or train without FSDP.")
        found = super().train(*args, **kwargs)
        self.bank = represent_training_clips(self) if self.args.keep_bank else None
        return found

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, and the bank of a finished training beside it; checkpoints have none."""
        super().save_model(output_dir, _internal_call)
        if self.bank is not None and not _internal_call and self.args.should_save:
            save_bank(self.bank, str(self.args.output_dir) if output_dir is None else output_dir)

    def _reset_training_state(self) -> None:
        self.bank = None
        self.label_history: LabelHistoryWriter | None = None
        super()._reset_training_state()
        clips = self.train_dataset
        if clips is not None and self.label_state is not None and self.is_world_process_zero():
            self.label_history = LabelHistoryWriter(str(self.args.output_dir), clips["id"], self.label_state)

    def make_state(self, labels: torch.Tensor) -> SemanticLabels | None:
        """Return the pseudo labels of the training set."""
        args = self.args
        if args.pseudo_labels != "generated":
            return None
        return SemanticLabels(
            labels, self.task, self.model.config.hidden_size, num_neighbors=args.num_neighbors,
            start_epoch=args.label_start_epoch, momentum=args.label_momentum,
            memory_bytes=args.label_memory * 2**20, label_pool=args.label_pool, seed=args.seed, device=args.device,
            bank_dtype=getattr(torch, args.label_bank),
        )  # fmt: skip

    def begin_epoch(self) -> None:
        """Make the pseudo labels of an epoch before its first step, and keep them."""
        if self.label_state is None:
            return
        report = self.label_state.begin_epoch(int(self.state.epoch or 0) + 1)
        if self.label_history is not None:
            self.label_history.keep()
        if report:
            self.log({f"labels/{name}": value for name, value in report.items()})

    def training_loss(self, model, batch: dict[str, torch.Tensor], clip_index: torch.Tensor) -> Loss:
        """Return the total of eq. (22) and its terms."""
        batch = dict(batch)
        labels = batch.pop("labels")
        output = model(**drop_modalities(batch, self.args.modality_dropout))
        gathered = self._global_batch(output, labels, clip_index)
        targets = self._targets(labels, clip_index)
        args = self.args
        parts = subtask_losses(
            output, targets, self.task, args.regression_loss, self.class_weight, gathered.sample_weight
        )
        contrast = contrastive_losses(
            output, labels, gathered, self.task, args.intra_temperature, args.inter_temperature,
            args.sentiment_threshold,
        )  # fmt: skip
        loss = torch.stack(list(parts.values())).sum()
        loss = loss + args.intra_weight * contrast["intra"] + args.inter_weight * contrast["inter"]
        if args.pseudo_labels == "off":
            # Distributed training waits for a gradient of everything that the forward pass used.
            loss = loss + 0.0 * output.subtask_logits.sum()
        return Loss(loss, parts | contrast, output)

    def _targets(self, labels: torch.Tensor, clip_index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the labels of each sub-task: the ground truth for M, pseudo labels for S, T, A, V."""
        if self.args.pseudo_labels == "off":
            return {"M": labels}
        if self.label_state is None:
            return dict.fromkeys(("M", *SUBTASKS), labels)
        return {"M": labels, **self.label_state.targets(clip_index)}

    def _global_batch(
        self, output: SemanticMACForAffectOutput, labels: torch.Tensor, clip_index: torch.Tensor
    ) -> GlobalBatch:
        """Gather the batch of all processes for the contrastive term, and keep all of its rows for the bank."""
        embeds = {name: value.detach() for name, value in subtask_embeds(output).items() if name != "M"}
        local: tuple[torch.Tensor, ...] = (
            clip_index, labels, field(output.modality_mask), torch.stack(list(embeds.values()), dim=1),
        )  # fmt: skip
        if self.args.world_size == 1:
            gathered = GlobalBatch.of_one_process(output, labels)
        else:
            everyone = gather_rows(field(output.multimodal_embeds))  # (G, d), with gradient
            local = gather_packed(local, self.accelerator.gather)
            own = slice(self.args.process_index * len(labels), (self.args.process_index + 1) * len(labels))
            is_self = torch.zeros(len(labels), len(everyone), dtype=torch.bool, device=labels.device)
            is_self[:, own].fill_diagonal_(True)
            _, counts, weight = self.count_clips(clip_index, local[0])
            gathered = GlobalBatch(everyone, local[1], is_self, counts, weight)
        if self.label_state is not None:
            index, known, mask, stacked = local
            # Clips that only fill up the batch keep the row of their own step.
            index = torch.where(gathered.counts, index, -1)
            embeds = dict(zip(embeds, stacked.unbind(dim=1)))
            self._observation = index, known, Observed(embeds=embeds, modality_mask=mask)
        return gathered

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and self.label_history is not None:
            self.label_history.resume()


__all__ = ["SemanticMACTrainer"]
