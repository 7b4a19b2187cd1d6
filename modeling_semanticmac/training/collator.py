"""Convert clips of a dataset to a padded batch."""

from collections.abc import Sequence

import torch

from ..affect_heads import check_labels
from ..configuration_semanticmac import MODALITIES, TaskSpecification
from ..processing_semanticmac import pad_streams


class SemanticMACCollator:
    """Collator from rows of a corpus (the clip schema of docs/architecture.md) to the tensors that the model takes.

        input_ids, attention_mask (, token_type_ids)   (B, L)
        audio_embeds (B, T_a, D_a), audio_mask (B, T_a);  vision_embeds (B, T_v, D_v), vision_mask (B, T_v)
        labels (B,) or (B, C);  clip_index (B,) where the rows have it

    A modality that a clip lacks (no text, no embeddings in the store) is an all-zero row of its mask; a modality that
    the whole batch lacks is left out.

    Args:
        processor: a `SemanticMACProcessor`; its `encode_text` is used.
        task: the task specification; the labels of every batch are checked against it.
        store: embeddings by clip id (an `EmbeddingStore`); None for text alone.
        modalities: which of "text", "audio", "vision" to use.
        use_context: whether the earlier utterances precede the text.
        max_length: longest text in tokens; None: the processor's.

    Raises:
        ValueError: an unknown modality, audio or vision without a store, labels that do not fit the task.
    """

    def __init__(
        self,
        processor,
        task: TaskSpecification,
        store=None,
        modalities: Sequence[str] = MODALITIES,
        use_context: bool = True,
        max_length: int | None = None,
    ):
        unknown = [modality for modality in modalities if modality not in MODALITIES]
        if unknown or not modalities:
            raise ValueError(f"modalities are {list(modalities)}; expected one or more of {', '.join(MODALITIES)}.")
        if store is None and set(modalities) != {"text"}:
            raise ValueError(
                f"modalities {list(modalities)} need an embedding store; extract the embeddings first, or use text "
                "alone."
            )
        self.processor, self.task, self.store = processor, task, store
        self.modalities, self.use_context, self.max_length = tuple(modalities), use_context, max_length

    def __call__(self, rows: Sequence[dict]) -> dict[str, torch.Tensor]:
        batch = {}
        if "text" in self.modalities:
            contexts = [row["context"] for row in rows] if self.use_context else None
            encoded = self.processor.encode_text([row["text"] for row in rows], contexts, self.max_length)
            if encoded["attention_mask"].any():
                batch.update(encoded)
        if "audio" in self.modalities or "vision" in self.modalities:
            streams = dict(zip(("audio", "vision"), zip(*(self.store[row["id"]] for row in rows))))
            for modality in ("audio", "vision"):
                if modality in self.modalities:
                    embeds = [stream.float() for stream in streams[modality]]
                    batch.update(pad_streams(f"{modality}_embeds", f"{modality}_mask", embeds))
        batch["labels"] = self._labels(rows)
        if "clip_index" in rows[0]:
            batch["clip_index"] = torch.tensor([row["clip_index"] for row in rows])
        return batch

    def _labels(self, rows: Sequence[dict]) -> torch.Tensor:
        length = self.task.num_labels if self.task.is_multi_label else None
        for row in rows:
            label = row["label"]
            if label is None or (len(label) if isinstance(label, (list, tuple)) else None) != length:
                expected = "one number" if length is None else f"a list of {length} zeros and ones"
                raise ValueError(
                    f"clip {row['id']!r} has the label {label!r}; task {self.task.name!r} expects {expected}."
                )
        dtype = torch.float32 if self.task.is_regression or self.task.is_multi_label else torch.long
        labels = torch.tensor([row["label"] for row in rows], dtype=dtype)
        check_labels(labels, self.task, batch_size=len(rows))
        return labels
