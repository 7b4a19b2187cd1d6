"""EmoEmbs: each modality is compared with the word embeddings of the labels' names."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .fusion import Fused, Fusion, Streams
from .fusion_layers import PackedLSTM


@dataclass(frozen=True)
class EmotionEmbeddingsOptions:
    """Options of [`EmotionEmbeddings`]; the defaults are the public settings for CMU-MOSEI.

    Args:
        text_hidden, audio_hidden, vision_hidden: width of a direction of the LSTMs.
        num_layers: of the LSTMs.
        dropout: between their layers.
    """

    text_hidden: int = 300
    audio_hidden: int = 200
    vision_hidden: int = 100
    num_layers: int = 2
    dropout: float = 0.15


class EmotionEmbeddings(Fusion):
    """EmoEmbs, "Modality-Transferable Emotion Embeddings for Low-Resource Multimodal Emotion Recognition" (Dai et al.
    2020, AACL).

        h_m  = sum of the directions of a biLSTM over x_m at the last valid step
        y_c  = sum_m w_m h_m . e_{m,c},   e_t = E (by a linear map where the widths differ), e_a, e_v = Linear E

    E (C, D_t) are the vectors of the labels' names in the input embeddings of the language model, the mean over
    sub-words. They are read when a new model is made, are not trained, and are saved with the weights. Without a
    language model to read them from they are random.

    Differences from public code: the last valid step, where it reads the last padded one; E is of the language model,
    where it has GloVe; a missing modality has h = 0; a batch of one works.
    """

    Options = EmotionEmbeddingsOptions

    def __init__(self, options: EmotionEmbeddingsOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        hidden = {name: getattr(options, f"{name}_hidden") for name in MODALITIES}
        dropout = options.dropout if options.num_layers > 1 else 0.0
        self.recurrences = nn.ModuleDict(
            {name: PackedLSTM(widths[name], hidden[name], options.num_layers, True, dropout) for name in MODALITIES}
        )
        self.register_buffer("labels", torch.randn(task.num_labels, widths["text"]) * widths["text"] ** -0.5)
        self.maps = nn.ModuleDict(
            {name: nn.Linear(widths["text"], hidden[name]) for name in MODALITIES
             if name != "text" or hidden[name] != widths["text"]}
        )  # fmt: skip
        self.weights = nn.Parameter(torch.full((len(MODALITIES),), 1 / len(MODALITIES)))

    @torch.no_grad()
    def read_labels(self, language_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Set E to the mean of the input embeddings of each label's sub-words.

        Raises:
            ValueError: two labels have the same vector, e.g. as unknown words: their scores would always be equal.
        """
        embeddings = language_model.get_input_embeddings()
        for row, name in enumerate(self.task.label_names):
            ids = tokenizer(name.replace("_", " "), add_special_tokens=False, return_tensors="pt")["input_ids"][0]
            if len(ids):
                self.labels[row] = embeddings(ids.to(embeddings.weight.device)).mean(dim=0).to(self.labels)
        for row, name in enumerate(self.task.label_names):
            same = (self.labels[:row] == self.labels[row]).all(dim=1).nonzero()  # (n, 1)
            if len(same):
                raise ValueError(
                    f"The labels {self.task.label_names[int(same[0])]!r} and {name!r} have the same vector in the "
                    "language model, so their scores would always be equal. Its tokenizer does not know their words: "
                    "choose a language model of the labels' language, or another architecture than emoembs."
                )

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C), and the scores of the modalities (B, 3, C)."""
        scores, embeds = [], {}
        for name, recurrence in self.recurrences.items():
            final = recurrence(getattr(streams, name), getattr(streams, f"{name}_mask"))  # of both directions
            embeds[name] = torch.stack(final.chunk(2, dim=-1)).sum(dim=0)  # (B, h)
            labels = self.labels.to(embeds[name].dtype)
            scores.append(embeds[name] @ (self.maps[name](labels) if name in self.maps else labels).T)
        scores = torch.stack(scores, dim=1)  # (B, 3, C)
        return Fused((scores * self.weights[:, None]).sum(dim=1), scores, embeds)


__all__ = ["EmotionEmbeddings", "EmotionEmbeddingsOptions"]
