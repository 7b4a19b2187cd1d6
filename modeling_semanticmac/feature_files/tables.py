"""Tables with one row a clip or a time step: CSV and Parquet with an id column, lists in a cell as sequences."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from .streams import FeatureClip, as_rows

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


def id_column(table: pa.Table) -> str | None:
    """Return the column with the clip ids: one of `ID_COLUMNS`, in this order; None where there is none."""
    lower = {name.lower(): name for name in table.column_names}
    return next((lower[name] for name in ID_COLUMNS if name in lower), None)


def read_feature_table(table: pa.Table, where: str) -> Iterator[FeatureClip]:
    """Yield one clip an id. Rows of one id are its time steps, in their order; a cell with a list is a whole sequence.

    Raises:
        ValueError: no id column, no numbers, or several columns with sequences.
    """
    name = id_column(table)
    if name is None:
        raise ValueError(
            f"{where} has the columns {_some(table.column_names)}; expected one of {', '.join(ID_COLUMNS)}."
        )
    ids = [str(value) for value in table.column(name).to_pylist()]
    kinds = {column: table.schema.field(column).type for column in table.column_names if column != name}
    lists = [column for column, kind in kinds.items() if pa.types.is_list(kind) or pa.types.is_large_list(kind)]
    numbers = [column for column, kind in kinds.items() if pa.types.is_floating(kind) or pa.types.is_integer(kind)]
    if len(lists) > 1 or (not lists and not numbers):
        raise ValueError(
            f"{where} has {len(lists)} columns of lists ({_some(lists)}) and {len(numbers)} of numbers; expected one "
            "column of lists, or numbers."
        )
    if lists:
        for clip, value in zip(ids, table.column(lists[0]).to_pylist()):
            yield FeatureClip(clip, single=as_rows(value, f"{where}, {clip}"))
        return
    values = np.stack([table.column(column).to_numpy().astype(np.float32) for column in numbers], axis=1)  # (n, D)
    rows: dict[str, list[int]] = {}
    for row, clip in enumerate(ids):
        rows.setdefault(clip, []).append(row)
    for clip, positions in rows.items():
        yield FeatureClip(clip, single=values[positions])


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


__all__ = ["ID_COLUMNS", "id_column", "read_feature_table", "read_table_file"]
