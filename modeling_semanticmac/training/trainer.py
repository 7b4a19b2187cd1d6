"""The Trainer: losses of the five sub-tasks, two learning rates, warm-up by epochs, selection by the task."""

import os
from pathlib import Path

import datasets
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import EvalPrediction

from ..affect_heads import SemanticMACForAffect, SemanticMACForAffectOutput, subtask_embeds, task_loss
from ..configuration_semanticmac import SUBTASKS
from ..files.atomic_files import write_json, write_whole
from ..metrics import compute_metrics
from ..runs.settings import MADE_WITH
from .checkpointing_trainer import CheckpointingTrainer
from .checkpoints import LABEL_STATE
from .class_weights import balanced_class_weight, own_class_weight
from .collator import SemanticMACCollator
from .evaluation_sampler import WholeBatches
from .gather_with_gradient import gather_rows
from .global_batch import GlobalBatch, SeenClips, field
from .label_history import LabelHistoryWriter
from .modality_dropout import drop_modalities
from .objectives import LossParts, contrastive_losses, subtask_losses
from .optimizer_groups import parameter_groups, warmup_steps
from .resumed_options import keep_optimizer_options
from .semantic_labels import SemanticLabels
from .trainer_inputs import (
    check_clips,
    check_model,
    default_processor,
    encode_media,
    number_clips,
    refuse_unsupported_parallelism,
    resolve_arguments,
    used_modalities,
)
from .training_args import SemanticMACTrainingArguments


