"""The base of models that read text, audio and vision: creating, loading, saving and pushing them."""

import copy
import os
from collections.abc import Callable
from typing import Any

import torch
from huggingface_hub import create_repo, file_exists, upload_file
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from .configuration_semanticmac import (
    MEDIA_MODALITIES,
    MODALITIES,
    AffectConfig,
    TaskSpecification,
)
from .encoder_adapter import AdaptedEncoders
from .encoders import EncodersByReference, follow_umask, load_encoder
from .language_model_adapter import AdapterOptions, LanguageModelByReference, add_adapter, base_reference, load_base
from .language_models import (
    HUB_ARGUMENTS,
    add_embeddings,
    check_precision,
    check_tokens,
    language_model_config,
    load_language_model,
    position_ids,
    with_attention,
)
from .modeling_imagebind import missing_weights, weights_hash
from .text_vectors import TEXT_VECTORS

REFERENCES = tuple(f"{modality}_encoder" for modality in MEDIA_MODALITIES)


class AffectPreTrainedModel(AdaptedEncoders, EncodersByReference, LanguageModelByReference, PreTrainedModel):
    """Base of models that read text, audio and vision: a language model, towers by reference, loading and saving.

    The model that holds the modules (`base_model`) calls `_set_language_model` when it is made.
    """

    config: AffectConfig
    config_class: Any
    main_input_name = "input_ids"
    input_modalities = ["text", "audio", "video"]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    # The Trainer divides by the accumulation steps itself: the loss is a mean over the batch that forward() sees.
    accepts_loss_kwargs = False
    include_encoders = False
    _auto_map: dict[str, str] = {}  # of config.json, beside what the library adds
    _custom_pipelines: dict | None = None  # how config.json names the pipeline of a head
    _model_card: Callable[[AffectConfig, str, str | None], str] | None = None

    @staticmethod
    def register_model_card(write: Callable[[AffectConfig, str, str | None], str]) -> None:
        """Set the function that writes the card of a new repository.

        The package registers its own. Code beside a checkpoint has none: pushing then leaves the card to transformers.

        Args:
            write: takes the configuration, the repository's name and where the model came from; returns the card.
        """
        AffectPreTrainedModel._model_card = staticmethod(write)

    @classmethod
    def from_language_model(
        cls,
        name_or_path: str,
        revision: str | None = None,
        dtype: torch.dtype | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        adapter: AdapterOptions | None = None,
        quantization: str | None = None,
        attention: str | None = None,
        **config_fields,
    ):
        """Build a new model around a pretrained language model; of an encoder-decoder (T5, BART) its encoder is used.

        Args:
            name_or_path: any text encoder of transformers, on the Hub or in a folder.
            revision: of a repository on the Hub.
            dtype: of the language model's weights; None: float32, also where they are stored in half precision.
            tokenizer: where tokens were added to it, the language model gets new embeddings for them.
            adapter: train a low-rank adapter (LoRA, with PEFT) and keep the language model itself frozen; it is then
                named by reference and not part of a checkpoint.
            quantization: "nf4" or "int8", with an adapter only: how the weights of the frozen language model are kept.
            attention: "bidirectional" lets each token of a decoder see the tokens after it, "causal" does not; None:
                as the language model was trained.
            config_fields: fields of the configuration, e.g. `**task.config_fields()`.

        Raises:
            ValueError: no such language model, a checkpoint that lacks weights, or options that do not fit together.
            ImportError: PEFT or bitsandbytes is needed and not installed.
        """
        found = with_attention(language_model_config(name_or_path, revision), attention)
        text_config = found.to_dict()
        if os.path.isdir(name_or_path):
            text_config.pop("_name_or_path", None)  # a folder of this machine has no place in a checkpoint
        config = cls.config_class(text_config=text_config, **config_fields)
        if adapter is None and quantization is not None:
            raise ValueError(
                f"quantization {quantization!r} needs an adapter: weights that are stored like this cannot be trained."
            )
        if adapter is None:
            language_model = load_language_model(name_or_path, config.get_text_config(), revision, dtype)
        else:
            config.language_model_reference = base_reference(name_or_path, revision, dtype, quantization)
            language_model = load_base(config.language_model_reference, config.get_text_config())
            if quantization is None:  # that of quantised weights would depend on the version of bitsandbytes
                config.language_model_reference["weights_hash"] = weights_hash(language_model)
            add_adapter(language_model, adapter)
        check_precision(language_model)
        model = cls(config, language_model)
        if tokenizer is not None:
            add_embeddings(model, tokenizer)
        return model

    @classmethod
    def from_text_vectors(cls, width: int, **config_fields):
        """Build a new model that reads vectors of text (`inputs_embeds`) in place of words, without a language model.

        Args:
            width: of the vectors.
            config_fields: fields of the configuration, e.g. `**task.config_fields()`.
        """
        return cls(cls.config_class(text_config={"model_type": TEXT_VECTORS, "hidden_size": width}, **config_fields))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, new_heads: bool = False, **kwargs):
        """Load as `PreTrainedModel.from_pretrained` does, and refuse a checkpoint that lacks weights.

        Args:
            new_heads: allow predictors with new weights, to train them; `ignore_mismatched_sizes=True` does too.
            kwargs: of `PreTrainedModel.from_pretrained`, fields of the configuration among them.

        Raises:
            ValueError: the checkpoint lacks weights, or holds weights that the model does not have.
        """
        with_info, resized = kwargs.pop("output_loading_info", False), kwargs.get("ignore_mismatched_sizes", False)
        if (kwargs.get("dtype") or kwargs.get("torch_dtype") or "auto") != "auto":  # one dtype for all weights
            if isinstance(kwargs.get("config"), PreTrainedConfig):
                kwargs["config"] = copy.deepcopy(kwargs["config"])
                kwargs["config"].text_dtype = None
            else:
                kwargs["text_dtype"] = None
        name = pretrained_model_name_or_path
        loaded: Any = super().from_pretrained(name, *model_args, output_loading_info=True, **kwargs)
        model, info = loaded
        if not isinstance(kwargs.get("state_dict"), dict) or name is not None:
            dtype = kwargs.get("dtype") or kwargs.get("torch_dtype")
            hub = {key: kwargs[key] for key in HUB_ARGUMENTS if kwargs.get(key)}
            model._load_language_model(name, dtype if isinstance(dtype, torch.dtype) else None, **hub)
            model._load_encoder_adapters(name, **hub)
        missing = {
            key for key in info["missing_keys"] if not ((new_heads or resized) and key.startswith("predictors."))
        }
        unexpected = () if resized else info["unexpected_keys"]
        if missing or unexpected:
            raise ValueError(
                f"the checkpoint {name} of {cls.__name__} {missing_weights(missing, unexpected)}. Use a complete "
                "checkpoint; new predictors, to be trained, are allowed by new_heads=True."
            )
        return (model, info) if with_info else model

    def save_pretrained(self, save_directory, *args, include_encoders: bool | None = None, **kwargs):
        """Save as `PreTrainedModel.save_pretrained` does; the frozen towers are kept by reference.

        Args:
            include_encoders: write the towers too, into the sub-folders `vision_encoder/` and `audio_encoder/`, and the
                base of an adapter into `language_model/`, so that the folder is complete. None: as the attribute
                `include_encoders` says (False), for callers that cannot pass it.
        """
        include = self.include_encoders if include_encoders is None else include_encoders
        config, text_dtype = self.config, self.base_model.language_model.dtype
        # The library adds what is saved. Entries of the checkpoint that this model came from may name files that are
        # not written here, or another repository.
        config.__dict__.pop("auto_map", None)
        if self._auto_map:
            config.auto_map = dict(self._auto_map)
        own = text_dtype == self.dtype or config.language_model_reference is not None or not config.reads_words
        config.text_dtype = None if own else str(text_dtype).removeprefix("torch.")
        before = {name: config.__dict__.pop(name) for name in ("custom_pipelines",) if name in config.__dict__}
        before |= {name: getattr(config, name) for name in (*REFERENCES, "language_model_reference")}
        if self._custom_pipelines is not None:
            config.custom_pipelines = self._custom_pipelines
        try:
            if include:
                self._save_base(save_directory, write=kwargs.get("is_main_process", True))
            for modality, key in zip(MEDIA_MODALITIES, REFERENCES):
                if include and (before[key] is not None or modality in self.base_model._encoders):
                    if kwargs.get("is_main_process", True):
                        self._frozen_encoder(modality).save_pretrained(os.path.join(save_directory, key))
                        follow_umask(os.path.join(save_directory, key))
                    kept = {name: (before[key] or {}).get(name) for name in ("weights_hash", "adapter")}
                    beside = {"name_or_path": None, "subfolder": key, "weights_hash": kept["weights_hash"]}
                    setattr(config, key, beside | ({"adapter": True} if kept["adapter"] else {}))
                elif os.path.realpath(save_directory) != os.path.realpath(self.name_or_path or ""):
                    setattr(config, key, self.encoder_reference(modality))
            if config.language_model_reference is not None or self.adapted_modalities:
                given = kwargs.get("state_dict")
                kwargs["state_dict"] = self._own_weights(self.state_dict() if given is None else given)
            super().save_pretrained(save_directory, *args, **kwargs)
            if kwargs.get("is_main_process", True):
                self._save_adapter(save_directory)
                self._save_encoder_adapters(save_directory)
                follow_umask(save_directory)
        finally:
            config.__dict__.pop("custom_pipelines", None)
            for name, value in before.items():
                setattr(config, name, value)

    def _frozen_encoder(self, modality: str) -> PreTrainedModel:
        """Return a tower without its adapter, if it has one."""
        if modality in self.base_model.adapted_encoders:
            return load_encoder(self.encoder_reference(modality) or {}, modality)
        return self.base_model.get_encoder(modality)

    def push_to_hub(self, repo_id: str, *, include_encoders: bool | None = None, **kwargs):  # type: ignore[override]
        """Push as `PreTrainedModel.push_to_hub` does.

        A repository without a card gets one that states the task, the licences and the limits.

        Args:
            include_encoders: upload the towers too. None: only where they lie in a folder, where nobody else can load
                them.
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
            return PreTrainedModel.push_to_hub(self, repo_id, **kwargs)
        finally:
            self.include_encoders = before

    @classmethod
    def _task_of(cls, name: str | os.PathLike | None, options: dict) -> TaskSpecification | None:
        """Return the task that a checkpoint's own configuration states; None for weights given without a checkpoint."""
        if name is None or isinstance(options.get("state_dict"), dict):
            return None
        hub = {key: options[key] for key in HUB_ARGUMENTS if key in options}
        found, _ = cls.config_class.get_config_dict(name, **hub)
        return cls.config_class.from_dict(found).task

    def _read_text(
        self, input_ids, attention_mask, token_type_ids, inputs_embeds, outputs: dict[str, bool], utterance_mask=None
    ):
        """Return the language model's output for all tokens and the mask of those that are read further (B, L): the
        valid ones, or with `config.text_tokens` "utterance" those of `utterance_mask`. Nones without text.

        Raises:
            ValueError: tokens that the language model cannot read, words given to a model that reads vectors, or an
                `utterance_mask` that is absent or not used.
        """
        if input_ids is None and inputs_embeds is None:
            return None, None
        if (utterance_mask is None) != (self.config.text_tokens == "all"):
            raise ValueError(
                f"config.text_tokens is {self.config.text_tokens!r}, and the batch has "
                f"{'no' if utterance_mask is None else 'an'} utterance_mask; make batches with the processor of this "
                "model."
            )
        if self.language_model is None:
            raise ValueError(
                "this model has no language model yet: its configuration names it by reference. Load the model with "
                "from_pretrained, or call attach_language_model."
            )
        if not self.config.reads_words:
            if inputs_embeds is None:
                note = self.config.feature_notes["text"]
                raise ValueError(f"{note}; give inputs_embeds made from such features, with their attention_mask.")
            mask = inputs_embeds.new_ones(inputs_embeds.shape[:2]) if attention_mask is None else attention_mask
            return self.language_model(inputs_embeds=inputs_embeds, attention_mask=mask, **outputs), mask.bool()
        check_tokens(self.get_input_embeddings(), self.max_text_tokens, input_ids, inputs_embeds)
        words = {"input_ids": input_ids} if inputs_embeds is None else {"inputs_embeds": inputs_embeds}
        given = next(iter(words.values()))
        mask = attention_mask if attention_mask is not None else given.new_ones(given.shape[:2], dtype=torch.long)
        # A sample without text still passes through the language model, where attention to nothing would be undefined:
        # its first token is shown to the language model only, and stays masked for everything after it.
        shown = mask.clone()
        shown[:, 0] = torch.where(mask.bool().any(dim=1), mask[:, 0], torch.ones_like(mask[:, 0]))
        if token_type_ids is not None and self._reads_segments:
            words["token_type_ids"] = token_type_ids
        words |= position_ids(self._first_position, shown)
        output = self.language_model(**words, attention_mask=shown, **outputs)
        return output, mask.bool() if utterance_mask is None else mask.bool() & utterance_mask.bool()

    def _read_media(self, modality, embeds, raw, mask) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return embeddings (B, T, D), given or of raw input, and the mask of valid ones (B, T); None where absent.

        Raises:
            ValueError: shapes that do not fit, or embeddings of another width than the configuration's.
        """
        name, given = (f"{modality}_embeds", embeds) if embeds is not None else (f"raw {modality} input", raw)
        if given is None:
            return None
        mask = mask.bool() if mask is not None else torch.ones(given.shape[:2], dtype=torch.bool, device=given.device)
        if mask.shape != given.shape[:2]:
            raise ValueError(
                f"{modality}_mask has shape {tuple(mask.shape)} and the {name} {tuple(given.shape)}: they must agree "
                "in the first two."
            )
        if embeds is None:
            embeds = self.encode_media(modality, raw, mask)
        width = getattr(self.config, f"{modality}_width")
        if embeds.shape[-1] != width:
            raise ValueError(
                f"{modality}_embeds have width {embeds.shape[-1]}, but config.{modality}_width is {width}."
            )
        if embeds.dtype == torch.float16 and self.dtype != torch.float16:
            embeds = embeds.float()  # they travel to the device as the store keeps them
        return embeds, mask


def refuse_empty(modality_mask: torch.Tensor) -> None:
    """Refuse samples without any modality.

    In training on a GPU the check does not wait for the device: it then fails as an assertion of the device.

    Args:
        modality_mask: (B, 3), bool.

    Raises:
        ValueError: names the samples.
    """
    if torch.compiler.is_compiling():
        return
    reason = f"of the batch have no modality: {', '.join(MODALITIES)} are all masked out or absent."
    present = modality_mask.any(dim=1)
    if present.device.type in ("cuda", "meta") and torch.is_grad_enabled():
        torch._assert_async(present.all(), f"Samples {reason}")
    elif not present.all():
        raise ValueError(f"Sample(s) {(~present).nonzero().flatten().tolist()} {reason}")


def refuse_unknown(arguments: dict) -> None:
    """Raise TypeError for arguments of `forward` that it does not have, which would be without effect."""
    unknown = sorted(set(arguments) - {"num_items_in_batch", "use_cache"})
    if unknown:
        raise TypeError(f"forward() has no argument {unknown[0]!r}; SemanticMACModel.forward documents its arguments.")


__all__ = ["AffectPreTrainedModel", "refuse_empty", "refuse_unknown"]
