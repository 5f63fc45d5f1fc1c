"""Rows of parquet files, a few at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jepa_robot.errors import DataError

OPEN_FILES = 8
# Row groups kept decompressed, bytes; the one used last is kept whatever its size.
KEPT_BYTES = 128 << 20
_AGAIN = "copy the file again"
_DAMAGE = (pa.ArrowException, OSError, ValueError, TypeError)


class Tables:
    """Parquet files, opened when they are read; the row groups used last are kept."""

    def __init__(self) -> None:
        self._files: OrderedDict[Path, pq.ParquetFile] = OrderedDict()
        self._groups: OrderedDict[tuple[Path, int, tuple[str, ...]], pa.Table] = OrderedDict()

    def columns(self, path: Path) -> list[str]:
        """Names of the columns.

        Raises:
            DataError: not a readable parquet file.
        """
        return self._file(path).schema_arrow.names

    def rows(self, path: Path, columns: Sequence[str], start: int = 0, stop: int | None = None) -> pa.Table:
        """Rows ``start`` to ``stop`` (not included; None is the end) of some columns.

        Raises:
            DataError: damaged, or there is no such column or row.
        """
        file = self._file(path)
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise DataError(f"has no column {missing[0]!r}", where=path, expected=", ".join(columns))
        total = file.metadata.num_rows
        stop = total if stop is None else stop
        if not 0 <= start <= stop <= total:
            raise DataError(
                f"has {total} rows", where=path, expected=f"rows {start} to {stop - 1}, as the episodes' table says",
                mend=_AGAIN,
            )
        sizes = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        ends = np.cumsum([0, *sizes])
        parts = []
        for group, (first, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist())):
            here, there = max(start, first), min(stop, end)
            if here < there:
                parts.append(self._group(path, group, tuple(columns)).slice(here - first, there - here))
        return pa.concat_tables(parts) if parts else file.schema_arrow.empty_table().select(list(columns))

    def close(self) -> None:
        self._groups.clear()
        while self._files:
            self._files.popitem()[1].close()

    # -- internals --------------------------------------------------------------------------

    def _file(self, path: Path) -> pq.ParquetFile:
        if path not in self._files:
            try:
                self._files[path] = pq.ParquetFile(path)
            except _DAMAGE as error:
                raise DataError(f"is not a readable parquet file ({error})", where=path, mend=_AGAIN) from error
            if len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(path)
        return self._files[path]

    def _group(self, path: Path, group: int, columns: tuple[str, ...]) -> pa.Table:
        key = (path, group, columns)
        if key not in self._groups:
            try:
                self._groups[key] = self._file(path).read_row_group(group, columns=list(columns), use_threads=False)
            except _DAMAGE as error:
                raise DataError(
                    f"{', '.join(columns)} cannot be read ({error})", where=path, mend=_AGAIN
                ) from error
            while len(self._groups) > 1 and sum(table.nbytes for table in self._groups.values()) > KEPT_BYTES:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]


def vectors(table: pa.Table, column: str, dims: int, where: object) -> np.ndarray:
    """A column of ``dims`` numbers a row, as [rows, dims]; for one dimension the rows may be plain numbers.

    Raises:
        DataError: other values than numbers, missing values, or another number of dimensions.
    """
    array = table.column(column).combine_chunks()
    expected = f"{dims} numbers a row"
    kind, is_list = array.type, pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type)
    if array.null_count:
        raise DataError(f"{column} has rows without a value", where=where, expected=expected)
    if is_list:
        lengths = np.diff(array.offsets) if pa.types.is_list(kind) else np.full(len(array), kind.list_size)
        wrong = np.flatnonzero(lengths != dims)
        if len(wrong):
            what = f"{column} has {lengths[wrong[0]]} numbers at row {wrong[0]}"
            raise DataError(what, where=where, expected=expected)
        array = array.flatten()
    elif dims != 1:
        raise DataError(f"{column} is of type {kind}", where=where, expected=expected)
    if not (pa.types.is_floating(array.type) or pa.types.is_integer(array.type)):
        raise DataError(f"{column} is of type {kind}", where=where, expected=expected)
    if array.null_count:
        raise DataError(f"{column} has rows without a value", where=where, expected=expected)
    return array.to_numpy(zero_copy_only=False).reshape(-1, dims)
