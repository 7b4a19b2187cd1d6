"""Convert clips of a dataset to a padded batch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ..affect_heads import check_labels
from ..configuration_semanticmac import MODALITIES, TaskSpecification
from ..encoder_outputs import fill_up
from ..media_info import MediaError
from ..processing_semanticmac import pad_streams
from ..text_encoding import TextFormat

RAW_INPUTS = {"audio": "input_features", "vision": "pixel_values"}  # of the model, in place of embeddings


class SemanticMACCollator:
    """Collator from rows of a corpus (the clip schema of docs/architecture.md) to the tensors that the model takes.

        input_ids, attention_mask (, token_type_ids, utterance_mask)   (B, L)
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
        tokens: clip id -> (3, L) ids, mask and segment ids, to use in place of text and context; None: tokenize.
            Where the store holds vectors of text, these are used: `inputs_embeds` (B, L, D) and `attention_mask`.
        raw_modalities: those of audio and vision that are read from the media of each clip, as `input_features` and
            `pixel_values`, in place of the store: their towers are trained.
        on_error: "raise", or "mask": what of a clip's media cannot be read is missing.

    Raises:
        ValueError: an unknown modality, audio or vision without a store, labels that do not fit the task, or media that
            cannot be read.
    """

    def __init__(
        self,
        processor,
        task: TaskSpecification,
        store=None,
        modalities: Sequence[str] = MODALITIES,
        use_context: bool = True,
        max_length: int | None = None,
        tokens: Mapping[str, np.ndarray] | None = None,
        raw_modalities: Sequence[str] = (),
        on_error: str = "raise",
    ):
        unknown = [modality for modality in modalities if modality not in MODALITIES]
        if unknown or not modalities:
            raise ValueError(f"modalities are {list(modalities)}; expected one or more of {', '.join(MODALITIES)}.")
        if store is None and set(modalities) - {"text", *raw_modalities}:
            raise ValueError(
                f"modalities {list(modalities)} need an embedding store; extract the embeddings first, or use text "
                "alone."
            )
        self.processor, self.task, self.store = processor, task, store
        self.modalities, self.use_context, self.max_length = tuple(modalities), use_context, max_length
        self.tokens = tokens
        self.raw_modalities = tuple(name for name in RAW_INPUTS if name in raw_modalities and name in modalities)
        self.on_error = on_error

    @property
    def reads_vectors(self) -> bool:
        """Whether the text is that of the store, as vectors."""
        return bool((getattr(self.store, "fingerprint", None) or {}).get("text"))

    def __call__(self, rows: Sequence[dict]) -> dict[str, torch.Tensor]:
        batch = {}
        if "text" in self.modalities:
            encoded = self.text_tokens(rows)
            if encoded["attention_mask"].any():
                batch.update(encoded)
        stored = [name for name in RAW_INPUTS if name in self.modalities and name not in self.raw_modalities]
        if stored:
            streams = dict(zip(("audio", "vision"), zip(*(self.store[row["id"]] for row in rows))))
            for modality in stored:
                # In the store's number format: the model casts half precision on its device.
                batch.update(pad_streams(f"{modality}_embeds", f"{modality}_mask", streams[modality]))
        if self.raw_modalities:
            read = [self._media(row) for row in rows]
            for modality in self.raw_modalities:
                name = RAW_INPUTS[modality]
                batch.update(pad_streams(name, f"{modality}_mask", fill_up([clip[name] for clip in read])))
        batch["labels"] = self._labels(rows)
        if "clip_index" in rows[0]:
            batch["clip_index"] = torch.tensor([row["clip_index"] for row in rows])
        return batch

    def _media(self, row: dict) -> dict:
        """Return the streams of one clip, see `SemanticMACProcessor.encode_media`."""
        media = {name: value for name, value in (row["media"] or {}).items() if value is not None}
        try:
            if not media.get("path"):
                raise MediaError("", "no file", "the clip names no media file.")
            return self.processor.encode_media(media, self.raw_modalities)
        except MediaError as error:
            if self.on_error == "raise":
                raise ValueError(
                    f"the media of clip {row['id']!r} cannot be read: {error} Repair the file, or use on_error mask "
                    "(its text alone)."
                ) from error
            return dict.fromkeys(RAW_INPUTS.values())

    def text_tokens(self, rows: Sequence[dict]) -> dict[str, torch.Tensor]:
        """Return the tokens of the texts, or their vectors, padded to the longest."""
        if self.reads_vectors:
            vectors = [self.store.stream(row["id"], "text").float() for row in rows]  # (L, D) each
            mask = [torch.ones(max(1, len(rows)), dtype=torch.long) * bool(len(rows)) for rows in vectors]
            filled = [rows if len(rows) else rows.new_zeros(1, rows.shape[1]) for rows in vectors]
            columns = {"inputs_embeds": filled, "attention_mask": mask}
            return {name: pad_sequence(values, batch_first=True) for name, values in columns.items()}
        if self.tokens is None:
            contexts = [row["context"] for row in rows] if self.use_context else None
            texts, speakers = [row["text"] for row in rows], {}
            if self.speaker_columns:
                speakers["speakers"] = [row["speaker"] for row in rows]
                if self.use_context:
                    speakers["context_speakers"] = [row.get("context_speakers") or [] for row in rows]
            return self.processor.encode_text(texts, contexts, self.max_length, **speakers)
        absent = np.zeros((3, 1), dtype=np.int64)
        given = [self.tokens.get(row["id"], absent) for row in rows]
        valid = [torch.as_tensor(ids.astype(np.int64))[:, ids[1].astype(bool)] for ids in given]  # (3, L) each
        length = max(1, *(ids.shape[1] for ids in valid))
        padded = torch.stack([torch.nn.functional.pad(ids, (0, length - ids.shape[1])) for ids in valid])  # (B, 3, L)
        names = ("input_ids", "attention_mask", "token_type_ids")
        known = {"attention_mask", *self.processor.tokenizer.model_input_names}
        return {name: padded[:, place] for place, name in enumerate(names) if name in known}

    @property
    def speaker_columns(self) -> tuple[str, ...]:
        """The columns of a clip that say who speaks, where the processor writes it into the text."""
        return ("speaker", "context_speakers") if getattr(self.processor, "use_speakers", False) else ()

    @property
    def text_options(self) -> dict:
        """How the processor turns texts into tokens, where not as they are."""
        found = asdict(getattr(self.processor, "text_format", TextFormat()))
        return {name: value for name, value in found.items() if value != getattr(TextFormat(), name)}

    def lengths(self, rows: Sequence[dict]) -> list[int]:
        """Return the length of clips: the tokens of their text, without text the embeddings of their longer stream."""
        if "text" in self.modalities and self.reads_vectors:
            return [len(self.store.stream(row["id"], "text")) for row in rows]
        if "text" in self.modalities:
            return self.text_tokens(rows)["attention_mask"].sum(dim=1).tolist()
        if self.raw_modalities:
            return [1] * len(rows)  # as long as their media, which only decoding would tell
        return [max(map(len, self.store[row["id"]])) for row in rows]

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
