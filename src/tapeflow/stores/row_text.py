"""Rows as JSON objects, written by the kernel from the columns as they lie in memory, without an object for each cell.

The same bytes as `tapeflow.stores.render.portable_text`, which writes them where there is no kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa

from tapeflow.engine.kernels import COMPILED

#: The JSON values of a column, one for each row.
Values = Callable[[pa.ChunkedArray], list[Any]]
#: A column for the kernel: kind, what stands before each value, offset, scale, bits of what is not null, values, heap.
_Column = tuple[int, bytes, int, int, pa.Buffer | None, pa.Buffer | None, pa.Buffer | bytes | None]

#: As in `kernel/kernel.h`.
_DECIMALS, _INTS, _BITS, _TEXTS, _MADE = range(5)
_MICROSECONDS = "us"


def text(rows: pa.Table, between: str, values: Values) -> bytes:
    """An object for each row, and a character between two. ``values`` gives what the kernel does not know."""
    if not rows.num_rows or not rows.num_columns:
        return b""
    last = {name: at for at, name in enumerate(rows.column_names)}  # of columns of the same name the last one counts
    columns = [(name, rows.column(at)) for name, at in last.items()]
    made = tuple(_column(_head(name, is_first=not at), column, values) for at, (name, column) in enumerate(columns))
    return COMPILED.json_rows(made, rows.num_rows, ord(between))  # type: ignore[no-any-return]


def _head(name: str, *, is_first: bool) -> bytes:
    return (b"" if is_first else b",") + msgspec.json.encode(name) + b":"


def _column(head: bytes, column: pa.ChunkedArray, values: Values) -> _Column:
    kind = _kind(column.type)
    if kind == _MADE:
        return (kind, head, 0, 0, None, None, msgspec.json.encode(_plain(column, values)))
    array = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    valid, cells, *heap = array.buffers()
    scale = array.type.scale if kind == _DECIMALS else 0
    return (kind, head, array.offset, scale, valid, cells, heap[0] if heap else None)


def _kind(type: pa.DataType) -> int:
    if pa.types.is_decimal128(type):
        return _DECIMALS if 0 <= type.scale <= 38 else _MADE
    if pa.types.is_int64(type) or (pa.types.is_timestamp(type) and type.unit == _MICROSECONDS):
        return _INTS
    if pa.types.is_boolean(type):
        return _BITS
    return _TEXTS if pa.types.is_string(type) else _MADE


def _plain(column: pa.ChunkedArray, values: Values) -> list[Any]:
    if pa.types.is_float64(column.type) and not column.null_count:
        return column.to_numpy().tolist()  # type: ignore[no-any-return]
    return values(column)
