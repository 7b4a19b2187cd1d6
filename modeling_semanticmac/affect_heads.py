"""Heads of SemanticMAC: five predictors, one for each sub-task (section III-F, eq. 20), and the named task classes."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_semanticmac import SUBTASKS, SemanticMACConfig, TaskSpecification
from .modeling_semanticmac import SemanticMACModel, SemanticMACPreTrainedModel
from .pipeline_semanticmac import CUSTOM_PIPELINES
from .semantic_interaction import ZeroProjection


@dataclass
class SemanticMACForAffectOutput(ModelOutput):
    """Predictions and representations of a batch.

    Args:
        loss: mean loss of sub-task M against `labels`, a scalar (by which validation selects, for scores).
        logits: sub-task M, (B, C): the score in the task's range (C = 1), or one logit a class.
        subtask_logits: sub-tasks S, T, A, V in this order, (B, 4, C).
        multimodal_embeds, specific_embeds, shared_embeds, modality_mask, hidden_states, attentions: as in
            `SemanticMACOutput`.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    subtask_logits: torch.Tensor | None = None
    multimodal_embeds: torch.Tensor | None = None
    specific_embeds: torch.Tensor | None = None
    shared_embeds: torch.Tensor | None = None
    modality_mask: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class AffectPredictor(nn.Module):
    """Eq. (20):  u = W_2 dropout(ReLU(W_1 x)) + x,  y^ = W_3 u,  (B, d) -> (B, C).

    The form is that of the authors' later code. With `linear_start` W_2 starts at zero.
    """

    def __init__(self, width: int, num_labels: int, dropout: float, linear_start: bool = False):
        super().__init__()
        self.expand = nn.Linear(width, width)
        self.contract = ZeroProjection(width, width) if linear_start else nn.Linear(width, width)
        self.output = nn.Linear(width, num_labels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, C) from a representation (B, d)."""
        hidden = self.contract(self.dropout(torch.relu(self.expand(pooled)))) + pooled
        return self.output(hidden)  # (B, C)


def subtask_embeds(output) -> dict[str, torch.Tensor]:
    """Return the pooled representation (B, d) that each sub-task M, S, T, A, V predicts from.

    The shared sub-task S reads the mean of the shared representations of a sample's modalities (our reading).
    """
    present = output.modality_mask.unsqueeze(-1).to(output.shared_embeds.dtype)  # (B, 3, 1)
    shared = (output.shared_embeds * present).sum(dim=1) / present.sum(dim=1).clamp(min=1)  # (B, d)
    text, audio, vision = output.specific_embeds.unbind(dim=1)
    return {"M": output.multimodal_embeds, "S": shared, "T": text, "A": audio, "V": vision}


class AffectPredictors(nn.Module):
    """The five predictors, one for each sub-task, as the attributes M, S, T, A and V."""

    def __init__(self, config: SemanticMACConfig):
        super().__init__()
        sizes = (config.hidden_size, config.task.num_labels, config.dropout, config.linear_start)
        self.M, self.S = AffectPredictor(*sizes), AffectPredictor(*sizes)
        self.T, self.A, self.V = AffectPredictor(*sizes), AffectPredictor(*sizes), AffectPredictor(*sizes)

    def __getitem__(self, subtask: str) -> AffectPredictor:
        return getattr(self, subtask)

    def forward(self, embeds: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of M (B, C) and of S, T, A, V (B, 4, C) from the representation (B, d) of each sub-task."""
        predictions = [self.S(embeds["S"]), self.T(embeds["T"]), self.A(embeds["A"]), self.V(embeds["V"])]
        return self.M(embeds["M"]), torch.stack(predictions, dim=1)


