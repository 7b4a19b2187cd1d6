"""Vectors of text in the place of a language model: GloVe, BERT or sentence vectors that a feature file holds.

A model on such vectors has a `TextVectors` where others have a language model: its configuration states the width, and
its output is its input. What the vectors mean is learnt by the projection after it.
"""

import torch
from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

TEXT_VECTORS = "text_vectors"  # the model_type


@strict
class TextVectorsConfig(PreTrainedConfig):
    """Configuration of `TextVectors`.

    Args:
        hidden_size: width D of the vectors.
    """

    model_type = TEXT_VECTORS

    hidden_size: int = 300


class TextVectors(PreTrainedModel):
    """Vectors of text as they are, without weights."""

    config_class = TextVectorsConfig
    base_model_prefix = ""
    supports_gradient_checkpointing = True

    def __init__(self, config: TextVectorsConfig):
        super().__init__(config)
        self.gradient_checkpointing = False  # asked for and set by the library; there is nothing to recompute
        self.post_init()

    @property
    def dtype(self) -> torch.dtype:
        """float32, in which vectors are given; there are no weights to ask."""
        return torch.float32

    def get_input_embeddings(self) -> None:  # type: ignore[override]
        """Return None: there are no tokens."""
        return None

    def forward(self, inputs_embeds, attention_mask, output_hidden_states: bool = False, **kwargs) -> BaseModelOutput:
        """Return vectors (B, L, D) as the last hidden states, zeros where the mask (B, L) is.

        Raises:
            ValueError: another width than the configuration's.
        """
        if inputs_embeds.shape[-1] != self.config.hidden_size:
            raise ValueError(
                f"inputs_embeds have width {inputs_embeds.shape[-1]}; the model reads vectors of text of width "
                f"{self.config.hidden_size}."
            )
        states = inputs_embeds.masked_fill(attention_mask[..., None] == 0, 0)
        return BaseModelOutput(states, hidden_states=(states,) if output_hidden_states else None)


# A checkpoint's code may be loaded beside the package.
AutoConfig.register(TEXT_VECTORS, TextVectorsConfig, exist_ok=True)
AutoModel.register(TextVectorsConfig, TextVectors, exist_ok=True)

__all__ = ["TEXT_VECTORS", "TextVectors", "TextVectorsConfig"]
