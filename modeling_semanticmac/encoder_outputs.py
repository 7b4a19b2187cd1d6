"""The embeddings of a frozen tower: one vector a frame or window, of one or of several hidden layers.

Legend: n frames or windows, L time steps or tokens of the tower, D width.
"""

import contextlib
import math
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

IMAGEBIND_TYPES = ("imagebind_vision", "imagebind_audio")
POOLED = ("embeds", "image_embeds", "audio_embeds", "pooler_output")
LAYERS_FIELD = "embedding_layers"  # of a tower's configuration: the hidden layers whose mean is the embedding
_POSITIONS = threading.RLock()  # a table of positions is shortened for one thread at a time


def parse_layers(layers: str | None, num_layers: int) -> list[int] | None:
    """Return the numbers of the hidden layers that an argument names.

    Args:
        layers: "last", "last4", "6-12", "6" or "all"; None as "last". Layers count from 1; 0 is the input of the first
            one.
        num_layers: layers that the tower has.

    Returns:
        The numbers, rising; None for "last", which means the output of the tower as it is.

    Raises:
        ValueError: the argument has another form, or the tower has no such layers.
    """
    if layers is None or layers == "last":
        return None
    if layers == "all":
        return list(range(1, num_layers + 1))
    found = re.fullmatch(r"last([1-9]\d*)|(\d+)(?:-(\d+))?", layers)
    if not found:
        raise ValueError(f"layers is {layers!r}; expected last, last4, a range such as 6-12, one number, or all.")
    if found[1]:
        first, last = num_layers - int(found[1]) + 1, num_layers
    else:
        first, last = int(found[2]), int(found[3] or found[2])
    if not (first <= last <= num_layers and first >= (1 if found[1] else 0)):
        raise ValueError(f"layers is {layers!r}, but the tower has the layers 1 to {num_layers}; name layers of these.")
    return list(range(first, last + 1))


def choose_layers(encoder: PreTrainedModel, layers: str | None) -> None:
    """Set the hidden layers whose mean is the embedding; they are kept in the tower's configuration.

    Args:
        encoder: a tower with hidden layers.
        layers: as `parse_layers` takes them; None: leave what the configuration says.

    Raises:
        ValueError: the tower has no such layers, or is ImageBind's, whose embedding is the output of its head.
    """
    if layers is None:
        return
    config: Any = encoder.config
    if layers != "last" and config.model_type in IMAGEBIND_TYPES:
        raise ValueError(
            f"layers {layers!r} cannot be chosen of ImageBind, whose embedding is the output of its head; leave the "
            "argument out."
        )
    numbers = parse_layers(layers, _num_layers(config))
    if numbers is not None:
        setattr(config, LAYERS_FIELD, numbers)
    elif hasattr(config, LAYERS_FIELD):
        delattr(config, LAYERS_FIELD)


def chosen_layers(encoder: nn.Module) -> list[int] | None:
    """Return the hidden layers whose mean is the embedding; None: the tower's output as it is."""
    config: Any = encoder.config
    return getattr(config, LAYERS_FIELD, None)


def _num_layers(config: Any) -> int:
    """Return the number of hidden layers; of an encoder-decoder those of the encoder."""
    for name in ("encoder_layers", "num_hidden_layers"):
        if isinstance(number := getattr(config, name, None), int):
            return number
    raise ValueError(f"the configuration of {config.model_type} does not say how many layers it has; use layers last.")


def is_trained(encoder: nn.Module) -> bool:
    """Return whether a tower has an adapter that is trained; all other towers are frozen."""
    return hasattr(encoder, "peft_config") and any(weight.requires_grad for weight in encoder.parameters())


