"""One vector a modality, as Self-MM and the systems that follow it have them."""

import torch
from torch import nn

from ..configuration_semanticmac import MEDIA_MODALITIES
from .fusion import Fusion, Streams
from .fusion_layers import PackedLSTM


class ModalityVectors(Fusion):
    """Base of systems with  t = text vector;  a, v = Linear(last state of an LSTM).

    Their options have the widths `audio_lstm`, `vision_lstm` of the LSTM, and `audio_output`, `vision_output`.
    """

    def make_vectors(self, widths: dict[str, int]) -> dict[str, int]:
        """Make the layers for streams of these widths; return the width of each modality's vector."""
        hidden, outputs = (
            {name: getattr(self.options, f"{name}_{part}") for name in MEDIA_MODALITIES} for part in ("lstm", "output")
        )
        self.recurrences = nn.ModuleDict({name: PackedLSTM(widths[name], hidden[name]) for name in MEDIA_MODALITIES})
        self.reductions = nn.ModuleDict({name: nn.Linear(hidden[name], outputs[name]) for name in MEDIA_MODALITIES})
        return {"text": widths["text"], **outputs}

    def modality_vectors(self, streams: Streams) -> dict[str, torch.Tensor]:
        """Return the vector of text, audio and vision (B, d_m), 0 where the modality is missing."""
        vectors = {"text": streams.text_vector * streams.has("text")}
        for name in MEDIA_MODALITIES:
            state = self.recurrences[name](getattr(streams, name), getattr(streams, f"{name}_mask"))
            vectors[name] = self.reductions[name](state) * streams.has(name)
        return vectors


__all__ = ["ModalityVectors"]