class SemanticMACForAffect(SemanticMACPreTrainedModel):
    """SemanticMAC with one predictor for each of the sub-tasks M, S, T, A, V; `config.task` is what they predict.

    `SemanticMACForSentimentAnalysis`, `...EmotionRecognition`, `...HumorDetection` and `...SarcasmDetection` are this
    class with a check that the configured task fits the name.
    """

    _no_split_modules = ["AffectPredictors"]
    _custom_pipelines = CUSTOM_PIPELINES

    def __init__(self, config: SemanticMACConfig, language_model: PreTrainedModel | None = None):
        super().__init__(config)
        self._check_task(config)
        self.num_labels = config.num_labels
        self.semanticmac = SemanticMACModel(config, language_model=language_model)
        self.predictors = AffectPredictors(config)
        self.post_init()
        # What the base model ignores, the head needs.
        self._keys_to_ignore_on_load_unexpected = set(self._keys_to_ignore_on_load_unexpected or ()) - {
            r"^predictors\."
        }

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, new_heads: bool = False, **kwargs):
        """Load as `SemanticMACModel.from_pretrained` does; a new task gets new output layers, to be trained.

            from_pretrained(run, **task.config_fields(), ignore_mismatched_sizes=True)     from MOSEI to MUStARD
            from_pretrained(run, num_labels=7, ignore_mismatched_sizes=True)

        Args:
            new_heads: allow predictors with new weights; `ignore_mismatched_sizes=True` does too.
            kwargs: of `PreTrainedModel.from_pretrained`, fields of the configuration among them.

        Raises:
            ValueError: a new task without these, or a checkpoint that lacks weights.
        """
        allowed, with_info = (
            new_heads or kwargs.get("ignore_mismatched_sizes"),
            kwargs.pop("output_loading_info", False),
        )
        model, info = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, new_heads=new_heads, output_loading_info=True, **kwargs
        )
        old = cls._task_of(pretrained_model_name_or_path, kwargs)
        if old is not None and _question(old) != _question(model.config.task):
            if not allowed:
                raise ValueError(
                    f"the checkpoint {pretrained_model_name_or_path} predicts {old}; its predictors cannot answer "
                    f"{model.config.task}. Pass ignore_mismatched_sizes=True for new output layers, to be trained."
                )
            info["missing_keys"] |= model._renew_outputs()
        return (model, info) if with_info else model

    def _renew_outputs(self) -> set[str]:
        """Draw new weights for the output layers; returns their names."""
        names = set()
        for name in ("M", *SUBTASKS):
            nn.init.normal_(self.predictors[name].output.weight, std=self.config.initializer_range)
            nn.init.zeros_(self.predictors[name].output.bias)
            names |= {f"predictors.{name}.output.weight", f"predictors.{name}.output.bias"}
        return names

    @classmethod
    def _check_task(cls, config: SemanticMACConfig) -> None:
        """Raise ValueError for a task that does not fit a named class; the general class takes every task."""

    def get_input_embeddings(self):
        """Return the token embeddings of the language model."""
        return self.semanticmac.get_input_embeddings()

    def set_input_embeddings(self, value):
        """Replace the token embeddings of the language model."""
        self.semanticmac.set_input_embeddings(value)

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        audio_embeds: torch.FloatTensor | None = None,
        audio_mask: torch.Tensor | None = None,
        vision_embeds: torch.FloatTensor | None = None,
        vision_mask: torch.Tensor | None = None,
        input_features: torch.FloatTensor | None = None,
        pixel_values: torch.FloatTensor | None = None,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        utterance_mask: torch.Tensor | None = None,
        **kwargs,
    ) -> SemanticMACForAffectOutput | tuple:
        """Predict the five sub-tasks; inputs as in `SemanticMACModel.forward`.

        Args:
            labels: (B,) scores, (B,) class ids or (B, C) multi-hot, as `config.task` says.

        Raises:
            ValueError: labels that do not fit the task; a sample without any modality.
        """
        representations = self.semanticmac(
            input_ids, attention_mask, token_type_ids, audio_embeds, audio_mask, vision_embeds, vision_mask,
            input_features, pixel_values, True, inputs_embeds, output_hidden_states, output_attentions, utterance_mask,
            **kwargs,
        )  # fmt: skip
        task = self.config.task
        logits, subtask_logits = self.predictors(subtask_embeds(representations))  # (B, C), (B, 4, C)
        logits, subtask_logits = on_task_scale(logits, task), on_task_scale(subtask_logits, task)
        loss = None
        if labels is not None:
            check_labels(labels, task, batch_size=logits.shape[0])
            loss = task_loss(logits, labels, task).mean()
        output = SemanticMACForAffectOutput(loss=loss, logits=logits, subtask_logits=subtask_logits, **representations)
        return output if return_dict is not False else output.to_tuple()


class SemanticMACForSentimentAnalysis(SemanticMACForAffect):
    """Sentiment: a score in a range (CMU-MOSI, CMU-MOSEI, CH-SIMS), or one of some classes (MELD)."""

    @classmethod
    def _check_task(cls, config):
        if config.task.is_multi_label:
            raise ValueError(
                f"{cls.__name__} predicts one score or one class; the configured task {config.task} has several labels "
                "a clip."
            )


class SemanticMACForEmotionRecognition(SemanticMACForAffect):
    """Emotion classes, one a clip (IEMOCAP, MELD) or several (CMU-MOSEI)."""

    @classmethod
    def _check_task(cls, config):
        if config.task.is_regression:
            raise ValueError(f"{cls.__name__} predicts classes; the configured task {config.task} is a regression.")


