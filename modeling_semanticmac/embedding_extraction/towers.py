"""Which towers and which sampling a command or an engine names, by name, so that each process can load them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer, models
from torch import nn
from transformers import AutoModelForVideoClassification, PreTrainedTokenizerFast

from ..configuration_semanticmac import MEDIA_MODALITIES
from ..encoders import load_towers
from ..processing_semanticmac import SemanticMACProcessor


@dataclass(frozen=True)
class TowerChoice:
    """Towers and sampling by name.

    Args:
        model: A saved model whose towers, front ends and sampling to use; None: those that follow.
        references: "vision" and "audio", each as `encoders.load_encoder` takes it; one may be absent.
        num_crops: Crops of a frame; None: as the front end does by default.
        audio_layers: Hidden layers of the audio tower whose mean is used; None: its output.
        sampling: Arguments of SemanticMACProcessor.
    """

    model: str | None = None
    references: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    num_crops: int | None = None
    audio_layers: str | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> tuple[SemanticMACProcessor, dict[str, nn.Module]]:
        """Return the processor and the towers by modality."""
        if self.model is not None:
            model = AutoModelForVideoClassification.from_pretrained(self.model)
            named = [m for m in MEDIA_MODALITIES if getattr(model.config, f"{m}_encoder") is not None]
            return SemanticMACProcessor.from_pretrained(self.model), {m: model.get_encoder(m) for m in named}
        encoders, front_ends = load_towers(self.references, self.num_crops, self.audio_layers)
        # A processor needs a tokenizer, although there is no text to embed here.
        words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
        processor = SemanticMACProcessor(front_ends["vision"], front_ends["audio"], tokenizer, **self.sampling)
        return processor, dict(encoders)


__all__ = ["TowerChoice"]
