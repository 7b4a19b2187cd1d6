"""Multimodal Adaptation Gate: audio and vision shift the words inside the language model."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..task_specification import TaskSpecification
from .fusion import Fused, Fusion, Streams
from .fusion_layers import pool_to_steps
from .language_model_layers import is_time_first, language_model_layers


@dataclass(frozen=True)
class AdaptationGateOptions:
    """Options of [`AdaptationGateFusion`]; the defaults are the public settings for CMU-MOSI.

    Args:
        inject_layer: index of the layer of the language model whose input is shifted: 0 for BERT, after the embeddings;
            1 for XLNet.
        beta: largest shift, as a share of the word's norm.
        dropout: after the gate.
    """

    inject_layer: int = 0
    beta: float = 1.0
    dropout: float = 0.3


class AdaptationGate(nn.Module):
    r"""The gate of MAG, for a word z and the audio a and vision v that go with it:

        g_v = ReLU(W_gv [v; z]),  g_a = ReLU(W_ga [a; z])
        H   = g_v * (W_v v) + g_a * (W_a a)
        z'  = dropout(LN(z + alpha H)),  alpha = min(beta ||z|| / (||H|| + 1e-6), 1)

    The shift is never longer than beta ||z||. A term of H whose modality is absent at a position is 0; with H = 0 the
    result is dropout(LN(z)).

    Args:
        width: of the words, D_t.
        audio_width, vision_width: D_a, D_v.
        beta, dropout: see [`AdaptationGateOptions`].
    """

    def __init__(self, width: int, audio_width: int, vision_width: int, beta: float, dropout: float):
        super().__init__()
        self.audio_gate, self.vision_gate = (
            nn.Linear(audio_width + width, width),
            nn.Linear(vision_width + width, width),
        )
        self.audio_shift, self.vision_shift = nn.Linear(audio_width, width), nn.Linear(vision_width, width)
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.beta = beta

    def forward(
        self,
        words: torch.Tensor,
        audio: torch.Tensor,
        vision: torch.Tensor,
        has_audio: torch.Tensor,
        has_vision: torch.Tensor,
    ) -> torch.Tensor:
        """Return z' (B, L, D_t).

        Args:
            words: z, (B, L, D_t).
            audio, vision: a and v of each word, (B, L, D_a) and (B, L, D_v).
            has_audio, has_vision: bool (B, L), where there is a and v.
        """
        shifts = (
            (vision, has_vision, self.vision_gate, self.vision_shift),
            (audio, has_audio, self.audio_gate, self.audio_shift),
        )
        shift = sum(
            torch.relu(gate(torch.cat([media, words], dim=-1))) * move(media) * present.unsqueeze(-1)
            for media, present, gate, move in shifts
        )  # (B, L, D_t)
        length = torch.linalg.vector_norm(shift.float(), dim=-1, keepdim=True)
        allowed = self.beta * torch.linalg.vector_norm(words.float(), dim=-1, keepdim=True) / (length + 1e-6)
        return self.dropout(self.norm(words + allowed.clamp(max=1).to(words.dtype) * shift))


class AdaptationGateFusion(Fusion):
    """MAG (Rahman et al. 2020, "Integrating Multimodal Information in Large Pretrained Transformers", ACL).

    [`AdaptationGate`] shifts the input of one layer of the language model, and the rest of the language model reads the
    shifted words; the output is linear on one hidden state:  y^ = W h + b.

    Our readings: audio and vision are pooled to the sub-words of the text (the publication aligns words by force). Any
    text encoder with a list of layers serves. Public code gives special tokens media of zeros, where the biases still
    make a shift; here the shift is 0 at special tokens and for a missing modality. The hidden state is read as it is,
    without the pooler of BERT, which the package does not load. A clip without text has no words to shift: its
    prediction is the bias.

    The gate runs in a forward pre-hook of the layer, which `attach` registers when the model is built. It is not in
    `state_dict()`, and a copy of the model has its own. transformers recomputes layers under gradient checkpointing
    without their hooks, so the gate runs once in a step.
    """

    Options = AdaptationGateOptions
    language_model = "tuned"
    inside_language_model = True

    def __init__(self, options: AdaptationGateOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        width = widths["text"]
        self.gate = AdaptationGate(width, widths["audio"], widths["vision"], options.beta, options.dropout)
        self.output = nn.Linear(width, task.num_labels)
        self._media: tuple[torch.Tensor, ...] | None = None  # of the batch that the language model is about to read
        self._time_first = False

    def attach(self, language_model: PreTrainedModel) -> None:
        """Put the gate before a layer of the language model.

        Raises:
            ValueError: the language model has no list of layers, or no layer of that index.
        """
        layers = language_model_layers(language_model)
        if not 0 <= self.options.inject_layer < len(layers):
            raise ValueError(
                f"inject_layer is {self.options.inject_layer}; the language model has layers 0 to {len(layers) - 1}."
            )
        self._time_first = is_time_first(language_model)
        layers[self.options.inject_layer].register_forward_pre_hook(self._shift_words, with_kwargs=True)

    def before_text(self, streams: Streams) -> None:
        """Pool audio and vision to the words that the language model is about to read."""
        audio, vision = (
            pool_to_steps(getattr(streams, name), getattr(streams, f"{name}_mask"), streams.content_mask)
            for name in ("audio", "vision")
        )  # (B, L, D_m)
        has_audio, has_vision = (streams.content_mask & streams.modality_mask[:, m, None] for m in (1, 2))
        self._media = (audio, vision, has_audio, has_vision)

    def _shift_words(self, layer: nn.Module, given: tuple, options: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """Replace the hidden states that a layer is called with."""
        media, self._media = self._media, None
        if media is None:
            raise RuntimeError(
                "the language model of MAG was run without the audio and vision of its clips; call the whole model."
            )
        words = given[0] if given else options["hidden_states"]
        clips, tokens = media[0].shape[:2]
        if words.shape[:2] != ((tokens, clips) if self._time_first else (clips, tokens)):
            raise ValueError(
                f"a layer of the language model reads hidden states of shape {tuple(words.shape)} for {clips} clips of "
                f"{tokens} tokens, so MAG cannot tell the words apart; use another language model."
            )
        # The language model may have another dtype than the gate.
        hidden = (words.transpose(0, 1) if self._time_first else words).to(media[0].dtype)
        shifted = self.gate(hidden, *media).to(words.dtype)
        shifted = shifted.transpose(0, 1) if self._time_first else shifted
        return ((shifted, *given[1:]), options) if given else (given, options | {"hidden_states": shifted})

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C) from the text that the language model read with the gate in it."""
        summary = streams.text_vector
        return Fused(logits=self.output(summary), embeds={"text": summary})


__all__ = ["AdaptationGate", "AdaptationGateFusion", "AdaptationGateOptions"]
