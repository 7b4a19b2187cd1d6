"""SemanticMAC: text, audio and vision of a speaking person to sentiment, emotion, humour and sarcasm (section III)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .affective_perceiver import AffectivePerceiver, FrameEmbedding
from .configuration_semanticmac import SemanticMACConfig
from .encoders import SharedEncoders
from .input_scaling import InputScaling, StreamSummary, SummaryProjection, TextSummary, text_summary
from .pretrained_affect import AffectPreTrainedModel, refuse_empty, refuse_unknown
from .semantic_interaction import GateProjection, SemanticInteraction, SemanticMACOutput, ZeroProjection


class SemanticMACPreTrainedModel(AffectPreTrainedModel):
    """Weights, loading and saving shared by [`SemanticMACModel`] and its heads."""

    config: SemanticMACConfig
    config_class = SemanticMACConfig
    base_model_prefix = "semanticmac"
    _no_split_modules = ["AffectivePerceiver", "SemanticInteraction"]
    _auto_map = {"AutoModel": "modeling_semanticmac.SemanticMACModel"}
    _keep_in_fp32_modules_strict = ["scaling"]  # the statistics of a tower: half precision would shift its embeddings

    def _init_weights(self, module):
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, GateProjection):
            init.constant_(module.bias, 1.0)
        elif isinstance(module, FrameEmbedding | AffectivePerceiver | SemanticInteraction):
            for parameter in module.parameters(recurse=False):  # frame embeddings, latents, modality embeddings
                init.normal_(parameter, mean=0.0, std=std)
            if isinstance(module, SemanticInteraction) and module.specific_scale is not None:
                module.begin_linear()
        elif isinstance(module, SummaryProjection):
            init.normal_(module.weight, mean=0.0, std=module.in_features**-0.5)
        elif isinstance(module, ZeroProjection):
            init.zeros_(module.weight)
        elif isinstance(module, InputScaling):
            module.reset()

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of SemanticMAC's own weights; the language model's may differ."""
        return self.base_model.audio_perceiver.latents.dtype


