"""The Trainer: the five sub-tasks, two learning rates, warm-up by epochs, selection by the task."""

import json
import math
import os

import numpy as np
import torch
from transformers import EvalPrediction, Trainer

from .affect_heads import SUBTASKS
from .metrics import compute_metrics
from .objectives import balanced_class_weight, subtask_losses
from .training_args import SemanticMACTrainingArguments

LANGUAGE_MODEL = "language_model."


class SemanticMACTrainer(Trainer):
    """Trains a head of SemanticMAC on clips.

        L = L_task = sum over s in {M, S, T, A, V} of L_s          eq. (21)-(22)

    Each term is logged by itself (`loss_M`, ... `loss_V`). On validation and test the loss is that of sub-task M alone, and every clip counts
    once, the last incomplete batch included. The best model is the one with the lowest validation loss (scores) or the highest validation
    weighted F1 (classes).

    Args:
        train_dataset: clips; they get a column `clip_index`, the row in the training set, by which per-clip training state is kept.
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
        self.class_weight = None
        if args.class_weight == "balanced" and train_dataset is not None:
            labels = torch.as_tensor(np.asarray(train_dataset["label"]))
            self.class_weight = balanced_class_weight(labels, self.task).to(args.device)
        self._loss_parts: dict[str, torch.Tensor] = {}
        self._loss_steps = 0

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The total of eq. (22) in training; the loss of sub-task M in evaluation."""
        inputs = dict(inputs)
        clip_index = inputs.pop("clip_index", None)
        if not model.training:
            output = model(**inputs)
            return (output.loss, output) if return_outputs else output.loss
        labels = inputs.pop("labels")
        output = model(**inputs)
        parts = subtask_losses(
            output, self._targets(labels, clip_index), self.task, self.args.regression_loss, self.class_weight
        )
        self._record(parts)
        loss = torch.stack(list(parts.values())).sum()
        return (loss, output) if return_outputs else loss

    def _targets(self, labels: torch.Tensor, clip_index: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Labels of each sub-task. All five learn the ground truth; pseudo labels of S, T, A, V, kept by `clip_index`, take their place here."""
        return {subtask: labels for subtask in ("M", *SUBTASKS)}

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

    def _compute_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        logits = prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
        return compute_metrics(self.task, logits, prediction.label_ids)

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

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            # The library pickles the arguments; a checkpoint here is safetensors and JSON, which anyone may open.
            folder = output_dir if output_dir is not None else self.args.output_dir
            os.remove(os.path.join(folder, "training_args.bin"))
            with open(os.path.join(folder, "training_args.json"), "w", encoding="utf-8") as file:
                json.dump(self.args.to_sanitized_dict(), file, indent=2, sort_keys=True)


def number_clips(dataset):
    """The dataset with a column `clip_index`, the row number; None stays None."""
    if dataset is None or "clip_index" in dataset.column_names:
        return dataset
    return dataset.add_column("clip_index", np.arange(len(dataset)))
