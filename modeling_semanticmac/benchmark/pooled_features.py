"""One vector a clip: stored embeddings pooled over time, and text pooled over the tokens of a frozen language model."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from ..files.near_names import did_you_mean
from ..training.run import Run

TEXTS_AT_ONCE = 64
POOLINGS = ("mean", "mean_deviation")


class SimpleOptions:
    """Base of the options of a simple system, which are a dataclass with the fields `C` and `pooling` among others."""

    system = ""  # name in plans
    C: Any
    pooling: Any

    def __post_init__(self):
        if self.C is not None and not self.C > 0:
            raise ValueError(f"C is {self.C}; expected more than 0.")
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling is {self.pooling!r}; expected {' or '.join(POOLINGS)}.")

    @classmethod
    def read(cls, options: Mapping):
        """Return the options of a plan.

        Raises:
            ValueError: an unknown name, with the nearest known one.
        """
        known = [entry.name for entry in fields(cls)]  # type: ignore[arg-type]  # a subclass is a dataclass
        for name in options:
            if name not in known:
                raise ValueError(
                    f"{cls.system} has no option {name!r}.{did_you_mean(name, known)} It has {', '.join(known)}."
                )
        return cls(**options)


class PooledFeatures:
    """The pooled streams of the clips of a run; texts that were encoded are kept for the next run of the benchmark.

    Audio and vision: mean over time, and with `mean_deviation` the standard deviation (n) over time beside it. Text:
    mean over the tokens, special ones included, of the last hidden states of the pretrained language model, as the
    sentence encoders do; or over the vectors of a feature file.
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
            if modality == "text" and not run.reads_vectors:
                rows = self._text(run, clips)
            else:
                rows = _stream(run.store, clips["id"], modality, "mean" if modality == "text" else pooling)
            width = max((len(row) for row in rows if row is not None), default=0)
            empty = np.full(width, np.nan)
            found[modality] = np.stack([empty if row is None else row for row in rows])
        return found

    @torch.no_grad()
    def _text(self, run: Run, clips) -> list[np.ndarray | None]:
        """Return the vector of each clip's text, as the model of the run reads it; None where it has none."""
        data, model = run.data_args, run.model_args
        collate = run.collator(["text"])
        columns = ("id", "label", "text", "context", *collate.speaker_columns)
        rows = [dict(zip(columns, values)) for values in zip(*(clips[name][:] for name in columns))]
        origin = (
            model.language_model, model.language_model_revision, model.model_name_or_path, data.max_length,
            str(collate.text_options),
        )  # fmt: skip
        # Token ids of a feature file belong to a clip, others to what is said.
        by_clip = data.text != "raw"
        keys = [
            (
                *origin,
                row["id"] if by_clip else "",
                *(str(row[name]) for name in collate.speaker_columns),
                row["text"],
                *(row["context"] if data.use_context else ()),
            )
            for row in rows
        ]
        told = {key: row for key, row in zip(keys, rows) if key not in self._texts}
        new = sorted(told, key=lambda key: sum(map(len, key[6:])))  # of similar length together
        language_model = run.model.base_model.language_model.eval()
        for start in range(0, len(new), TEXTS_AT_ONCE):
            chunk = new[start : start + TEXTS_AT_ONCE]
            batch = collate([told[key] for key in chunk])
            del batch["labels"]
            vectors = _mean_over_tokens(language_model, batch) if batch else [np.zeros(0)] * len(chunk)
            self._texts |= dict(zip(chunk, vectors))
        return [self._texts[key] if len(self._texts[key]) else None for key in keys]


def _mean_over_tokens(language_model, batch: dict[str, torch.Tensor]) -> list[np.ndarray]:
    """Return the mean of the last hidden states over the tokens of each text; empty for a text without tokens."""
    mask = batch["attention_mask"].bool()  # (B, L)
    mask = mask & batch.pop("utterance_mask", mask).bool()
    states = language_model(**batch).last_hidden_state.double()  # (B, L, D)
    means = states.masked_fill(~mask[..., None], 0).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)  # (B, D)
    return [mean if has_text else mean[:0] for mean, has_text in zip(means.numpy(), mask.any(dim=1).tolist())]


def _stream(store, clips: Sequence[str], modality: str, pooling: str) -> list[np.ndarray | None]:
    rows = [pooled(store.stream(clip, modality), pooling) for clip in clips]
    return [row if len(row) else None for row in rows]


def pooled(stream: torch.Tensor, pooling: str) -> np.ndarray:
    """Return the mean over time of a stream (T, D), its deviation (n) after it where asked; empty for T = 0."""
    rows = stream.double().numpy()
    if not len(rows):
        return np.zeros(0)
    parts = [rows.mean(axis=0)] + ([rows.std(axis=0)] if pooling == "mean_deviation" else [])
    return np.concatenate(parts)


__all__ = ["POOLINGS", "PooledFeatures", "pooled"]
