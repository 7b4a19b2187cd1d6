"""Weights of SemanticMAC made, loaded, saved and pushed: what the model and its heads share."""

import inspect
import os

from huggingface_hub import create_repo, file_exists, upload_file
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from .affective_perceiver import AffectivePerceiver, FrameEmbedding
from .configuration_semanticmac import SemanticMACConfig
from .gated_bridge_attention import GateProjection
from .model_card_text import config_card
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
                    weights_hash = (references[key] or {}).get("weights_hash")
                    setattr(self.config, key, {"name_or_path": None, "subfolder": key, "weights_hash": weights_hash})
                elif os.path.realpath(save_directory) != os.path.realpath(self.name_or_path or ""):
                    setattr(self.config, key, self._reference(modality))
            super().save_pretrained(save_directory, **kwargs)
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
        if on_main and not file_exists(repo_id, "README.md", token=token):
            card = config_card(self.config, repo_id, self.name_or_path or None)
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


__all__ = ["SemanticMACPreTrainedModel", "without_pooler"]
