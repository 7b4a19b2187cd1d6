"""The Trainer of all models with a head: loss, two learning rates, warm-up by epochs, selection by the task, resume."""

import os
from pathlib import Path
from typing import Any, NamedTuple, cast

import datasets
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import EvalPrediction, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput

from ..affect_heads import task_loss
from ..baselines.modeling_fusion import learnt_labels
from ..baselines.training_state import Observed, TrainingState
from ..configuration_semanticmac import MODALITIES
from ..files.atomic_files import write_json, write_whole
from ..metrics import compute_metrics
from ..runs.settings import MADE_WITH
from .checkpoints import LABEL_STATE
from .class_weights import balanced_class_weight, own_class_weight
from .clip_order_trainer import ClipOrderTrainer
from .collator import SemanticMACCollator
from .gather_with_gradient import gather_rows
from .global_batch import SeenClips, gather_packed
from .modality_dropout import drop_modalities
from .objectives import LossParts, weighted_sum
from .optimizer_groups import parameter_groups, warmup_steps
from .resumed_options import keep_optimizer_options
from .scaling_statistics import fit_input_scaling
from .sharding import layers_to_shard, with_every_modality
from .trainer_inputs import (
    check_clips,
    check_model,
    check_raw_inputs,
    default_processor,
    encode_media,
    number_clips,
    refuse_unsupported_parallelism,
    resolve_arguments,
    trained_encoders,
    used_modalities,
)
from .training_args import SemanticMACTrainingArguments
from .unused_parameters import can_leave_unused


class Loss(NamedTuple):
    """The loss of a batch in training.

    Args:
        total: the scalar to differentiate.
        parts: its terms by name, as they are logged.
        output: of the model.
    """

    total: torch.Tensor
    parts: dict[str, torch.Tensor]
    output: Any


