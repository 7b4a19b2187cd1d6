"""Comparison systems as fusion modules: a `Fusion` is the system, `FusionForAffect` the model around it, with language
model, towers, loss and checkpoints.

Legend: B batch, L tokens, T_a and T_v frames, D_m width of a stream, C outputs. Triples are in the order text, audio,
vision.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import ModelOutput

from ..affect_heads import check_labels, on_task_scale, task_loss
from ..configuration_semanticmac import MEDIA_MODALITIES
from ..encoders import SharedEncoders
from ..input_scaling import InputScaling
from ..pretrained_affect import AffectPreTrainedModel, refuse_empty, refuse_unknown
from ..task_specification import TaskSpecification
from .configuration_fusion import FusionConfig
from .dialogue_data import DialogueStreams
from .dialogue_encoding import encode_dialogues, labelled, single_utterances, utterance_losses
from .fusion import Fused, Streams, own_rows
from .registry import find_system, load_system


@dataclass
class FusionOutput(ModelOutput):
    """Predictions of a batch.

    Args:
        loss: mean loss of the task against `labels`, in training mode with the terms of `losses` added.
        logits: (B, C): the score in the task's range (C = 1), or one logit a class.
        modality_logits: predictions from text, audio and vision alone (B, 3, C), where the system has them.
        losses: further terms of the loss by name.
        embeds: representations by name, (B, d).
        modality_mask: (B, 3).
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    modality_logits: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = field(default=None)
    embeds: dict[str, torch.Tensor] | None = field(default=None)
    modality_mask: torch.Tensor | None = None


def learnt_labels(labels: torch.Tensor, task: TaskSpecification) -> torch.Tensor:
    """Return labels on the scale of the logits before `on_task_scale`; class labels, and scores that are not scaled, as
    they are.
    """
    return (labels - task.middle) / task.score_unit if task.scale_scores else labels