class _BinaryDetection(SemanticMACForAffect):
    @classmethod
    def _check_task(cls, config):
        if not config.task.is_binary:
            raise ValueError(f"{cls.__name__} predicts one of two classes; the configured task is {config.task}.")


class SemanticMACForHumorDetection(_BinaryDetection):
    """Humorous or not (UR-FUNNY)."""


class SemanticMACForSarcasmDetection(_BinaryDetection):
    """Sarcastic or not (MUStARD)."""


def _question(task: TaskSpecification) -> tuple:
    """Return what a task asks, without its metrics. Plain values: remote code can load the class twice."""
    return task.name, task.problem_type, task.label_names, task.label_range, task.scale_scores


REGRESSION_LOSSES = ("l1", "mse")


def on_task_scale(predicted: torch.Tensor, task: TaskSpecification) -> torch.Tensor:
    """Map predictions from the scale of the predictors to the task's own; unchanged where scores are not scaled.

    In float32 at least: on a scale of [0, 100] the steps of bfloat16 are a third of a point.
    """
    if not task.scale_scores:
        return predicted
    return predicted.to(torch.promote_types(predicted.dtype, torch.float32)) * task.score_unit + task.middle


def task_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    task: TaskSpecification,
    regression_loss: str = "l1",
    class_weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute the loss of one sub-task for each sample, in float32: l(y^_s, y_s) of eq. (21).

    Scores: |y^ - y| ("l1", the default) or (y^ - y)^2 ("mse"); with `task.scale_scores` the difference is counted in
    `task.score_unit`, so that the loss of a scale of [0, 100] is as large as that of [-3, 3] beside the contrastive
    terms and gradient clipping. Single label: cross entropy, with class ids or with soft targets on the simplex.
    Multi-label: binary cross entropy with logits, mean over classes, targets in [0, 1] (our reading: the paper does not
    state the loss for several labels).

    Args:
        logits: (B, C).
        targets: (B,) or (B, 1) scores; (B,) class ids or (B, C) probabilities; (B, C) multi-hot.
        regression_loss: "l1" or "mse".
        class_weight: (C,) weight of each class (single label), or of the positives of each class (multi-label).

    Returns:
        (B,) losses.
    """
    logits = logits.float()
    if task.is_regression:
        difference = (logits.squeeze(-1) - targets.float().reshape(logits.shape[0])) / task.score_unit
        return difference.abs() if regression_loss == "l1" else difference.square()
    if task.is_multi_label:
        losses = F.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none", pos_weight=class_weight)
        return losses.mean(dim=-1)  # (B, C) -> (B,)
    if targets.dim() == 1:
        targets = targets.long()
    else:
        targets = targets.float()
    return F.cross_entropy(logits, targets, weight=class_weight, reduction="none")


def check_labels(labels: torch.Tensor, task: TaskSpecification, batch_size: int | None = None) -> None:
    """Raise ValueError, in a sentence, for labels that cannot belong to the task.

    Shapes are always checked; values (range, class ids, multi-hot) only on the CPU, which needs no synchronisation.

    Args:
        labels: (B,) scores, (B,) class ids or (B, C) multi-hot, as the task requires.
        batch_size: B, when known.
    """
    where = f"labels of task {task.name!r} ({task.problem_type})"
    expected = (task.num_labels,) if task.is_multi_label else ()
    shape = tuple(labels.shape)
    if task.is_regression and shape[1:] == (1,):
        shape = shape[:1]
    if len(shape) < 1 or shape[1:] != expected or (batch_size is not None and shape[0] != batch_size):
        wanted = (batch_size if batch_size is not None else "B", *expected)
        raise ValueError(
            f"{where} have shape {tuple(labels.shape)}; expected ({', '.join(map(str, wanted))}{',' * (not expected)})."
        )
    if labels.device.type != "cpu":
        return
    if task.is_regression:
        low, high = task.score_range
        bad = ~((labels >= low) & (labels <= high))  # written so that NaN is bad too
        allowed = f"scores in [{low:g}, {high:g}]"
    elif task.is_multi_label:
        bad = (labels != 0) & (labels != 1)
        allowed = f"{task.num_labels} zeros and ones for {', '.join(task.label_names)}"
    else:
        bad = (labels < 0) | (labels >= task.num_labels) | (labels != labels.round())
        allowed = f"class ids 0 to {task.num_labels - 1} for {', '.join(task.label_names)}"
    if bad.any():
        raise ValueError(
            f"{where} hold {labels[bad].flatten()[0].item():g}; expected {allowed}. Check the corpus, or the task's "
            "definition."
        )
