"""A language model by reference with a low-rank adapter (LoRA): the base is frozen and never part of a checkpoint.

A checkpoint names the base in its configuration (`language_model_reference`) and holds the adapter in the sub-folder
`language_model_adapter/`, in the form of PEFT, which any tool that knows PEFT can load.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import BitsAndBytesConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import cached_file, is_bitsandbytes_available

from .encoders import follow_umask
from .language_models import (
    first_position,
    load_language_model,
    max_text_tokens,
    new_language_model,
    reads_segments,
)
from .modeling_imagebind import weights_hash

ADAPTER_FOLDER, BASE_FOLDER = "language_model_adapter", "language_model"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
QUANTIZATIONS = ("nf4", "int8")
_ADAPTER = "default"  # PEFT's name of the only adapter
_PREFIX = "base_model.model."  # of the names in PEFT's files


@dataclass(frozen=True)
class AdapterOptions:
    """A low-rank adapter of a language model: W x + (alpha / r) B A dropout(x), with A (r, in) and B (out, r).

    Args:
        r: rank.
        alpha: scale; None: 2 r.
        dropout: of the input of A, in training.
        targets: "all-linear", or the names of the linear layers that get an adapter.
    """

    r: int = 16
    alpha: int | None = None
    dropout: float = 0.05
    targets: str | tuple[str, ...] = "all-linear"

    def __post_init__(self):
        if self.r < 1:
            raise ValueError(f"the rank of the adapter is {self.r}; expected 1 or more.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"the dropout of the adapter is {self.dropout}; expected a probability in [0, 1).")


def quantization_config(kind: str, dtype: torch.dtype):
    """Return how bitsandbytes stores the weights of a base.

    Args:
        kind: "nf4" (4 bits, double quantisation) or "int8".
        dtype: of the products.

    Raises:
        ValueError: an unknown kind.
        ImportError: bitsandbytes is not installed.
    """
    if kind not in QUANTIZATIONS:
        raise ValueError(f"the quantization is {kind!r}; expected one of {', '.join(QUANTIZATIONS)}.")
    if not is_bitsandbytes_available():
        raise ImportError(f"a language model in {kind} needs bitsandbytes: pip install bitsandbytes.")
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def base_reference(
    name_or_path: str | os.PathLike, revision: str | None, dtype: torch.dtype | None, quantization: str | None
) -> dict[str, Any]:
    """Return how a checkpoint names the base of its language model, without the hash of its weights."""
    return {
        "name_or_path": os.path.abspath(name_or_path) if os.path.isdir(name_or_path) else str(name_or_path),
        "revision": revision,
        "subfolder": None,
        "dtype": str(dtype or torch.float32).removeprefix("torch."),
        "quantization": quantization,
        "weights_hash": None,
    }


def load_base(
    reference: Mapping[str, Any], config: PreTrainedConfig, home: str | os.PathLike | None = None, **hub
) -> PreTrainedModel:
    """Load the frozen base that a reference names.

    Args:
        reference: `name_or_path` (None: beside the model) and, where needed, `revision`, `subfolder`, `dtype`,
            `quantization`, `weights_hash`.
        config: of the language model.
        home: folder or repository of the model, for a base beside it.
        hub: arguments of `from_pretrained` that say where on the Hub the model lies, for a base beside it.

    Raises:
        ValueError: its weights are not those that the reference names.
    """
    beside, kind = reference.get("name_or_path") is None, reference.get("quantization")
    name = str(home if beside else reference["name_or_path"])
    options: dict[str, Any] = {**hub} if beside else {"revision": reference.get("revision")}
    if reference.get("subfolder"):
        options["subfolder"] = os.path.join(hub.get("subfolder") or "" if beside else "", reference["subfolder"])
    dtype = getattr(torch, reference.get("dtype") or "float32")
    if kind:
        options["quantization_config"] = quantization_config(kind, dtype)
    model = load_language_model(name, config, dtype=dtype, **options)
    expected = reference.get("weights_hash")
    if expected is not None and (found := weights_hash(model)) != expected:
        raise ValueError(
            f"the language model {name} has weights of hash {found}; the adapter was trained on {expected}. Use the "
            "revision that the model names."
        )
    return model.requires_grad_(False)


def add_adapter(language_model: PreTrainedModel, options: AdapterOptions) -> None:
    """Give a language model a new adapter and freeze the rest.

    Raises:
        ImportError: PEFT is not installed.
        ValueError: the language model has none of the target layers.
    """
    peft = _peft()
    names = options.targets if isinstance(options.targets, str) else list(options.targets)
    config = peft.LoraConfig(
        r=options.r, lora_alpha=options.alpha or 2 * options.r, lora_dropout=options.dropout, target_modules=names
    )
    _inject(language_model, config)


def load_adapter(language_model: PreTrainedModel, folder: str | os.PathLike) -> None:
    """Give a language model the adapter that lies in a folder.

    Raises:
        ValueError: the adapter does not fit.
    """
    _inject(language_model, _peft().LoraConfig.from_pretrained(str(folder)))
    load_adapter_weights(language_model, folder)


def load_adapter_weights(language_model: PreTrainedModel, folder: str | os.PathLike) -> None:
    """Fill the adapter of a language model from a folder.

    Raises:
        ValueError: weights are missing or do not fit.
    """
    found = load_file(os.path.join(folder, ADAPTER_FILES[1]))
    state = {name.removeprefix(_PREFIX): tensor for name, tensor in found.items()}
    expected = _peft().get_peft_model_state_dict(language_model, adapter_name=_ADAPTER)
    wrong = sorted(
        name for name in {*state, *expected}
        if name not in state or name not in expected or state[name].shape != expected[name].shape
    )  # fmt: skip
    if wrong:
        raise ValueError(
            f"the adapter in {folder} does not fit the language model: {len(wrong)} weights differ, the first is "
            f"{wrong[0]}. Name the language model that the adapter was trained on."
        )
    _peft().set_peft_model_state_dict(language_model, state, adapter_name=_ADAPTER)


def save_adapter(language_model: PreTrainedModel, folder: str | os.PathLike, base: str | None) -> None:
    """Write the adapter of a language model in the form of PEFT.

    Args:
        folder: where to; made if absent.
        base: name of the base on the Hub; None for one in a folder of this machine, which has no place in a checkpoint.
    """
    config = language_model.peft_config[_ADAPTER]
    before, config.base_model_name_or_path = config.base_model_name_or_path, base
    inference, config.inference_mode = config.inference_mode, True  # PEFT's reader freezes it, training asks to thaw it
    try:
        os.makedirs(folder, exist_ok=True)
        config.save_pretrained(str(folder))
        state = _peft().get_peft_model_state_dict(language_model, adapter_name=_ADAPTER)
        tensors = {_PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(tensors, os.path.join(folder, ADAPTER_FILES[1]), metadata={"format": "pt"})
    finally:
        config.base_model_name_or_path, config.inference_mode = before, inference


def adapter_folder(home: str | os.PathLike, name: str = ADAPTER_FOLDER, **hub) -> str:
    """Return the folder of an adapter beside a model, downloaded where the model is a repository on the Hub.

    Args:
        home: folder or repository of the model.
        name: of the sub-folder.
        hub: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download` and `subfolder`, as in
            `from_pretrained`.

    Raises:
        OSError: there is no adapter.
    """
    place = os.path.join(hub.pop("subfolder", None) or "", name)
    found = [cached_file(str(home), file, subfolder=place, **hub) for file in ADAPTER_FILES]
    return os.path.dirname(str(found[0]))


def merged(language_model: PreTrainedModel) -> PreTrainedModel:
    """Return the language model with its adapter added into its weights, an ordinary model without PEFT.

    Raises:
        ValueError: the base is quantised, so that the sum would be rounded.
    """
    if getattr(language_model, "quantization_method", None) is not None:
        raise ValueError(
            "the base is quantised, and an adapter cannot be added to it exactly; load the model with a base in full "
            "precision first."
        )
    for name, module in list(language_model.named_modules()):
        if isinstance(module, _peft().tuners.lora.LoraLayer):
            module.merge()
            parent = language_model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], module.get_base_layer())
    del language_model.peft_config
    language_model._hf_peft_config_loaded = False
    return language_model.requires_grad_(True)


class LanguageModelByReference:
    """The language model of a model: part of its weights, or an adapter on a base that the configuration names.

    A base of SemanticMAC's models; the base model holds the language model in `language_model`.
    """

    config: Any
    base_model: Any
    language_model: Any

    def _set_language_model(self, language_model: PreTrainedModel | None) -> None:
        """Hold the language model; a new one where there is none yet, or none until a named base is loaded."""
        if language_model is None and self.config.language_model_reference is None:
            language_model = new_language_model(self.config.get_text_config(), self.config.text_dtype)
        self.language_model = None
        if language_model is not None:
            self.attach_language_model(language_model)

    def attach_language_model(self, language_model: PreTrainedModel) -> None:
        """Use a language model, with its adapter where it has one."""
        self.language_model = language_model
        self.max_text_tokens = max_text_tokens(language_model)  # that the language model has positions for; None: any
        self._first_position = first_position(language_model)
        self._reads_segments = reads_segments(language_model)

    def _load_language_model(self, home: str | os.PathLike, dtype: torch.dtype | None = None, **hub) -> None:
        """Load the base that the configuration names and the adapter beside the model, where there is one.

        Args:
            home: folder or repository of the model.
            dtype: of the base; None: as its reference says.
            hub: where on the Hub the model lies, see `adapter_folder`.
        """
        reference = self.config.language_model_reference
        if reference is None or self.base_model.language_model is not None:
            return
        if dtype is not None and not reference.get("quantization"):
            reference = {**reference, "dtype": str(dtype).removeprefix("torch."), "weights_hash": None}
        language_model = load_base(reference, self.config.get_text_config(), home, **hub)
        load_adapter(language_model, adapter_folder(home, **hub))
        self.base_model.attach_language_model(language_model.eval())

    def _own_weights(self, state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the weights that a checkpoint holds: all but those of bases that are named, and their adapters."""
        apart = ["adapted_encoders."] + ([] if self.config.language_model_reference is None else ["language_model."])
        return {name: value for name, value in state_dict.items() if not any(part in name for part in apart)}

    def _save_adapter(self, folder: str | os.PathLike) -> None:
        """Write the adapter beside the model, where there is one."""
        reference, language_model = self.config.language_model_reference, self.base_model.language_model
        if reference is not None and language_model is not None:
            name = reference.get("name_or_path")
            base = None if name is None or os.path.isdir(name) else name
            save_adapter(language_model, os.path.join(folder, ADAPTER_FOLDER), base)

    def _save_base(self, folder: str | os.PathLike, write: bool = True) -> None:
        """Write the base of the adapter beside the model, in full precision, and refer to it there."""
        reference = self.config.language_model_reference
        if reference is None or reference.get("name_or_path") is None:
            return
        if write:
            plain = {**reference, "quantization": None}
            load_base(plain, self.config.get_text_config()).save_pretrained(os.path.join(folder, BASE_FOLDER))
            follow_umask(os.path.join(folder, BASE_FOLDER))
        beside = {"name_or_path": None, "revision": None, "subfolder": BASE_FOLDER}
        self.config.language_model_reference = {**reference, **beside}

    def load_adapter_of(self, checkpoint: str | os.PathLike) -> None:
        """Fill the adapter from a checkpoint of this model; nothing where there is none."""
        if self.config.language_model_reference is not None:
            load_adapter_weights(self.base_model.language_model, os.path.join(checkpoint, ADAPTER_FOLDER))


def _inject(language_model: PreTrainedModel, config) -> None:
    """Insert an adapter, in float32 whatever the dtype of the base: small steps would be lost in half precision."""
    config.inference_mode = False
    if hasattr(language_model, "add_adapter"):
        language_model.add_adapter(config, adapter_name=_ADAPTER)
    else:  # the tower of a model with several
        _peft().inject_adapter_in_model(config, language_model, adapter_name=_ADAPTER)
    _peft().tuners.tuners_utils.cast_adapter_dtype(language_model, _ADAPTER)


def _peft():
    try:
        import peft
    except ImportError as error:
        raise ImportError(
            "this language model has an adapter (LoRA), which needs PEFT: pip install peft. Or merge the adapter into "
            "its base where PEFT is installed: semanticmac merge RUN OUT."
        ) from error
    return peft


__all__ = [
    "ADAPTER_FOLDER", "AdapterOptions", "LanguageModelByReference", "adapter_folder", "add_adapter", "base_reference",
    "load_adapter", "load_adapter_weights", "load_base", "merged", "quantization_config", "save_adapter",
]  # fmt: skip
