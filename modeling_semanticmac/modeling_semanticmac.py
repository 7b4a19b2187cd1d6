"""SemanticMAC: text, audio and vision of a speaking person to sentiment, emotion, humour and sarcasm (section III, eq. 1-12)."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from .affective_perceiver import AffectivePerceiver
from .configuration_semanticmac import SemanticMACConfig
from .encoders import embed_batch, load_encoder
from .pretrained_semanticmac import SemanticMACPreTrainedModel, without_pooler
from .semantic_interaction import MODALITIES, SemanticInteraction

ENCODER_BATCH = 64


@dataclass
class SemanticMACOutput(ModelOutput):
    """Representations of a batch.

    Args:
        multimodal_embeds: F_M of eq. (12), (B, d).
        specific_embeds: pooled semantic-specific representations z_S of text, audio, vision, (B, 3, d).
        shared_embeds: pooled semantic-shared representations z_C of text, audio, vision, (B, 3, d).
        modality_mask: which of text, audio, vision each sample has, bool (B, 3). Rows of a missing modality are zero above.
    """

    multimodal_embeds: torch.FloatTensor | None = None
    specific_embeds: torch.FloatTensor | None = None
    shared_embeds: torch.FloatTensor | None = None
    modality_mask: torch.BoolTensor | None = None


class SemanticMACModel(SemanticMACPreTrainedModel):
    """The representations of SemanticMAC (section III-A to III-D), without predictors.

        F_t = LM(tokens) W_t                       eq. (1)
        F_m = AffectivePerceiver_m(E_m), m = a, v  eq. (2)-(4)
        F_M, z_S, z_C = SGFI(F_t, F_a, F_v)        eq. (5)-(12)

    The frozen towers that give E_m are no part of its weights: they are loaded by reference the first time `pixel_values` or
    `input_features` come in place of embeddings, or given with `set_encoders`.
    """

    def __init__(self, config: SemanticMACConfig, language_model: PreTrainedModel | None = None):
        super().__init__(config)
        if language_model is None:
            language_model = AutoModel.from_config(config.text_config, **without_pooler(config.text_config))
        self.language_model = language_model
        text_width = config.text_config.hidden_size
        same_width = text_width == config.hidden_size
        self.text_projection = nn.Identity() if same_width else nn.Linear(text_width, config.hidden_size)
        self.audio_perceiver = AffectivePerceiver(config, config.audio_width)
        self.vision_perceiver = AffectivePerceiver(config, config.vision_width, config.num_crops)
        self.interaction = SemanticInteraction(config)
        self._encoders: dict[
            str, nn.Module
        ] = {}  # a plain dict: no sub-modules, so never in state_dict() or an optimizer
        self.post_init()

    def get_input_embeddings(self):
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value):
        self.language_model.set_input_embeddings(value)

    def set_encoders(self, vision: nn.Module | None = None, audio: nn.Module | None = None) -> None:
        """Use these frozen towers for raw media instead of those that the configuration refers to."""
        for modality, encoder in (("vision", vision), ("audio", audio)):
            if encoder is not None:
                self._encoders[modality] = encoder.eval().requires_grad_(False)

    def get_encoder(self, modality: str) -> nn.Module:
        """The frozen tower of "vision" or "audio", loaded by reference the first time."""
        if modality not in self._encoders:
            reference = getattr(self.config, f"{modality}_encoder")
            if reference is None:
                raise ValueError(
                    f"This model got raw {modality} input, but its configuration names no {modality} encoder. Give {modality}_embeds, set "
                    f"config.{modality}_encoder={{'name_or_path': ...}}, or call set_encoders({modality}=...)."
                )
            self._encoders[modality] = load_encoder(self._reference(modality), modality)
        return self._encoders[modality]

    def encode_media(self, modality: str, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Eq. (2): embeddings of the valid frames or windows, zeros elsewhere: (B, T, ...), (B, T) -> (B, T, D)."""
        valid = mask.bool()
        width = getattr(self.config, f"{modality}_width")
        embeds = torch.zeros(*valid.shape, width, device=inputs.device)
        if valid.any():
            encoder = self.get_encoder(modality).to(inputs.device)
            chunks = inputs[valid].split(ENCODER_BATCH)  # (n, ...) each
            found = torch.cat([embed_batch(encoder, chunk).float() for chunk in chunks])  # (sum T, D)
            if found.shape[-1] != width:
                raise ValueError(
                    f"The {modality} encoder gives embeddings of width {found.shape[-1]}; config.{modality}_width is {width}."
                )
            embeds[valid] = found
        return embeds

    def _text_tokens(self, input_ids, attention_mask, token_type_ids) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Eq. (1): F_t (B, L, d), the last hidden states of all tokens, and the mask of valid ones (B, L)."""
        if input_ids is None:
            return None
        mask = attention_mask if attention_mask is not None else torch.ones_like(input_ids)
        # A sample without text still passes through the language model, where attention to nothing would be undefined: its first
        # token is shown to the language model only, and stays masked for everything after it.
        shown = mask.clone()
        shown[:, 0] = torch.where(mask.bool().any(dim=1), mask[:, 0], torch.ones_like(mask[:, 0]))
        extra = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output = self.language_model(input_ids=input_ids, attention_mask=shown, **extra)
        return self.text_projection(output.last_hidden_state), mask.bool()  # (B, L, d), (B, L)

    def _media_tokens(self, modality, embeds, raw, mask) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Eq. (2)-(4): F_m (B, N, d) of audio or vision from embeddings or raw input, and the mask of valid tokens (B, N)."""
        name, given = (f"{modality}_embeds", embeds) if embeds is not None else (f"raw {modality} input", raw)
        if given is None:
            return None
        mask = mask.bool() if mask is not None else torch.ones(given.shape[:2], dtype=torch.bool, device=given.device)
        if mask.shape != given.shape[:2]:
            raise ValueError(
                f"{modality}_mask has shape {tuple(mask.shape)} and the {name} {tuple(given.shape)}: they must agree in the first two."
            )
        if embeds is None:
            embeds = self.encode_media(modality, raw, mask)
        width = getattr(self.config, f"{modality}_width")
        if embeds.shape[-1] != width:
            raise ValueError(
                f"{modality}_embeds have width {embeds.shape[-1]}, but config.{modality}_width is {width}."
            )
        perceiver = self.audio_perceiver if modality == "audio" else self.vision_perceiver
        # The latent tokens exist for every sample; those of a sample without a single valid frame say nothing and are masked.
        return perceiver(embeds, mask), mask.any(dim=1, keepdim=True).expand(-1, self.config.num_latents)

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
    ) -> SemanticMACOutput | tuple:
        """Representations of a batch.

        A modality that a sample lacks is an all-zero row of its mask; one that the whole batch lacks may be left out. What stands under a zero
        of a mask never changes an output.

        Args:
            input_ids, attention_mask, token_type_ids: (B, L).
            audio_embeds: (B, T_a, D_a) tower embeddings, or input_features (B, T_a, 1, mel, frames) in their place; audio_mask (B, T_a).
            vision_embeds: (B, T_v, D_v) tower embeddings, or pixel_values (B, T_v, 3, H, W) or (B, T_v, 3, 2, H, W); vision_mask (B, T_v).

        Raises:
            ValueError: a sample has no modality at all, or shapes do not fit.
        """
        streams = [
            self._text_tokens(input_ids, attention_mask, token_type_ids),
            self._media_tokens("audio", audio_embeds, input_features, audio_mask),
            self._media_tokens("vision", vision_embeds, pixel_values, vision_mask),
        ]
        present = next((stream for stream in streams if stream is not None), None)
        if present is None:
            raise ValueError(
                "The batch has neither text nor audio nor vision; give input_ids, audio_embeds (or input_features) or vision_embeds "
                "(or pixel_values)."
            )
        absent = tuple(
            x[:, :0] for x in present
        )  # (B, 0, d), (B, 0): a modality that the whole batch lacks is a set without tokens
        tokens, masks = zip(*(stream if stream is not None else absent for stream in streams))
        modality_mask = torch.stack([mask.any(dim=1) for mask in masks], dim=1)  # (B, 3)
        if not torch.compiler.is_compiling() and not modality_mask.any(dim=1).all():
            rows = (~modality_mask.any(dim=1)).nonzero().flatten().tolist()
            raise ValueError(
                f"Sample(s) {rows} of the batch have no modality: {', '.join(MODALITIES)} are all masked out or absent."
            )
        output = SemanticMACOutput(*self.interaction(list(tokens), list(masks)), modality_mask)
        return output if return_dict is not False else output.to_tuple()


__all__ = ["SemanticMACModel", "SemanticMACOutput"]