class FusionForAffect(AffectPreTrainedModel):
    """A comparison system with its language model, on the inputs of `SemanticMACForAffect`.

    The system is the sub-module `fusion`; `config.architecture` names it.
    """

    config: FusionConfig
    config_class = FusionConfig
    base_model_prefix = ""

    def __init__(self, config: FusionConfig, language_model: PreTrainedModel | None = None):
        super().__init__(config)
        self.num_labels = config.num_labels
        self._set_language_model(language_model)
        self._encoders, self.adapted_encoders = SharedEncoders(), torch.nn.ModuleDict()
        widths = {
            "text": config.get_text_config().hidden_size,
            "audio": config.audio_width,
            "vision": config.vision_width,
        }
        self.media_scaling = nn.ModuleDict(
            {name: InputScaling(widths[name], config.input_scaling) for name in MEDIA_MODALITIES}
        )
        self.fusion = load_system(config.architecture)(config.system_options, widths, config.task)
        if self.language_model is not None:
            self.fusion.attach(self.language_model)
        self.gather_rows: Callable[[torch.Tensor], torch.Tensor] = own_rows  # set by a trainer with several processes
        # Loading makes all weights trainable again; some systems have fixed ones.
        self._fixed = {name for name, weight in self.fusion.named_parameters() if not weight.requires_grad}
        for module in self.fusion.modules():
            module._is_hf_initialized = True  # by its constructor; the library would draw other weights
        self.post_init()
        self._freeze()

    @classmethod
    def from_language_model(
        cls, name_or_path: str, revision: str | None = None, dtype: torch.dtype | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None, **config_fields,
    ):  # fmt: skip
        """Build a new model as `SemanticMACModel.from_language_model` does.

        Args:
            name_or_path, revision, dtype: as there.
            tokenizer: of the language model, which says what tokens are no words; None: loaded from the same place.
            config_fields: fields of [`FusionConfig`], e.g. `architecture="ef_lstm", **task.config_fields()`.
        """
        tokenizer = tokenizer or AutoTokenizer.from_pretrained(name_or_path, revision=revision)
        config_fields.setdefault("special_tokens", special_tokens(tokenizer))
        model = super().from_language_model(name_or_path, revision, dtype, tokenizer, **config_fields)
        if model.is_frozen and model.config.language_model_reference is not None:
            raise ValueError(
                f"{model.config.architecture} keeps its language model frozen, so an adapter would not be trained; set "
                'language_model="tuned", or leave out the adapter.'
            )
        model.fusion.read_labels(model.language_model, tokenizer)
        return model

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        """Load as `PreTrainedModel.from_pretrained` does.

        Raises:
            ValueError: the checkpoint lacks weights, or was made for another task than the one given.
        """
        with_info = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, output_loading_info=True, **kwargs
        )
        old = cls._task_of(pretrained_model_name_or_path, kwargs)
        if old is not None and old != model.config.task:
            raise ValueError(
                f"the checkpoint {pretrained_model_name_or_path} predicts {old} and cannot answer {model.config.task}; "
                "train a new one from a language model."
            )
        model._freeze()
        return (model, info) if with_info else model

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the system's own weights; the language model's may differ."""
        return next(self.fusion.parameters()).dtype

    @property
    def is_frozen(self) -> bool:
        """Whether the language model is not trained."""
        return self.config.language_model == "frozen"

    def _freeze(self) -> None:
        """Take the fixed weights of the system out of the training, and the language model where it is frozen."""
        for name in self._fixed:
            self.fusion.get_parameter(name).requires_grad_(False)
        if self.language_model is None:  # its named base is not loaded yet
            return
        if self.is_frozen:
            self.language_model.requires_grad_(False).eval()
        else:
            self.fusion.freeze(self.language_model)

    def train(self, mode: bool = True):
        """Set the mode of the system; a frozen language model stays in evaluation mode."""
        super().train(mode)
        if self.is_frozen and self.language_model is not None:
            self.language_model.eval()
        return self

    def attach_language_model(self, language_model: PreTrainedModel) -> None:
        """Use a language model, prepared for a system that works inside it."""
        super().attach_language_model(language_model)
        if hasattr(self, "fusion"):
            self.fusion.attach(language_model)

    def input_scalings(self, modality: str) -> list[InputScaling]:
        """Return what standardises the frames of "audio" or "vision"; empty where nothing does."""
        scaling = self.media_scaling[modality]
        return [scaling] if scaling.kind == "standardize" else []

    def get_input_embeddings(self):
        """Return the token embeddings of the language model; None before it is loaded."""
        return None if self.language_model is None else self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value):
        """Replace the token embeddings of the language model."""
        self.language_model.set_input_embeddings(value)

    def encode(
        self, input_ids=None, attention_mask=None, token_type_ids=None, audio_embeds=None, audio_mask=None,
        vision_embeds=None, vision_mask=None, input_features=None, pixel_values=None, inputs_embeds=None,
        utterance_mask=None,
    ) -> Streams:  # fmt: skip
        """Return the streams of a batch; arguments as in `forward`.

        Raises:
            ValueError: the batch has no modality at all, or shapes do not fit.
        """
        words = input_ids if input_ids is not None else inputs_embeds
        media = {
            "audio": self._read_media("audio", audio_embeds, input_features, audio_mask),
            "vision": self._read_media("vision", vision_embeds, pixel_values, vision_mask),
        }
        given = words if words is not None else next((found[0] for found in media.values() if found is not None), None)
        if given is None:
            raise ValueError("The batch has neither text nor audio nor vision; give input_ids, audio_embeds or others.")
        size, device = given.shape[0], given.device
        fields: dict[str, torch.Tensor] = {}
        for name, found in media.items():
            width = getattr(self.config, f"{name}_width")
            embeds, mask = found or (
                torch.zeros(size, 1, width, device=device),
                torch.zeros(size, 1, device=device).bool(),
            )
            embeds = self.media_scaling[name](embeds.masked_fill(~mask[..., None], 0))
            fields[name], fields[f"{name}_mask"] = embeds.masked_fill(~mask[..., None], 0).to(self.dtype), mask
        length = 1 if words is None else words.shape[1]
        text_mask = torch.zeros(size, length, dtype=torch.bool, device=device)
        if words is not None:
            text_mask = ~text_mask if attention_mask is None else attention_mask.bool()
        masks = [text_mask, fields["audio_mask"], fields["vision_mask"]]
        streams = Streams(
            text=torch.zeros(size, length, self.config.get_text_config().hidden_size, device=device, dtype=self.dtype),
            text_mask=text_mask,
            content_mask=self._content(text_mask, input_ids),
            modality_mask=torch.stack([mask.any(dim=1) for mask in masks], dim=1),
            summary=str(self.config.text_summary),
            gather=self.gather_rows,
            **fields,
        )
        if words is not None:
            self.fusion.before_text(streams)
            without_gradient = self.is_frozen and not self.fusion.inside_language_model
            with torch.no_grad() if without_gradient else nullcontext():
                output, text_mask = self._read_text(
                    input_ids, attention_mask, token_type_ids, inputs_embeds, {}, utterance_mask
                )
            hidden = output.last_hidden_state.to(self.dtype)
            streams.text_mask, streams.content_mask = text_mask, streams.content_mask & text_mask
            streams.modality_mask[:, 0] = text_mask.any(dim=1)
            streams.text = hidden.masked_fill(~text_mask[..., None], 0)
        return streams

    def _content(self, text_mask: torch.Tensor, input_ids: torch.Tensor | None) -> torch.Tensor:
        """Return which tokens are words (B, L)."""
        special = self.config.special_tokens
        if input_ids is None or not special:
            return text_mask
        return text_mask & ~torch.isin(input_ids, torch.tensor(list(special), device=input_ids.device))

    def fuse(self, streams: Streams | DialogueStreams) -> Fused:
        """Return the prediction of the system, on the scale of the task."""
        fused, task = self.fusion(streams), self.config.task
        for name in ("logits", "modality_logits"):
            logits = getattr(fused, name)
            if logits is not None:
                if self.config.bounded:
                    low, high = task.score_range
                    logits = low + (high - low) * torch.sigmoid(logits)
                else:
                    logits = on_task_scale(logits, task)
                setattr(fused, name, logits)
        return fused

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
        targets: dict[str, torch.Tensor] | None = None,
        counts: torch.Tensor | None = None,
        dialogue_mask: torch.Tensor | None = None,
        speaker: torch.LongTensor | None = None,
        modality_mask: torch.Tensor | None = None,
        text_embeds: torch.FloatTensor | None = None,
        utterance_mask: torch.Tensor | None = None,
        **kwargs,
    ) -> FusionOutput | tuple:
        """Predict a batch; inputs as in `SemanticMACModel.forward`, or for a system that reads dialogues those of
        `encode_dialogues`. To such a system clips are dialogues of one utterance.

        Args:
            labels: (B,) scores, (B,) class ids or (B, C) multi-hot, as `config.task` says; of dialogues (D, U) or
                (D, U, C), with -100 for utterances that have none.
            targets: what the `TrainingState` of the system returned for the batch.
            counts: which clips count in the losses of the system (B,), see [`Streams`].
            dialogue_mask, speaker, modality_mask, text_embeds: of dialogues, see `encode_dialogues`.
            utterance_mask: as in `SemanticMACModel.forward`.
            kwargs: as there.

        Raises:
            ValueError: labels that do not fit the task; a sample without any modality.
        """
        refuse_unknown(kwargs)
        if dialogue_mask is not None:
            tokens = {
                "input_ids": input_ids, "inputs_embeds": inputs_embeds, "attention_mask": attention_mask,
                "token_type_ids": token_type_ids,
            }  # fmt: skip
            return self._forward_dialogues(
                labels, return_dict, dialogue_mask=dialogue_mask, speaker=speaker, modality_mask=modality_mask,
                text_embeds=text_embeds, tokens=tokens, audio_embeds=audio_embeds, vision_embeds=vision_embeds,
            )  # fmt: skip
        streams = self.encode(
            input_ids, attention_mask, token_type_ids, audio_embeds, audio_mask, vision_embeds, vision_mask,
            input_features, pixel_values, inputs_embeds, utterance_mask,
        )  # fmt: skip
        output = self._predict(streams, labels, targets, counts)
        return output if return_dict is not False else output.to_tuple()

    def _predict(self, streams: Streams, labels, targets, counts) -> FusionOutput:
        """Return logits (B, C), and with labels a loss, of a batch of clips; arguments as in `forward`."""
        task = self.config.task
        refuse_empty(streams.modality_mask)
        if labels is not None:
            check_labels(labels, task, batch_size=len(streams.modality_mask))
            if self.training:
                streams.labels, streams.targets, streams.counts = learnt_labels(labels, task), targets, counts
        if self.reads_dialogues:
            fused = self.fuse(single_utterances(streams))
            fused.logits = fused.logits[:, 0]  # (B, 1, C) -> (B, C)
        else:
            fused = self.fuse(streams)
        loss = None
        if labels is not None:
            loss = task_loss(fused.logits, labels, task).mean() + sum((fused.losses or {}).values())
        return FusionOutput(
            loss, fused.logits, fused.modality_logits, fused.losses, fused.embeds, streams.modality_mask
        )

    @property
    def reads_dialogues(self) -> bool:
        """Whether the system reads the utterances of a dialogue together."""
        return find_system(self.config.architecture).level == "dialogue"

    def _forward_dialogues(self, labels, return_dict, **inputs) -> FusionOutput | tuple:
        """Predict a batch of dialogues: logits (D, U, C), a loss over the utterances that have a label."""
        if not self.reads_dialogues:
            raise ValueError(f"{self.config.architecture} reads clips, not dialogues; leave out dialogue_mask.")
        streams, loss = encode_dialogues(self, **inputs), None
        fused = self.fuse(streams)
        if labels is not None:
            losses = utterance_losses(fused.logits, labels, self.config.task)  # (D, U)
            loss = losses.sum() / labelled(labels).sum().clamp(min=1)
        output = FusionOutput(loss, fused.logits, modality_mask=streams.modality_mask)
        return output if return_dict is not False else output.to_tuple()


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of the tokens that are no words: those that a tokenizer puts around texts, and padding."""
    names = ("bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id", "pad_token_id")
    return sorted({found for name in names if (found := getattr(tokenizer, name, None)) is not None})


__all__ = ["FusionForAffect", "FusionOutput", "learnt_labels", "special_tokens"]