class SemanticMACTrainer(CheckpointingTrainer):
    """Trainer for a head of SemanticMAC.

        L = L_task + alpha L_intra + beta L_inter,   L_task = sum over s in {M, S, T, A, V} of L_s  eq. (19), (21), (22)

    Sub-task M learns the ground truth; S, T, A and V learn their pseudo labels. Each term is logged by itself
    (`loss_M`, ... `loss_V`, `loss_intra`, `loss_inter`), label generation once per epoch (`labels/...`). The loss
    between samples sees the global batch of all processes, with gradient; with gradient accumulation it sees the
    micro-batch of one step. With `modality_dropout` clips lack modalities at random in training; a modality that a clip
    lacks in a step writes no row of the bank. The loss on validation and test is that of sub-task M alone, and every
    clip counts once, also in the last, incomplete batch. The best model is the one with the lowest validation loss
    (scores) or the highest validation weighted F1 (classes), unless `metric_for_best_model` names another figure.

    Args:
        model: a head, e.g. `SemanticMACForAffect`; its configuration states the task.
        args: training arguments, copied and left unchanged; None for the defaults.
        train_dataset: clips. They get a column `clip_index`, the row in the training set, which identifies their pseudo
            labels.
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
    model: SemanticMACForAffect
    data_collator: SemanticMACCollator
    train_dataset: datasets.Dataset | None

    def __init__(
        self, model, args: SemanticMACTrainingArguments | None = None, train_dataset=None, eval_dataset=None,
        data_collator=None, processing_class=None, **kwargs,
    ):  # fmt: skip
        self.task = check_model(model)
        args = resolve_arguments(args, self.task, eval_dataset is not None)
        refuse_unsupported_parallelism(args)
        check_clips(train_dataset, "train_dataset")
        check_clips(eval_dataset, "eval_dataset")
        self.made_with: dict | None = None  # written into each checkpoint, and compared when it is resumed
        self._embeddings_dir: Path | None = None  # of the default collator
        if data_collator is None:
            processing_class = processing_class or default_processor(model)
            modalities = used_modalities(model.config)
            self._embeddings_dir = Path(str(args.output_dir)) / "embeddings" if len(modalities) > 1 else None
            data_collator = SemanticMACCollator(processing_class, self.task, {}, modalities)
        kwargs.setdefault("compute_metrics", self._compute_metrics)
        super().__init__(
            model=model, args=args, train_dataset=number_clips(train_dataset), eval_dataset=eval_dataset,
            data_collator=data_collator, processing_class=processing_class, **kwargs,
        )  # fmt: skip
        for dataset in (train_dataset, *(eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset])):
            self._encode_media(dataset)
        self._reset_training_state()

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
        """Create what belongs to one training: class weights, pseudo labels and their history, the clips seen, the
        parts of the loss.
        """
        args, clips = self.args, self.train_dataset
        self.class_weight: torch.Tensor | None = None
        self.label_state: SemanticLabels | None = None
        self.label_history: LabelHistoryWriter | None = None
        if clips is not None:
            labels = torch.as_tensor(np.asarray(clips["label"]))
            self.seen_clips = SeenClips(len(labels), args.device)
            if args.class_weight == "balanced":
                self.class_weight = balanced_class_weight(labels, self.task).to(args.device)
            if args.class_weights:
                self.class_weight = own_class_weight(args.class_weights, self.task).to(args.device)
            if args.pseudo_labels == "generated":
                self.label_state = SemanticLabels(
                    labels, self.task, self.model.config.hidden_size, num_neighbors=args.num_neighbors,
                    start_epoch=args.label_start_epoch, momentum=args.label_momentum,
                    memory_bytes=args.label_memory * 2**20, device=args.device,
                )  # fmt: skip
                if self.is_world_process_zero():
                    self.label_history = LabelHistoryWriter(str(args.output_dir), clips["id"], self.label_state)
        self._loss_parts = LossParts()

    def _inner_training_loop(self, *args, **kwargs):
        # A second training, or one that starts again with smaller batches, begins with the ground truth.
        self._reset_training_state()
        return super()._inner_training_loop(*args, **kwargs)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the total of eq. (22) in training, the loss of sub-task M in evaluation."""
        inputs = dict(inputs)
        clip_index = inputs.pop("clip_index", None)
        if not model.training:
            output = model(**inputs)
            return (output.loss, output) if return_outputs else output.loss
        labels = inputs.pop("labels")
        self._advance_labels()
        output = model(**drop_modalities(inputs, self.args.modality_dropout))
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
        self._loss_parts.add(parts | contrast)
        if args.pseudo_labels == "off":
            # Distributed training waits for a gradient of everything that the forward pass used.
            loss = loss + 0.0 * output.subtask_logits.sum()
        return (loss, output) if return_outputs else loss

    def _targets(self, labels: torch.Tensor, clip_index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the labels of each sub-task: the ground truth for M, pseudo labels for S, T, A, V."""
        if self.args.pseudo_labels == "off":
            return {"M": labels}
        if self.label_state is None:
            return dict.fromkeys(("M", *SUBTASKS), labels)
        return {"M": labels, **self.label_state.targets(clip_index)}

    def _advance_labels(self) -> None:
        """Make the pseudo labels of an epoch before its first step, and keep them; in the middle of an epoch, resumed
        or not, do nothing.
        """
        if self.label_state is None:
            return
        report = self.label_state.advance(int(self.state.epoch or 0) + 1)
        if self.label_history is not None:
            self.label_history.keep()
        if report:
            self.log({f"labels/{name}": value for name, value in report.items()})

    def _global_batch(
        self, output: SemanticMACForAffectOutput, labels: torch.Tensor, clip_index: torch.Tensor
    ) -> GlobalBatch:
        """Gather the batch of all processes for the contrastive term, and write all of its rows into the bank."""
        embeds = {name: value.detach() for name, value in subtask_embeds(output).items() if name != "M"}
        local = (clip_index, labels, field(output.modality_mask), torch.stack(list(embeds.values()), dim=1))
        if self.args.world_size == 1:
            gathered = GlobalBatch.of_one_process(output, labels)
        else:
            everyone = gather_rows(field(output.multimodal_embeds))  # (G, d), with gradient
            local = tuple(self.accelerator.gather(tensor.contiguous()) for tensor in local)
            own = slice(self.args.process_index * len(labels), (self.args.process_index + 1) * len(labels))
            is_self = torch.zeros(len(labels), len(everyone), dtype=torch.bool, device=labels.device)
            is_self[:, own].fill_diagonal_(True)
            counts = self.seen_clips.first_time(local[0], int(self.state.epoch or 0))
            weight = counts[own] * self.args.world_size / counts.sum().clamp(min=1)
            gathered = GlobalBatch(everyone, local[1], is_self, counts, weight)
        if self.label_state is not None:
            # Clips that only fill up the batch keep the row of their own step.
            index, mask, stacked = (local[part][gathered.counts] for part in (0, 2, 3))
            self.label_state.write(index, dict(zip(embeds, stacked.unbind(dim=1))), mask)
        return gathered

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
            losses = task_loss(_main_logits(found.predictions), torch.as_tensor(found.label_ids), self.task)  # (N,)
            loss = {f"{metric_key_prefix}_loss": losses.mean().item()}
            return found._replace(metrics={**(found.metrics or {}), **loss})
        return found

    def _compute_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        return compute_metrics(self.task, _main_logits(prediction.predictions).numpy(), prediction.label_ids)

    def _get_eval_sampler(self, eval_dataset):
        # Also where training groups by length: the library would return predictions in that order, and callers pair
        # them with their clips.
        return WholeBatches(eval_dataset, self.args.eval_batch_size)

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
        self.seen_clips.load_state_dict(state)
        if self.label_state is not None:
            if "labels" not in state:
                raise ValueError(
                    f"{path} holds no pseudo labels: that run had another --pseudo_labels. Resume with the same."
                )
            self.label_state.load_state_dict(state)
        if self.label_history is not None:
            self.label_history.resume()


def _main_logits(predictions) -> torch.Tensor:
    """Return the logits of sub-task M (N, C) from the outputs that the library gathered."""
    return torch.as_tensor(predictions[0] if isinstance(predictions, tuple) else predictions)