class SemanticMACModel(SemanticMACPreTrainedModel):
    """The representations of SemanticMAC (section III-A to III-D), without predictors.

        F_t = LM(tokens) W_t                       eq. (1)
        F_m = AffectivePerceiver_m(E_m), m = a, v  eq. (2)-(4)
        F_M, z_S, z_C = SGFI(F_t, F_a, F_v)        eq. (5)-(12)

    The frozen towers that compute E_m are not part of its weights: they are loaded by reference when `pixel_values` or
    `input_features` first come in place of embeddings, or set with `set_encoders`.
    """

    _auto_class: Any = "AutoModel"  # its code is saved with it, also by code beside a head
    _keys_to_ignore_on_load_unexpected = [r"^predictors\."]  # a head's checkpoint read as the base model

    def __init__(self, config: SemanticMACConfig, language_model: PreTrainedModel | None = None):
        super().__init__(config)
        self._set_language_model(language_model)
        self._encoders = SharedEncoders()  # no sub-modules, so never in state_dict() or an optimizer
        self.adapted_encoders = nn.ModuleDict()  # towers with an adapter, see `adapt_encoders`
        text_width = config.get_text_config().hidden_size
        same_width = text_width == config.hidden_size and config.reads_words  # vectors have no weights but these
        self.text_projection = nn.Identity() if same_width else nn.Linear(text_width, config.hidden_size)
        self.audio_perceiver = AffectivePerceiver(config, config.audio_width)
        self.vision_perceiver = AffectivePerceiver(config, config.vision_width, config.num_crops)
        if config.linear_start:
            options = (config.hidden_size, config.input_scaling, config.dropout)
            self.audio_summary = StreamSummary(config.audio_width, *options)
            self.vision_summary = StreamSummary(config.vision_width, *options)
            if config.text_summary_norm:
                self.text_summary = TextSummary(text_width, config.hidden_size, config.text_summary, config.dropout)
        self.interaction = SemanticInteraction(config)
        self.post_init()

    def get_input_embeddings(self):
        """Return the token embeddings of the language model; None before it is loaded."""
        return None if self.language_model is None else self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value):
        """Replace the token embeddings of the language model."""
        self.language_model.set_input_embeddings(value)

    def input_scalings(self, modality: str) -> list[InputScaling]:
        """Return what standardises "audio" or "vision": the frames, and with `linear_start` their summary over time.

        Empty with another `input_scaling`.
        """
        found = [getattr(self, f"{modality}_perceiver").scaling]
        if self.config.linear_start:
            found.append(getattr(self, f"{modality}_summary").scaling)
        return [scaling for scaling in found if scaling.kind == "standardize"]

    def _text_tokens(self, *given):
        """Compute F_t of eq. (1): the last hidden states of all tokens (B, L, d), the mask of those read (B, L).

        With `linear_start` also the summary of the text (B, d). Also returns the language model's whole output; Nones
        without text. Arguments as of `_read_text`.
        """
        output, mask = self._read_text(*given)
        if output is None:
            return None, None
        # The language model may have another dtype than the rest; quantised weights have another than their bias.
        own = self.text_projection.bias.dtype if isinstance(self.text_projection, nn.Linear) else self.dtype
        hidden = output.last_hidden_state.to(own)
        tokens = self.text_projection(hidden)  # (B, L, d)
        if not self.config.linear_start:
            return (tokens, mask), output
        if self.config.text_summary_norm:
            return (tokens, mask, self.text_summary(hidden, mask)), output
        return (tokens, mask, text_summary(tokens, mask, self.config.text_summary)), output

    def _media_tokens(self, modality, embeds, raw, mask) -> tuple[torch.Tensor, ...] | None:
        """Compute F_m of eq. (2)-(4) from embeddings or raw input: (B, N, d), and the mask of valid tokens (B, N).

        With `linear_start` also the summary of the stream (B, d).
        """
        found = self._read_media(modality, embeds, raw, mask)
        if found is None:
            return None
        embeds, mask = found
        perceiver = self.audio_perceiver if modality == "audio" else self.vision_perceiver
        # The latent tokens exist for every sample; those of a sample without a single valid frame are masked.
        tokens = perceiver(embeds, mask), mask.any(dim=1, keepdim=True).expand(-1, self.config.num_latents)
        if not self.config.linear_start:
            return tokens
        summary = self.audio_summary if modality == "audio" else self.vision_summary
        return *tokens, summary(embeds, mask)

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
        return_dict: bool | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        utterance_mask: torch.Tensor | None = None,
        **kwargs,
    ) -> SemanticMACOutput | tuple:
        """Compute the representations of a batch.

        A modality that a sample lacks is an all-zero row of its mask; one that the whole batch lacks may be left out.
        What stands under a zero of a mask never changes an output.

        Args:
            input_ids, attention_mask, token_type_ids: (B, L).
            audio_embeds: tower embeddings (B, T_a, D_a), or `input_features` (B, T_a, 1, mel, frames) in their place;
                `audio_mask` (B, T_a).
            vision_embeds: tower embeddings (B, T_v, D_v), or `pixel_values` (B, T_v, 3, H, W) or
                (B, T_v, 3, 2, H, W); `vision_mask` (B, T_v).
            inputs_embeds: token embeddings (B, L, width of the language model) in place of `input_ids`.
            output_hidden_states, output_attentions: return those of the language model.
            utterance_mask: the utterance's own tokens (B, L), with `config.text_tokens` "utterance".
            kwargs: `num_items_in_batch` and `use_cache`, which callers of transformers pass, are accepted and not used.

        Raises:
            ValueError: a sample has no modality at all, or shapes do not fit.
            TypeError: an unknown argument.
        """
        refuse_unknown(kwargs)
        requested = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        requested = {name: getattr(self.config, name) if value is None else value for name, value in requested.items()}
        outputs = {name: True for name, value in requested.items() if value}
        text, read = self._text_tokens(
            input_ids, attention_mask, token_type_ids, inputs_embeds, outputs, utterance_mask
        )
        audio = self._media_tokens("audio", audio_embeds, input_features, audio_mask)
        vision = self._media_tokens("vision", vision_embeds, pixel_values, vision_mask)
        streams = _with_absent([text, audio, vision])
        tokens, masks = [stream[0] for stream in streams], [stream[1] for stream in streams]
        modality_mask = torch.stack([mask.any(dim=1) for mask in masks], dim=1)  # (B, 3)
        refuse_empty(modality_mask)
        summaries = [stream[2] for stream in streams] if self.config.linear_start else None
        multimodal, specific, shared = self.interaction(tokens, masks, summaries)
        asked = getattr(read, "hidden_states", None), getattr(read, "attentions", None)
        output = SemanticMACOutput(multimodal, specific, shared, modality_mask, *asked)
        return output if return_dict is not False else output.to_tuple()


def _with_absent(streams: Sequence[tuple[torch.Tensor, ...] | None]) -> list[tuple[torch.Tensor, ...]]:
    """Return the streams of text, audio and vision; one that the whole batch lacks is a set without tokens.

    Raises:
        ValueError: the batch has none.
    """
    present = next((stream for stream in streams if stream is not None), None)
    if present is None:
        raise ValueError(
            "The batch has neither text nor audio nor vision; give input_ids (or inputs_embeds), audio_embeds (or "
            "input_features) or vision_embeds (or pixel_values)."
        )
    views = [torch.zeros_like(view) for view in present[2:]]  # (B, d) with a linear start
    absent = (present[0][:, :0], present[1][:, :0], *views)  # (B, 0, d), (B, 0)
    return [absent if stream is None else stream for stream in streams]


__all__ = ["AffectPreTrainedModel", "SemanticMACModel", "SemanticMACOutput", "SemanticMACPreTrainedModel"]
