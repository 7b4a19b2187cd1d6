"""SemanticMAC: text, audio and vision of a speaking person to sentiment, emotion, humour and sarcasm (section III, eq. 1-12)."""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from huggingface_hub import create_repo, file_exists, upload_file
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.utils import ModelOutput

from .affective_perceiver import AffectivePerceiver, FrameEmbedding
from .configuration_semanticmac import MODALITIES, SemanticMACConfig
from .encoders import embed_batch, follow_umask, load_encoder
from .gated_bridge_attention import GateProjection
from .semantic_interaction import SemanticInteraction


class SemanticMACPreTrainedModel(PreTrainedModel):
    """Weights, loading and saving shared by [`SemanticMACModel`] and its heads."""

    config: SemanticMACConfig
    config_class = SemanticMACConfig
    base_model_prefix = "semanticmac"
    _keys_to_ignore_on_load_unexpected = [r"^predictors\."]  # a head checkpoint read as the base model
    main_input_name = "input_ids"
    input_modalities = ("text", "audio", "video")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    # The Trainer divides by the accumulation steps itself: the loss is a mean over the batch that forward() sees.
    accepts_loss_kwargs = False
    include_encoders = False
    _model_card: Callable[[SemanticMACConfig, str, str | None], str] | None = None

    @staticmethod
    def register_model_card(write: Callable[[SemanticMACConfig, str, str | None], str]) -> None:
        """Set the function that writes the card of a new repository from the configuration, the repository's name and where the model came from.

        The package registers its own. Code beside a checkpoint has none: pushing then leaves the card to transformers.
        """
        SemanticMACPreTrainedModel._model_card = staticmethod(write)

    def _init_weights(self, module):
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, FrameEmbedding):
            init.normal_(module.weight, mean=0.0, std=std)
        elif isinstance(module, AffectivePerceiver):
            init.normal_(module.latents, mean=0.0, std=std)
        elif isinstance(module, SemanticInteraction) and module.modality_embedding is not None:
            init.normal_(module.modality_embedding, mean=0.0, std=std)
        elif isinstance(module, GateProjection):
            init.constant_(module.bias, 1.0)

    @classmethod
    def from_language_model(cls, name_or_path: str, revision: str | None = None, **config_fields):
        """A new model around a pretrained language model.

        Args:
            name_or_path: any text encoder of transformers, on the Hub or in a folder.
            config_fields: fields of [`SemanticMACConfig`], e.g. `**task.config_fields()`.
        """
        text_config = AutoConfig.from_pretrained(name_or_path, revision=revision).to_dict()
        if os.path.isdir(name_or_path):
            text_config.pop("_name_or_path", None)  # somebody's folder has no place in a checkpoint
        config = SemanticMACConfig(text_config=text_config, **config_fields)
        kwargs = without_pooler(config.text_config)
        language_model = AutoModel.from_pretrained(name_or_path, revision=revision, config=config.text_config, **kwargs)
        return cls(config, language_model=language_model)

    @property
    def refers_to_folders(self) -> bool:
        """Whether a tower lies in a folder of this machine, where nobody else can load it by reference."""
        references = (self._reference(modality) for modality in ("vision", "audio"))
        return any(reference is not None and os.path.isdir(reference["name_or_path"] or "") for reference in references)

    def save_pretrained(self, save_directory, include_encoders: bool | None = None, **kwargs):
        """As `PreTrainedModel.save_pretrained`; the frozen towers are kept by reference.

        Args:
            include_encoders: write the towers too, into the sub-folders `vision_encoder/` and `audio_encoder/`, so that the folder is
                complete. None: as the attribute `include_encoders` says (False), which also serves callers that cannot pass it.
        """
        include = self.include_encoders if include_encoders is None else include_encoders
        # The library records the class that is saved; a head's checkpoint must be found by AutoModel as well. Of a model from the Hub it holds the
        # names with that repository before them, where the new one's own files are meant.
        auto_map = getattr(self.config, "auto_map", None) or {}
        self.config.auto_map = {name: module.rpartition("--")[2] for name, module in auto_map.items()}
        self.config.auto_map["AutoModel"] = "modeling_semanticmac.SemanticMACModel"
        references = {key: getattr(self.config, key) for key in ("vision_encoder", "audio_encoder")}
        try:
            for modality in ("vision", "audio"):
                key = f"{modality}_encoder"
                if include and (references[key] is not None or modality in self.base_model._encoders):
                    if kwargs.get("is_main_process", True):
                        self.base_model.get_encoder(modality).save_pretrained(os.path.join(save_directory, key))
                        follow_umask(os.path.join(save_directory, key))
                    weights_hash = (references[key] or {}).get("weights_hash")
                    setattr(self.config, key, {"name_or_path": None, "subfolder": key, "weights_hash": weights_hash})
                elif os.path.realpath(save_directory) != os.path.realpath(self.name_or_path or ""):
                    setattr(self.config, key, self._reference(modality))
            super().save_pretrained(save_directory, **kwargs)
            if kwargs.get("is_main_process", True):
                follow_umask(save_directory)
        finally:
            for key, reference in references.items():
                setattr(self.config, key, reference)

    def _reference(self, modality: str) -> dict | None:
        """How the tower is found from anywhere: a tower beside the model by the model's name, one from the Hub by the commit that was loaded."""
        reference = getattr(self.config, f"{modality}_encoder")
        if reference is None:
            return None
        encoder, name = self.base_model._encoders.get(modality), reference.get("name_or_path") or self.name_or_path
        commit = getattr(encoder.config, "_commit_hash", None) if encoder is not None else None
        return {**reference, "name_or_path": name, "revision": commit or reference.get("revision")}

    def push_to_hub(self, repo_id: str, *, include_encoders: bool | None = None, **kwargs):
        """As `PreTrainedModel.push_to_hub`, with a card that states the task, the licences and the limits where the repository has none yet.

        Args:
            include_encoders: upload the towers too. None: only where they lie in a folder, in which nobody else can load them.
            kwargs: of `PreTrainedModel.push_to_hub`.
        """
        token, on_main = kwargs.get("token"), not kwargs.get("create_pr") and kwargs.get("revision") is None
        repo_id = create_repo(repo_id, private=kwargs.get("private"), token=token, exist_ok=True).repo_id
        if self._model_card and on_main and not file_exists(repo_id, "README.md", token=token):
            card = self._model_card(self.config, repo_id, self.name_or_path or None)
            upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repo_id, token=token)
        before = self.include_encoders
        self.include_encoders = self.refers_to_folders if include_encoders is None else include_encoders
        try:
            return super().push_to_hub(repo_id, **kwargs)
        finally:
            self.include_encoders = before


def without_pooler(text_config) -> dict:
    """Arguments that leave out a BERT-like model's pooler: its output is not used, and unused weights disturb distributed training."""
    model_class = MODEL_MAPPING.get(type(text_config), None)
    if isinstance(model_class, (list, tuple)):
        model_class = model_class[0]
    has_option = model_class is not None and "add_pooling_layer" in inspect.signature(model_class.__init__).parameters
    return {"add_pooling_layer": False} if has_option else {}


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


__all__ = ["SemanticMACModel", "SemanticMACOutput", "SemanticMACPreTrainedModel", "without_pooler"]
