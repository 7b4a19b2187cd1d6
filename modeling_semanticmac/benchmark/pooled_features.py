"""One vector a clip: stored embeddings pooled over time, and text pooled over the tokens of a frozen language model."""

from collections.abc import Sequence

import numpy as np
import torch

from ..configuration_semanticmac import MEDIA_MODALITIES
from ..training.run import Run

TEXTS_AT_ONCE = 64
POOLINGS = ("mean", "mean_deviation")


class PooledFeatures:
    """The pooled streams of the clips of a run; texts that were encoded are kept for the next run of the benchmark.

    Audio and vision: mean over time, and with `mean_deviation` the standard deviation (n) over time beside it. Text:
    mean over the tokens, special ones included, of the last hidden states of the pretrained language model, as the
    sentence encoders do.
    """

    def __init__(self):
        self._texts: dict[tuple, np.ndarray] = {}

    def streams(self, run: Run, clips, pooling: str) -> dict[str, np.ndarray]:
        """Return modality -> (n, D), a row of NaN where a clip lacks the modality.

        Args:
            run: gives modalities, store, processor and language model.
            clips: rows of a split, usable and in the store.
            pooling: one of `POOLINGS`, of audio and vision.

        Raises:
            ValueError: an unknown pooling.
        """
        if pooling not in POOLINGS:
            raise ValueError(f"pooling is {pooling!r}; expected {' or '.join(POOLINGS)}.")
        found = {}
        for modality in run.data_args.modalities:
            rows = self._text(run, clips) if modality == "text" else _stream(run.store, clips["id"], modality, pooling)
            width = max((len(row) for row in rows if row is not None), default=0)
            empty = np.full(width, np.nan)
            found[modality] = np.stack([empty if row is None else row for row in rows])
        return found

    @torch.no_grad()
    def _text(self, run: Run, clips) -> list[np.ndarray | None]:
        data, model = run.data_args, run.model_args
        origin = (model.language_model, model.language_model_revision, model.model_name_or_path, data.max_length)
        contexts = clips["context"][:] if data.use_context else [[] for _ in range(len(clips))]
        texts = clips["text"][:]
        keys = [(*origin, text, tuple(context)) for text, context in zip(texts, contexts)]
        told = {key: (text, context) for key, text, context in zip(keys, texts, contexts)}
        new = sorted((key for key in told if key not in self._texts), key=lambda key: len(key[-2]))
        language_model = run.model.base_model.language_model.eval()
        for start in range(0, len(new), TEXTS_AT_ONCE):
            chunk = new[start : start + TEXTS_AT_ONCE]
            batch = run.processor.encode_text(
                [told[key][0] for key in chunk],
                [told[key][1] for key in chunk] if data.use_context else None,
                data.max_length,
            )
            mask = batch["attention_mask"].bool()
            vectors = np.zeros((len(chunk), 0))
            if mask.any():
                states = language_model(**batch).last_hidden_state.float()  # (B, L, D)
                sums = states.masked_fill(~mask[..., None], 0).sum(dim=1)  # (B, D)
                vectors = (sums / mask.sum(dim=1, keepdim=True).clamp(min=1)).double().numpy()
            for key, vector, present in zip(chunk, vectors, mask.any(dim=1).tolist()):
                self._texts[key] = vector if present else vector[:0]
        return [self._texts[key] if len(self._texts[key]) else None for key in keys]


def _stream(store, clips: Sequence[str], modality: str, pooling: str) -> list[np.ndarray | None]:
    rows = [pooled(store[clip][MEDIA_MODALITIES.index(modality)], pooling) for clip in clips]
    return [row if len(row) else None for row in rows]


def pooled(stream: torch.Tensor, pooling: str) -> np.ndarray:
    """Return the mean over time of a stream (T, D), its deviation (n) after it where asked; empty for T = 0."""
    rows = stream.double().numpy()
    if not len(rows):
        return np.zeros(0)
    parts = [rows.mean(axis=0)] + ([rows.std(axis=0)] if pooling == "mean_deviation" else [])
    return np.concatenate(parts)


__all__ = ["POOLINGS", "PooledFeatures", "pooled"]
