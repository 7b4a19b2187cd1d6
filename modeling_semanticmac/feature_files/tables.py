"""Tables with one row a clip or a time step: CSV and Parquet with an id column, lists in a cell as sequences."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from .streams import FeatureClip, as_rows

logger = logging.getLogger(__name__)

# Columns of numbers that are no features: labels among them would tell the model what it shall predict.
NOT_FEATURES = {
    *("label", "labels", "label_id", "target", "targets", "y", "class", "class_id", "score", "emotion", "sentiment"),
    *("valence", "arousal", "intensity", "split", "fold", "mode", "speaker", "actor", "gender", "sex", "age"),
    *("video", "video_id", "start", "end", "time", "timestamp", "frame", "index", "unnamed: 0", ""),
}
ID_COLUMNS = ("id", "clip", "clip_id", "name", "file", "filename", "utterance_id")


def read_table_file(path: Path) -> pa.Table:
    """Read a CSV or Parquet file.

    Raises:
        ValueError: the file is neither.
    """
    try:
        with open(path, "rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        return pa.parquet.read_table(path) if is_parquet else pa.csv.read_csv(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} was not read: {error}; expected a CSV or Parquet table.") from None


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder, as a dataset repository has them (also below `data/`), sorted."""
    return sorted(path for path in [*folder.glob("*.parquet"), *folder.glob("data/*.parquet")] if path.name[0] != ".")


def read_parquet_folder(folder: Path) -> pa.Table:
    """Read all Parquet files of a folder as one table.

    Raises:
        ValueError: a file is damaged, or they have different columns.
    """
    tables = [read_table_file(path) for path in parquet_files(folder)]
    names = {tuple(table.column_names) for table in tables}
    if len(names) > 1:
        raise ValueError(
            f"the Parquet files of {folder} have different columns: {' | '.join(map(str, sorted(names)))}."
        )
    return pa.concat_tables(tables, promote_options="permissive")


def id_column(table: pa.Table) -> str | None:
    """Return the column with the clip ids: one of `ID_COLUMNS`, in this order; None where there is none."""
    lower = {name.lower(): name for name in table.column_names}
    return next((lower[name] for name in ID_COLUMNS if name in lower), None)


def read_feature_table(
    table: pa.Table, where: str, column: str | None = None, ids: str | None = None
) -> Iterator[FeatureClip]:
    """Yield one clip an id. Rows of one id are its time steps, in their order; a cell with a list is a whole sequence.

    Columns of numbers are features, except those that are labels, splits, speakers or times by their names.

    Args:
        table: that was read.
        where: what messages call it.
        column: the column of lists to take; None: the only one.
        ids: the column of clip ids; None: one of `ID_COLUMNS`.

    Raises:
        ValueError: no id column, no numbers, or several columns with sequences.
    """
    name = ids or id_column(table)
    for given in filter(None, (name, column)):
        if given not in table.column_names:
            raise ValueError(f"{where} has no column {given!r}; it has {_some(table.column_names)}.")
    if name is None:
        raise ValueError(
            f"{where} has the columns {_some(table.column_names)}; expected one of {', '.join(ID_COLUMNS)}, or its "
            "name: FILE#COLUMN@ID."
        )
    clips = [str(value) for value in table.column(name).to_pylist()]
    kinds = {other: table.schema.field(other).type for other in table.column_names if other != name}
    lists = [column] if column else [other for other, kind in kinds.items() if _is_list(kind)]
    numbers = [other for other, kind in kinds.items() if pa.types.is_floating(kind) or pa.types.is_integer(kind)]
    left_out = [other for other in numbers if other.strip().lower() in NOT_FEATURES]
    numbers = [other for other in numbers if other not in left_out]
    if len(lists) > 1 or (not lists and not numbers):
        raise ValueError(
            f"{where} has {len(lists)} columns of lists ({_some(lists)}) and {len(numbers)} of numbers; expected one "
            "column of lists (say which: FILE#COLUMN), or numbers."
        )
    if lists:
        for clip, cell in zip(clips, _cells(table.column(lists[0]))):
            if not cell.is_valid:  # an empty cell: the clip has no features
                continue
            yield FeatureClip(clip, single=as_rows(_array(cell, f"{where}, {clip}"), f"{where}, {clip}"))
        return
    if left_out:
        logger.warning(
            "%s: the columns %s are not used as features, by their names; rename them if they are.",
            where,
            _some(left_out),
        )
    values = np.stack([table.column(other).to_numpy().astype(np.float32) for other in numbers], axis=1)  # (n, D)
    rows: dict[str, list[int]] = {}
    for row, clip in enumerate(clips):
        rows.setdefault(clip, []).append(row)
    for clip, positions in rows.items():
        yield FeatureClip(clip, single=values[positions])


def _is_list(kind: pa.DataType) -> bool:
    kind = getattr(kind, "storage_type", kind)  # an extension type, e.g. Array2D of datasets
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _cells(column: pa.ChunkedArray) -> Iterator[pa.Scalar]:
    for chunk in column.chunks:
        yield from getattr(chunk, "storage", chunk)


def _array(cell: pa.Scalar, where: str) -> np.ndarray:
    """Return a cell of numbers, or of lists of as many numbers each, as an array; without making Python objects.

    Raises:
        ValueError: it holds something else.
    """
    values = getattr(cell, "values", None)
    if values is None:
        raise ValueError(f"{where}: found {cell.as_py()!r}; expected a list of numbers.")
    if not _is_list(values.type):
        return values.to_numpy(zero_copy_only=False)
    lengths = set(pc.unique(pc.list_value_length(values)).to_pylist())
    if len(lengths) > 1:
        raise ValueError(f"{where}: the rows have {sorted(lengths)} numbers; expected as many in each.")
    return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), lengths.pop() if lengths else 0)


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


__all__ = [
    "ID_COLUMNS", "id_column", "parquet_files", "read_feature_table", "read_parquet_folder", "read_table_file",
]  # fmt: skip