def embed_batch(encoder: PreTrainedModel, inputs: torch.Tensor) -> torch.Tensor:
    """Compute one embedding a frame or window: (n, ...) -> float32 (n, D); with gradient where `is_trained`.

    ImageBind: the head's output, before its normalisation. Others: the projected or pooled vector where the model has
    one, else the mean of the last hidden states over tokens or time. Where layers were chosen (`choose_layers`): the
    mean of their hidden states, as transformers numbers them, over layers and over tokens or time.

    Pairs of frames, (n, 3, 2, H, W), are one input for ImageBind; an image encoder sees each frame, and the mean of the
    two embeddings is taken. Sound windows, (n, samples) or (n, mel, frames), that end before the others are filled up
    with NaN: each is encoded as long as it is, so that what stands beside it in a batch changes nothing.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and is_trained(encoder)):
        if encoder.config.model_type not in IMAGEBIND_TYPES:
            if inputs.ndim == 5:
                frames = inputs.transpose(1, 2)  # (n, 2, 3, H, W)
                return embed_batch(encoder, frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).mean(dim=1)  # (n, D)
            if inputs.ndim in (2, 3):
                return _embed_windows(encoder, inputs)
        return embed_whole(encoder, inputs)


def _embed_windows(encoder: PreTrainedModel, inputs: torch.Tensor) -> torch.Tensor:
    """Compute the embeddings of sound windows (n, ..., length), those of equal length at once: float32 (n, D)."""
    filled = inputs.isnan()
    lengths = inputs.shape[-1] - (filled.any(dim=1) if inputs.ndim == 3 else filled).sum(dim=-1)  # (n,)
    different = lengths.unique().tolist()
    if different == [inputs.shape[-1]]:
        return embed_whole(encoder, inputs)
    embeds: torch.Tensor | None = None
    for length in different:
        rows = lengths == length
        found = embed_whole(encoder, inputs[rows][..., :length])
        embeds = found.new_empty(len(inputs), found.shape[1]) if embeds is None else embeds
        embeds[rows] = found
    if embeds is None:
        raise ValueError("there is no sound window to encode.")
    return embeds


def embed_whole(encoder: PreTrainedModel, inputs: torch.Tensor) -> torch.Tensor:
    """Compute the embeddings of inputs that are all as long as they seem, as `embed_batch` does: float32 (n, D)."""
    layers = chosen_layers(encoder)
    options = {} if layers is None else {"output_hidden_states": True}
    with shortened_positions(encoder, inputs.shape[-1]):
        output = encoder(inputs, **options)
    if layers is not None:
        hidden = torch.stack([output.hidden_states[layer] for layer in layers]).float().mean(dim=0)
    else:
        for name in POOLED:
            found = getattr(output, name, None)
            if found is not None:
                return found.flatten(1).float()  # convolutional encoders pool to (n, D, 1, 1)
        hidden = output.last_hidden_state  # (n, L, D), or (n, D, H, W) of convolutional encoders
    return (hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(2).mean(dim=2)).float()  # (n, D)


@contextlib.contextmanager
def shortened_positions(encoder: PreTrainedModel, num_frames: int) -> Iterator[None]:
    """Let an encoder of Whisper's kind take fewer spectrogram frames than its table of positions is made for.

    It takes windows of one length alone (30 s) and adds the whole table; here it has the first rows of the table, as
    many as the window needs. Other encoders are left as they are.

    Raises:
        ValueError: the window needs more positions than the table has.
    """
    config: Any = encoder.config
    convolutions = [getattr(encoder, name, None) for name in ("conv1", "conv2")]
    strides = [part.stride[0] for part in convolutions if isinstance(part, nn.Conv1d)]
    has_table = isinstance(getattr(encoder, "embed_positions", None), nn.Embedding)
    if not (has_table and len(strides) == 2 and getattr(config, "max_source_positions", None)):
        yield
        return
    with _POSITIONS:  # also where the whole table is needed: another thread may have shortened it
        table: Any = encoder.embed_positions
        most, stride = config.max_source_positions, math.prod(strides)
        needed, rest = divmod(num_frames, stride)
        if rest or needed > most:
            raise ValueError(
                f"a sound window has {num_frames} spectrogram frames; {type(encoder).__name__} takes a multiple of "
                f"{stride}, at most {most * stride}. Use a shorter audio_window."
            )
        try:
            if needed < most:
                encoder.embed_positions = nn.Embedding.from_pretrained(table.weight[:needed])
                config.max_source_positions = needed
            yield
        finally:
            encoder.embed_positions, config.max_source_positions = table, most


def fill_up(parts: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """Return inputs of a tower, (n_i, ..., length_i) each, with one length, that of the longest.

    Only sound windows of transformers' encoders have different lengths; shorter ones are filled up with NaN, which
    `embed_batch` cuts off again. A part may be None.
    """
    longest = max((part.shape[-1] for part in parts if part is not None), default=0)
    return [
        part
        if part is None or part.shape[-1] == longest
        else F.pad(part, (0, longest - part.shape[-1]), value=torch.nan)
        for part in parts
    ]


def join_inputs(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Join inputs of a tower along their first dimension, after `fill_up`."""
    return torch.cat([part for part in fill_up(parts) if part is not None])


def embedding_width(encoder: PreTrainedModel) -> int:
    """Return D of `embed_batch`, from the configuration.

    Raises:
        ValueError: the configuration does not state it.
    """
    config: Any = encoder.config  # each kind of tower has fields of its own
    # projection_dim is the width only where the model projects; a CLIP tower's configuration has it without using it.
    projects = config.model_type in IMAGEBIND_TYPES or type(encoder).__name__.endswith("WithProjection")
    projects = projects and chosen_layers(encoder) is None
    width = config.projection_dim if projects else getattr(config, "hidden_size", None)
    if width is None:
        width = (getattr(config, "hidden_sizes", None) or [None])[-1]
    if width is None:
        raise ValueError(f"the configuration of {type(encoder).__name__} has no hidden_size; use another encoder.")
    return width


__all__ = [
    "choose_layers",
    "chosen_layers",
    "embed_batch",
    "embed_whole",
    "embedding_width",
    "fill_up",
    "is_trained",
    "join_inputs",
    "parse_layers",
    "shortened_positions",
]
