"""The Trainer: the five sub-tasks, two learning rates, warm-up by epochs, selection by the task."""

import math
import os

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import EvalPrediction

from ..affect_heads import subtask_embeds, task_loss
from ..configuration_semanticmac import SUBTASKS
from ..files.atomic_files import write_json, write_whole
from ..metrics import compute_metrics
from ..runs.settings import MADE_WITH
from .checkpointing_trainer import CheckpointingTrainer
from .checkpoints import LABEL_STATE
from .evaluation_sampler import WholeBatches
from .gather_with_gradient import gather_rows
from .label_history import LabelHistoryWriter
from .modality_dropout import drop_modalities
from .objectives import GlobalBatch, balanced_class_weight, contrastive_losses, own_class_weight, subtask_losses
from .resumed_options import keep_optimizer_options
from .semantic_labels import SemanticLabels
from .training_args import SemanticMACTrainingArguments

LANGUAGE_MODEL = "language_model."


class SemanticMACTrainer(CheckpointingTrainer):
    """Trains a head of SemanticMAC on clips.

        L = L_task + alpha L_intra + beta L_inter,   L_task = sum over s in {M, S, T, A, V} of L_s          eq. (19), (21), (22)

    Sub-task M learns the ground truth, S, T, A, V their pseudo labels. Each term is logged by itself (`loss_M`, ... `loss_V`, `loss_intra`,
    `loss_inter`), label generation once an epoch (`labels/...`). The loss between samples sees the global batch of all processes, with gradient;
    with gradient accumulation it sees one step's micro-batch, not the accumulated batch. With `modality_dropout` clips lack modalities at random in
    training; what a clip lacks in a step writes no row of the bank. On validation and test the loss is that of sub-task M alone, and every clip counts
    once, the last incomplete batch included. The best model is the one with the lowest validation loss (scores) or the highest validation
    weighted F1 (classes).

    Args:
        train_dataset: clips; they get a column `clip_index`, the row in the training set, by which pseudo labels and the feature bank are kept.
        Everything else as in `transformers.Trainer`.
    """

    args: SemanticMACTrainingArguments

    def __init__(self, model, args: SemanticMACTrainingArguments, train_dataset=None, **kwargs):
        self.task = model.config.task
        if args.metric_for_best_model in (None, "loss"):
            args.metric_for_best_model = "loss" if self.task.minimize else "w_f1"
            args.greater_is_better = not self.task.minimize
        kwargs.setdefault("compute_metrics", self._compute_metrics)
        super().__init__(model=model, args=args, train_dataset=number_clips(train_dataset), **kwargs)
        self.made_with: dict | None = None  # written into each checkpoint, and compared when it is resumed
        self._reset_training_state()

    def _reset_training_state(self) -> None:
        """What belongs to one training: class weights, pseudo labels and their history, the clips that were seen, the parts of the loss."""
        args, clips = self.args, self.train_dataset
        self.class_weight: torch.Tensor | None = None
        self.label_state: SemanticLabels | None = None
        self.label_history: LabelHistoryWriter | None = None
        if clips is not None:
            labels = torch.as_tensor(np.asarray(clips["label"]))
            self._seen = torch.zeros(len(labels), dtype=torch.bool, device=args.device)
            self._seen_epoch = -1
            if args.class_weight == "balanced":
                self.class_weight = balanced_class_weight(labels, self.task).to(args.device)
            if args.class_weights:
                self.class_weight = own_class_weight(args.class_weights, self.task).to(args.device)
            if args.pseudo_labels == "generated":
                self.label_state = self._new_label_state(labels)
                if self.is_world_process_zero():
                    self.label_history = LabelHistoryWriter(args.output_dir, clips["id"], self.label_state)
        self._loss_parts: dict[str, torch.Tensor] = {}
        self._loss_steps = 0

    def _new_label_state(self, labels: torch.Tensor) -> SemanticLabels:
        args = self.args
        return SemanticLabels(
            labels,
            self.task,
            self.model.config.hidden_size,
            num_neighbors=args.num_neighbors,
            start_epoch=args.label_start_epoch,
            momentum=args.label_momentum,
            memory_bytes=args.label_memory * 2**20,
            device=args.device,
        )

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The total of eq. (22) in training; the loss of sub-task M in evaluation."""
        inputs = dict(inputs)
        clip_index = inputs.pop("clip_index", None)
        if not model.training:
            output = model(**inputs)
            return (output.loss, output) if return_outputs else output.loss
        labels = inputs.pop("labels")
        if self.label_state is not None:
            self._advance_labels()
        output = model(**drop_modalities(inputs, self.args.modality_dropout))
        gathered = self._global_batch(output, labels, clip_index)
        parts = subtask_losses(
            output,
            self._targets(labels, clip_index),
            self.task,
            self.args.regression_loss,
            self.class_weight,
            gathered.sample_weight,
        )
        loss = torch.stack(list(parts.values())).sum()
        contrast = contrastive_losses(
            output,
            labels,
            gathered,
            self.task,
            self.args.intra_temperature,
            self.args.inter_temperature,
            self.args.sentiment_threshold,
        )
        loss = loss + self.args.intra_weight * contrast["intra"] + self.args.inter_weight * contrast["inter"]
        self._record(parts | contrast)
        if self.args.pseudo_labels == "off":
            # Distributed training waits for a gradient of everything that the forward pass used.
            loss = loss + 0.0 * output.subtask_logits.sum()
        return (loss, output) if return_outputs else loss

    def _targets(self, labels: torch.Tensor, clip_index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Labels of each sub-task: the ground truth for M, pseudo labels for S, T, A, V."""
        if self.args.pseudo_labels == "off":
            return {"M": labels}
        if self.label_state is None:
            return {subtask: labels for subtask in ("M", *SUBTASKS)}
        return {"M": labels, **self.label_state.targets(clip_index)}

    def _advance_labels(self) -> None:
        """Make the pseudo labels of an epoch before its first step, and keep them. In the middle of an epoch, resumed or not, this does nothing."""
        report = self.label_state.advance(int(self.state.epoch or 0) + 1)
        if self.label_history is not None:
            self.label_history.keep()
        if report:
            self.log({f"labels/{name}": value for name, value in report.items()})

    def _global_batch(self, output, labels, clip_index) -> GlobalBatch:
        """The batch of all processes for the contrastive term, and the bank's rows of all of them."""
        embeds = {name: value.detach() for name, value in subtask_embeds(output).items() if name != "M"}
        local = (clip_index, labels, output.modality_mask, torch.stack(list(embeds.values()), dim=1))
        if self.args.world_size == 1:
            gathered = GlobalBatch.of_one_process(output, labels)
        else:
            everyone = gather_rows(output.multimodal_embeds)  # (G, d), with gradient
            local = tuple(self.accelerator.gather(tensor.contiguous()) for tensor in local)
            first = self.args.process_index * len(labels)
            is_self = torch.zeros(len(labels), len(everyone), dtype=torch.bool, device=labels.device)
            is_self[:, first : first + len(labels)].fill_diagonal_(True)
            counts = self._first_time(local[0])
            weight = counts[first : first + len(labels)] * self.args.world_size / counts.sum().clamp(min=1)
            gathered = GlobalBatch(everyone, local[1], is_self, counts, weight)
        if self.label_state is not None:
            # Clips that only fill up the batch keep the row of their own step.
            index, mask, stacked = (local[part][gathered.counts] for part in (0, 2, 3))
            self.label_state.write(index, dict(zip(embeds, stacked.unbind(dim=1))), mask)
        return gathered

    def _first_time(self, clip_index: torch.Tensor) -> torch.Tensor:
        """Which samples of the global batch count: bool (G,).

        To give every process as many samples, the last batch of an epoch is filled up with clips from its beginning. They were learnt from already.
        """
        epoch = int(self.state.epoch or 0)
        if epoch != self._seen_epoch:
            self._seen.fill_(False)
            self._seen_epoch = epoch
        position = torch.arange(len(clip_index), device=clip_index.device)
        same = clip_index[:, None] == clip_index[None]  # (G, G)
        earlier = (same & (position[None] < position[:, None])).any(dim=1)
        counts = ~self._seen[clip_index] & ~earlier
        self._seen[clip_index] = True
        return counts

    def _record(self, parts: dict[str, torch.Tensor]) -> None:
        for name, value in parts.items():
            self._loss_parts[name] = self._loss_parts.get(name, 0) + value.detach()
        self._loss_steps += 1

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean of each part of the loss since the last log, over all processes."""
        if "loss" in logs and self._loss_steps:
            names = list(self._loss_parts)
            means = torch.stack([self._loss_parts[name] for name in names]) / self._loss_steps  # (parts,)
            means = self.accelerator.reduce(means, reduction="mean")
            logs.update({f"loss_{name}": value for name, value in zip(names, means.tolist())})
            self._loss_parts, self._loss_steps = {}, 0
        super().log(logs, start_time)

    def evaluation_loop(
        self, dataloader, description, prediction_loss_only=None, ignore_keys=None, metric_key_prefix="eval"
    ):
        """The library averages over batches, with the clips that fill up the last one of a distributed run; here the loss is the mean over clips."""
        found = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        if found.predictions is not None and found.label_ids is not None:
            losses = task_loss(_logits(found.predictions), torch.as_tensor(found.label_ids), self.task)  # (N,)
            found.metrics[f"{metric_key_prefix}_loss"] = losses.mean().item()
        return found

    def _compute_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        return compute_metrics(self.task, _logits(prediction.predictions).numpy(), prediction.label_ids)

    def _get_eval_sampler(self, eval_dataset):
        # Also where training groups by length: the library would give predictions back in that order, and they belong to the clips in theirs.
        return WholeBatches(eval_dataset, self.args.eval_batch_size)

    def create_optimizer(self, model=None):
        """AdamW with a rate of its own for the language model; no weight decay on biases and norms."""
        model = self.model if model is None else model
        if self.optimizer is None:
            decayed = set(self.get_decay_parameter_names(model))
            groups: dict[tuple[bool, bool], list] = {}
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    groups.setdefault((LANGUAGE_MODEL in name, name in decayed), []).append(parameter)
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            parameters = [
                {
                    "params": group,
                    "lr": self.args.language_model_learning_rate if in_language_model else self.args.learning_rate,
                    "weight_decay": self.args.weight_decay if decays else 0.0,
                }
                # The new modules come first: the learning rate that the Trainer logs is that of the first group.
                for (in_language_model, decays), group in sorted(
                    groups.items(), key=lambda item: (item[0][0], not item[0][1])
                )
            ]
            self.optimizer = optimizer_class(parameters, **options)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        """Linear warm-up of all rates over `warmup_epochs`, then as `lr_scheduler_type` says."""
        if self.args.warmup_epochs:
            batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
            steps_per_epoch = math.ceil(len(self.train_dataset) / batch)
            self.args.warmup_steps = min(round(self.args.warmup_epochs * steps_per_epoch), num_training_steps)
        return super().create_scheduler(num_training_steps, optimizer)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            state = {"seen": self._seen, "seen_epoch": torch.tensor(self._seen_epoch)}
            if self.label_state is not None:
                state |= self.label_state.state_dict()
            tensors = {name: value.contiguous().cpu() for name, value in state.items()}
            write_whole(os.path.join(output_dir, LABEL_STATE), lambda path: save_file(tensors, path))
            if self.made_with is not None:
                write_json(os.path.join(output_dir, MADE_WITH), self.made_with)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with keep_optimizer_options(self.optimizer, self.lr_scheduler):
            super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = os.path.join(checkpoint, LABEL_STATE)
        state = load_file(path)  # on the CPU: safetensors does not know every name of a device, "cpu:0" among them
        self._seen.copy_(state.pop("seen"))
        self._seen_epoch = int(state.pop("seen_epoch"))
        if self.label_state is not None:
            if "labels" not in state:
                raise ValueError(
                    f"{path} holds no pseudo labels: that run had another --pseudo_labels. Resume with the same."
                )
            self.label_state.load_state_dict(state)
        if self.label_history is not None:
            self.label_history.resume()


def _logits(predictions) -> torch.Tensor:
    """Of sub-task M (N, C), from what the library gathered of the outputs."""
    return torch.as_tensor(predictions[0] if isinstance(predictions, tuple) else predictions)


def number_clips(dataset):
    """The dataset with the columns `clip_index`, the row number, and `length`, the characters of context and text; None stays None.

    `length` serves `train_sampling_strategy="group_by_length"`, which pads less.
    """
    if dataset is None or "clip_index" in dataset.column_names:
        return dataset
    lengths = [len(text) + sum(map(len, context)) for text, context in zip(dataset["text"], dataset["context"])]
    return dataset.add_column("clip_index", np.arange(len(dataset))).add_column("length", lengths)