class AffectTrainer(ClipOrderTrainer):
    """Trainer for a model with a head: SemanticMAC (see `SemanticMACTrainer`) or a comparison system.

        L = L_task + terms of the system

    Each term is logged by itself (`loss_M` for the task, others by the system's names). What a method keeps between
    steps, a [`TrainingState`], is made from the training labels, saved with each checkpoint and restored. With
    `modality_dropout` clips lack modalities at random in training. The loss on validation and test is that of the task
    alone, and every clip counts once, also in the last, incomplete batch. The best model is the one with the lowest
    validation loss (scores) or the highest validation weighted F1 (classes), unless `metric_for_best_model` names
    another figure.

    Args:
        model: a head, e.g. `FusionForAffect`; its configuration states the task.
        args: training arguments, copied and left unchanged; None for the defaults.
        train_dataset: clips. They get a column `clip_index`, the row in the training set, which identifies them to the
            state of the method.
        eval_dataset: clips to evaluate and to select the model on; without them the model of the last step is kept.
        data_collator: makes batches; None for a `SemanticMACCollator` on the processor. It then uses text and the
            modalities for which the model has a tower, and the media of every clip are encoded once, into
            `<output_dir>/embeddings`.
        processing_class: a `SemanticMACProcessor`; where collator and processor are None, the one that was saved beside
            the model.
        kwargs: of `transformers.Trainer`.

    Raises:
        TypeError: a model without a head, clips that are not a `datasets.Dataset`, or arguments of another class.
        ValueError: clips without labels, no processor, or several devices in a way that is not supported.
    """

    args: SemanticMACTrainingArguments
    model: Any
    data_collator: Any  # a SemanticMACCollator, or another with its attributes
    train_dataset: datasets.Dataset | None
    model_type = "affect_fusion"  # of the models that it trains
    state_name = "state of the method"  # in messages
    state_prefix = "state."  # of the names of its tensors in a checkpoint

    def __init__(
        self, model, args: SemanticMACTrainingArguments | None = None, train_dataset=None, eval_dataset=None,
        data_collator=None, processing_class=None, **kwargs,
    ):  # fmt: skip
        self.task = check_model(model, self.model_type)
        args = resolve_arguments(args, self.task, eval_dataset is not None)
        refuse_unsupported_parallelism(args)
        check_clips(train_dataset, "train_dataset")
        check_clips(eval_dataset, "eval_dataset")
        self.made_with: dict | None = None  # written into each checkpoint, and compared when it is resumed
        self._embeddings_dir: Path | None = None  # of the default collator
        if data_collator is None:
            processing_class = processing_class or default_processor(model)
            modalities, raw = used_modalities(model.config), trained_encoders(model)
            stored = set(modalities) - {"text", *raw}
            self._embeddings_dir = Path(str(args.output_dir)) / "embeddings" if stored else None
            data_collator = SemanticMACCollator(processing_class, self.task, {}, modalities, raw_modalities=raw)
        check_raw_inputs(model, data_collator)
        kwargs.setdefault("compute_metrics", self._compute_metrics)
        super().__init__(
            model=model, args=args, train_dataset=number_clips(train_dataset), eval_dataset=eval_dataset,
            data_collator=data_collator, processing_class=processing_class, **kwargs,
        )  # fmt: skip
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        if plugin is not None and self.model_type != "semanticmac":
            raise ValueError("FSDP is supported for SemanticMAC only; train comparison systems without it.")
        if plugin is not None and (model.config.language_model_reference or trained_encoders(model)):
            raise ValueError("FSDP is not supported with adapters, which fit on one GPU; train them without it.")
        if plugin is not None and not plugin.transformer_cls_names_to_wrap:
            plugin.transformer_cls_names_to_wrap = layers_to_shard(model)
        for dataset in (train_dataset, *(eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset])):
            self._encode_media(dataset)
        if self.args.world_size > 1 and hasattr(model, "gather_rows"):
            model.gather_rows = gather_rows  # losses between samples see the batch of all processes
        self.add_callback(_AfterStep(self))
        self._reset_training_state()

    def _prepare_inputs(self, inputs):
        """Move a batch to the device; with FSDP every process runs every layer."""
        found = super()._prepare_inputs(inputs)
        if not self.is_fsdp_enabled:
            return found
        return with_every_modality(found, self.model.config, getattr(self.data_collator, "modalities", MODALITIES))

    def _encode_media(self, clips) -> None:
        """Encode the media of clips for the default collator."""
        if self._embeddings_dir is not None and clips is not None:
            self.data_collator.store = encode_media(clips, self.model, self.processing_class, self._embeddings_dir)

    def get_eval_dataloader(self, eval_dataset=None):
        """Return the batches of validation clips; media of other clips than those of the Trainer are encoded first."""
        if eval_dataset is not None and not isinstance(eval_dataset, str):
            self._encode_media(eval_dataset)
        return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset):
        """Return the batches of test clips; their media are encoded first."""
        self._encode_media(test_dataset)
        return super().get_test_dataloader(test_dataset)

    def _reset_training_state(self) -> None:
        """Create what belongs to one training: class weights, state of the method, clips seen, parts of the loss."""
        args, clips = self.args, self.train_dataset
        self.class_weight: torch.Tensor | None = None
        self.training_state: TrainingState | None = None
        if clips is not None:
            labels = self.training_labels()
            self.seen_clips = SeenClips(len(clips), args.device)
            if args.class_weight == "balanced":
                self.class_weight = balanced_class_weight(labels, self.task).to(args.device)
            if args.class_weights:
                self.class_weight = own_class_weight(args.class_weights, self.task).to(args.device)
            self.training_state = self.make_state(labels)
        self._loss_parts = LossParts()
        self._observation: tuple[torch.Tensor, torch.Tensor, Observed] | None = None

    def _fit_input_scaling(self) -> None:
        """Compute what the model needs to standardise the embeddings of the training clips."""
        fit_input_scaling(self.model, self.train_dataset, self.data_collator)

    def _find_unused_parameters(self) -> None:
        """Let DistributedDataParallel look for parameters without a gradient only where a step can leave one."""
        handler = self.accelerator.ddp_handler
        if handler is not None and not (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            handler.find_unused_parameters = can_leave_unused(self.model, self.data_collator, self.train_dataset)

    def training_labels(self) -> torch.Tensor:
        """Return the labels of the training set as the corpus stores them, (N,) or (N, C)."""
        return torch.as_tensor(np.asarray(cast(datasets.Dataset, self.train_dataset)["label"]))

    def make_state(self, labels: torch.Tensor) -> TrainingState | None:
        """Return what the method keeps between the steps of a training, None where it keeps nothing.

        Args:
            labels: of `training_labels`.
        """
        fusion = self.model.fusion
        if fusion.state is None:
            return None
        labels = learnt_labels(labels.float() if self.task.is_regression else labels, self.task)
        own = {"clips": self.train_dataset} if getattr(fusion.state, "reads_clips", False) else {}
        return fusion.state(labels, self.task, fusion.options, device=self.args.device, **own)

    def _inner_training_loop(self, *args, **kwargs):
        self._fit_input_scaling()
        if self.args.world_size > 1 and self.args.ddp_find_unused_parameters is None:
            self._find_unused_parameters()
        # A second training, or one that starts again with smaller batches, begins with a new state.
        self._reset_training_state()
        return super()._inner_training_loop(*args, **kwargs)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the total of `training_loss` in training, the loss of the task in evaluation."""
        inputs = dict(inputs)
        clip_index = inputs.pop("clip_index", None)
        if not model.training:
            output = model(**inputs)
            return (output.loss, output) if return_outputs else output.loss
        self.begin_epoch()
        loss = self.training_loss(model, inputs, clip_index)
        self._loss_parts.add(loss.parts)
        return (loss.total, loss.output) if return_outputs else loss.total

    def training_step(self, *args, **kwargs):
        """Do a step as the library does; after its backward pass the state of the method takes in the batch."""
        loss = super().training_step(*args, **kwargs)
        self.observe()
        return loss

    def begin_epoch(self) -> None:
        """Prepare the state of the method before the first step of an epoch; in the middle of an epoch, resumed or not,
        do nothing.
        """
        if self.training_state is None:
            return
        report = self.training_state.begin_epoch(int(self.state.epoch or 0) + 1)
        if report:
            self.log({f"labels/{name}": value for name, value in report.items()})

    def training_loss(self, model, batch: dict[str, torch.Tensor], clip_index: torch.Tensor) -> Loss:
        """Return the loss of a batch in training.

        Args:
            model: the model, perhaps wrapped for several processes.
            batch: from the collator.
            clip_index: rows of the training set (B,).
        """
        labels = batch["labels"]
        targets = None if self.training_state is None else self.training_state.targets(clip_index)
        everyone, counts, weight = self.count_clips(clip_index)
        own = None if weight is None else weight > 0
        output = model(**drop_modalities(batch, self.args.modality_dropout), targets=targets, counts=own)
        each = task_loss(output.logits, labels, self.task, self.args.regression_loss, self.class_weight)  # (B,)
        parts = {"M": weighted_sum(each, weight), **(output.losses or {})}
        if self.training_state is not None:
            known, observed = learnt_labels(labels, self.task), Observed.of(output)
            if self.args.world_size > 1:
                known, observed = self._gathered(known, observed)
            # Rows that only fill up the batch are numbered, not left out: choosing would wait for the device.
            self._observation = torch.where(counts, everyone, -1), known, observed
        return Loss(torch.stack(list(parts.values())).sum(), parts, output)

    def _gathered(self, labels: torch.Tensor, observed: Observed) -> tuple[torch.Tensor, Observed]:
        """Return labels and outputs of all processes, in one exchange."""
        gathered = iter(gather_packed([labels, *observed.tensors()], self.accelerator.gather))
        return next(gathered), observed.map(lambda _: next(gathered))

    def count_clips(
        self, clip_index: torch.Tensor, everyone: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return the rows of all processes, which of them count, and the weights of this process's samples.

        Args:
            clip_index: rows of the training set (B,).
            everyone: those of all processes (G,), where they are gathered already.

        Returns:
            Rows of the training set (G,) in order of the processes; bool (G,), False for samples that only fill up the
            last batch; weights (B,) with which the mean over processes is the mean over the samples that count, None
            for 1 / B.
        """
        if self.args.world_size == 1:
            return clip_index, torch.ones_like(clip_index, dtype=torch.bool), None
        everyone = self.accelerator.gather(clip_index.contiguous()) if everyone is None else everyone
        size = len(clip_index)
        own = slice(self.args.process_index * size, (self.args.process_index + 1) * size)
        counts = self.seen_clips.first_time(everyone, int(self.state.epoch or 0))
        return everyone, counts, counts[own] * self.args.world_size / counts.sum().clamp(min=1)

    def observe(self) -> None:
        """Let the state of the method take in the batch of the last loss."""
        if self.training_state is not None and self._observation is not None:
            self.training_state.observe(*self._observation)
        self._observation = None

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with the mean of each part of the loss since the last log, over all processes."""
        if "loss" in logs and self._loss_parts.steps:
            means = self._loss_parts.take_means(self.accelerator)
            logs.update({f"loss_{name}": value for name, value in means.items()})
        super().log(logs, start_time)

    def evaluation_loop(
        self, dataloader, description, prediction_loss_only=None, ignore_keys=None, metric_key_prefix="eval"
    ):
        """Evaluate as the library does, with the loss as the mean over clips.

        The library averages over batches, and counts the clips that fill up the last batch of a distributed run.
        """
        found = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        if found.predictions is not None and found.label_ids is not None:
            found = self.per_clip(found, dataloader.dataset)
            losses = task_loss(main_logits(found.predictions), torch.as_tensor(found.label_ids), self.task)  # (N,)
            loss = {f"{metric_key_prefix}_loss": losses.mean().item()}
            return found._replace(metrics={**(found.metrics or {}), **loss})
        return found

    def per_clip(self, found: EvalLoopOutput, rows) -> EvalLoopOutput:
        """Return predictions and labels with one row a clip: those of the rows of a dataset, which are clips here."""
        return found

    def _compute_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        return compute_metrics(self.task, main_logits(prediction.predictions).numpy(), prediction.label_ids)

    def create_optimizer(self, model=None):
        """Create AdamW with a learning rate of its own for the language model, and without weight decay on biases and
        norms.
        """
        model = self.model if model is None else model
        if self.optimizer is None:
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            groups = parameter_groups(model, set(self.get_decay_parameter_names(model)), self.args)
            self.optimizer = optimizer_class(groups, **options)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        """Create the schedule: linear warm-up of all rates over `warmup_epochs`, then by `lr_scheduler_type`."""
        if self.args.warmup_epochs and self.train_dataset is not None:
            self.args.warmup_steps = warmup_steps(self.args, len(self.train_dataset), num_training_steps)
        return super().create_scheduler(num_training_steps, optimizer)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            state = self.seen_clips.state_dict()
            if self.training_state is not None:
                own = self.training_state.state_dict()
                state |= {f"{self.state_prefix}{name}": value for name, value in own.items()}
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
        self.seen_clips.load_state_dict(state)
        if self.training_state is not None:
            prefix = self.state_prefix
            own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            if not own.keys() >= self.training_state.state_dict().keys():
                raise ValueError(f"{path} holds no {self.state_name}. Resume with the same.")
            self.training_state.load_state_dict(own)


class _AfterStep(TrainerCallback):
    """Lets the state of the method follow the weights after each step of the optimizer."""

    def __init__(self, trainer: AffectTrainer):
        self.trainer = trainer

    def on_step_end(self, args, state, control, **kwargs):
        """Call `after_step` of the state."""
        if self.trainer.training_state is not None:
            self.trainer.training_state.after_step(self.trainer.model)


def main_logits(predictions) -> torch.Tensor:
    """Return the logits of the head (N, C) from the outputs that the library gathered."""
    return torch.as_tensor(predictions[0] if isinstance(predictions, tuple) else predictions)


__all__ = ["AffectTrainer", "Loss", "main_logits"]
