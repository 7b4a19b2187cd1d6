"""Normalisation of features: repaired values, statistics of the training split, standard scores.

Raw features lie on scales that differ by orders of magnitude: where a model scales each row as a whole
(`input_scaling: unit`), or not at all (`none`), only the columns with the largest numbers would be seen.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

NORMALIZE = ("train", "all", "none")  # standard scores of what is no encoder's, of everything, of nothing
CLIP = 30.0  # standard scores beyond it are clipped


@dataclass(frozen=True)
class ColumnStatistics:
    """Mean and standard deviation of each column of a stream.

    Args:
        means, deviations: (D,) float32; a column without spread has the deviation 1.
    """

    means: np.ndarray
    deviations: np.ndarray

    @classmethod
    def of(cls, sequences: Iterable[np.ndarray]) -> "ColumnStatistics":
        """Compute the statistics of all rows of sequences (T, D), over the finite values of each column.

        Raises:
            ValueError: there is no row.
        """
        sequences = [rows for rows in sequences if len(rows)]
        if not sequences:
            raise ValueError("there is no row of features to compute statistics from.")
        width = sequences[0].shape[1]
        count, total, squares = np.zeros(width), np.zeros(width), np.zeros(width)
        for rows in sequences:
            finite = np.isfinite(rows)
            count += finite.sum(axis=0)
            total += np.where(finite, rows, 0).sum(axis=0, dtype=np.float64)
        count = np.maximum(count, 1)
        means = total / count
        for rows in sequences:  # a second pass: the difference of large sums would lose the small deviations
            squares += np.square(np.where(np.isfinite(rows), rows, means) - means).sum(axis=0, dtype=np.float64)
        deviations = np.sqrt(squares / count)
        flat = deviations <= 1e-6 * np.maximum(np.abs(means), 1e-6)  # a constant column, up to rounding
        return cls(means.astype(np.float32), np.where(flat, 1, deviations).astype(np.float32))

    @classmethod
    def from_lists(cls, means: list[float], deviations: list[float]) -> "ColumnStatistics":
        """Return the statistics that `as_lists` wrote."""
        return cls(np.array(means, dtype=np.float32), np.array(deviations, dtype=np.float32))

    def as_lists(self) -> dict[str, list[float]]:
        """Return the statistics as values of JSON, exact in single precision."""
        return {"column_means": self.means.tolist(), "column_deviations": self.deviations.tolist()}

    def sha256(self) -> str:
        """Return a digest of both."""
        return hashlib.sha256(self.means.tobytes() + self.deviations.tobytes()).hexdigest()

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Return the standard scores of rows (T, D), clipped to +-`CLIP`, as float32.

        Raises:
            ValueError: another width.
        """
        if rows.shape[1] != len(self.means):
            raise ValueError(f"the rows have {rows.shape[1]} columns; the statistics are those of {len(self.means)}.")
        scores = (rows.astype(np.float64) - self.means) / self.deviations
        return np.clip(scores, -CLIP, CLIP).astype(np.float32)


def repaired(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Return rows with 0 in place of NaN and infinities, as every loader of these files does; and how many they were.

    COVAREP writes -inf for the logarithm of silence.
    """
    finite = np.isfinite(rows)
    broken = int(rows.size - np.count_nonzero(finite))
    return (np.where(finite, rows, 0).astype(np.float32), broken) if broken else (rows, 0)


__all__ = ["CLIP", "NORMALIZE", "ColumnStatistics", "repaired"]
