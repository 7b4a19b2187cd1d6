"""SemanticMAC: text, audio and vision of a speaking person to sentiment, emotion, humour and sarcasm (section III)."""

import copy
import os
from collections.abc import Callable
from typing import Any

import torch
from huggingface_hub import create_repo, file_exists, upload_file
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers import initialization as init

from .affective_perceiver import AffectivePerceiver, FrameEmbedding, masked_mean
from .configuration_semanticmac import (
    MEDIA_MODALITIES,
    MODALITIES,
    AffectConfig,
    SemanticMACConfig,
    TaskSpecification,
)
from .encoders import EncodersByReference, SharedEncoders, follow_umask
from .input_scaling import InputScaling, StreamSummary, SummaryProjection
from .language_model_adapter import AdapterOptions, LanguageModelByReference, add_adapter, base_reference, load_base
from .modeling_imagebind import missing_weights, weights_hash
from .semantic_interaction import GateProjection, SemanticInteraction, SemanticMACOutput, ZeroProjection
from .text_encoding import (
    add_embeddings,
    check_tokens,
    language_model_config,
    load_language_model,
    position_ids,
    with_attention,
)

REFERENCES = tuple(f"{modality}_encoder" for modality in MEDIA_MODALITIES)
# Arguments of `from_pretrained` that say where a checkpoint lies.
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")


class AffectPreTrainedModel(EncodersByReference, LanguageModelByReference, PreTrainedModel):
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
        model = cls(config, language_model)
        if tokenizer is not None:
            add_embeddings(model, tokenizer)
        return model

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
        own = text_dtype == self.dtype or config.language_model_reference is not None
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
                        self.base_model.get_encoder(modality).save_pretrained(os.path.join(save_directory, key))
                        follow_umask(os.path.join(save_directory, key))
                    weights_hash = (before[key] or {}).get("weights_hash")
                    setattr(config, key, {"name_or_path": None, "subfolder": key, "weights_hash": weights_hash})
                elif os.path.realpath(save_directory) != os.path.realpath(self.name_or_path or ""):
                    setattr(config, key, self.encoder_reference(modality))
            if config.language_model_reference is not None:
                given = kwargs.get("state_dict")
                kwargs["state_dict"] = self._own_weights(self.state_dict() if given is None else given)
            super().save_pretrained(save_directory, *args, **kwargs)
            if kwargs.get("is_main_process", True):
                self._save_adapter(save_directory)
                follow_umask(save_directory)
        finally:
            config.__dict__.pop("custom_pipelines", None)
            for name, value in before.items():
                setattr(config, name, value)

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

    def _read_text(self, input_ids, attention_mask, token_type_ids, inputs_embeds, outputs: dict[str, bool]):
        """Return the language model's output for all tokens and the mask of valid ones (B, L); Nones without text.

        Raises:
            ValueError: tokens that the language model cannot read.
        """
        if input_ids is None and inputs_embeds is None:
            return None, None
        if self.language_model is None:
            raise ValueError(
                "this model has no language model yet: its configuration names it by reference. Load the model with "
                "from_pretrained, or call attach_language_model."
            )
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
        words |= position_ids(self.language_model, shown)
        return self.language_model(**words, attention_mask=shown, **outputs), mask.bool()

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
        return embeds, mask


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
        text_width = config.get_text_config().hidden_size
        same_width = text_width == config.hidden_size
        self.text_projection = nn.Identity() if same_width else nn.Linear(text_width, config.hidden_size)
        self.audio_perceiver = AffectivePerceiver(config, config.audio_width)
        self.vision_perceiver = AffectivePerceiver(config, config.vision_width, config.num_crops)
        if config.linear_start:
            options = (config.hidden_size, config.input_scaling, config.dropout)
            self.audio_summary = StreamSummary(config.audio_width, *options)
            self.vision_summary = StreamSummary(config.vision_width, *options)
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

    def _text_tokens(self, input_ids, attention_mask, token_type_ids, inputs_embeds, outputs: dict[str, bool]):
        """Compute F_t of eq. (1): the last hidden states of all tokens (B, L, d), the mask of valid ones (B, L).

        Also returns the language model's whole output; Nones without text.
        """
        output, mask = self._read_text(input_ids, attention_mask, token_type_ids, inputs_embeds, outputs)
        if output is None:
            return None, None
        # The language model may have another dtype than the rest; quantised weights have another than their bias.
        own = self.text_projection.bias.dtype if isinstance(self.text_projection, nn.Linear) else self.dtype
        return (self.text_projection(output.last_hidden_state.to(own)), mask), output  # (B, L, d), (B, L)

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
            kwargs: `num_items_in_batch` and `use_cache`, which callers of transformers pass, are accepted and not used.

        Raises:
            ValueError: a sample has no modality at all, or shapes do not fit.
            TypeError: an unknown argument.
        """
        refuse_unknown(kwargs)
        requested = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        requested = {name: getattr(self.config, name) if value is None else value for name, value in requested.items()}
        outputs = {name: True for name, value in requested.items() if value}
        text, read = self._text_tokens(input_ids, attention_mask, token_type_ids, inputs_embeds, outputs)
        streams = [
            text,
            self._media_tokens("audio", audio_embeds, input_features, audio_mask),
            self._media_tokens("vision", vision_embeds, pixel_values, vision_mask),
        ]
        present = next((stream for stream in streams if stream is not None), None)
        if present is None:
            raise ValueError(
                "The batch has neither text nor audio nor vision; give input_ids (or inputs_embeds), audio_embeds (or "
                "input_features) or vision_embeds (or pixel_values)."
            )
        # A modality that the whole batch lacks is a set without tokens: (B, 0, d), (B, 0).
        absent = (present[0][:, :0], present[1][:, :0])
        streams = [absent if stream is None else stream for stream in streams]
        tokens, masks = [stream[0] for stream in streams], [stream[1] for stream in streams]
        modality_mask = torch.stack([mask.any(dim=1) for mask in masks], dim=1)  # (B, 3)
        refuse_empty(modality_mask)
        # The mean token is the summary of a text, whose fine-tuned language model needs no scaling.
        summaries = [stream[2] if len(stream) > 2 else masked_mean(stream[0], stream[1]) for stream in streams]
        multimodal, specific, shared = self.interaction(tokens, masks, summaries)
        output = SemanticMACOutput(
            multimodal, specific, shared, modality_mask,
            getattr(read, "hidden_states", None), getattr(read, "attentions", None),
        )  # fmt: skip
        return output if return_dict is not False else output.to_tuple()


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


__all__ = ["AffectPreTrainedModel", "SemanticMACModel", "SemanticMACOutput", "SemanticMACPreTrainedModel"]
