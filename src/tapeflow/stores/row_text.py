"""Rows as JSON objects, written by the kernel from the columns as they lie in memory, without an object for each cell.

The same bytes as `tapeflow.stores.render.portable_text`, or `tapeflow.stores.table.Table`, which write them where
there is no kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tapeflow.engine.kernels import COMPILED

#: The JSON values of a column, one for each row.
Values = Callable[[pa.ChunkedArray], list[Any]]
#: A column for the kernel: kind, what stands before each value, offset, scale, bits of what is not null, values, heap.
_Column = tuple[int, bytes, int, int, Any, Any, Any]

#: As in `kernel/kernel.h`.
_DECIMALS, _INTS, _BITS, _TEXTS, _MADE, _SHORT_DECIMALS, _TIMES, _BYTES, _NAMED = range(9)
_MICROSECONDS = "us"


class Cells(NamedTuple):
    """The values of a column of numpy, for the kernel."""

    kind: int
    scale: int = 0
    valid: Any = None
    values: Any = None
    heap: Any = None


def ints(column: npt.NDArray[Any]) -> Cells:
    """Whole numbers as numbers."""
    return Cells(_INTS, values=_words(column))


def times(column: npt.NDArray[Any]) -> Cells:
    """Microseconds; `NONE_TIME` is null."""
    return Cells(_TIMES, values=_words(column))


def decimals(column: npt.NDArray[Any], scale: int, known: npt.NDArray[np.bool_] | None = None) -> Cells:
    """Mantissas of one word, or of two; with scale 0 whole numbers as texts. Those not ``known`` are null."""
    kind = _DECIMALS if column.ndim == 2 else _SHORT_DECIMALS
    valid = None if known is None else np.packbits(known, bitorder="little")
    return Cells(kind, scale, valid, _words(column))


def bools(column: npt.NDArray[np.bool_]) -> Cells:
    """One byte each."""
    return Cells(_BYTES, values=np.ascontiguousarray(column, np.bool_))


def named(codes: npt.NDArray[np.int32], names: Sequence[str]) -> Cells:
    """Texts as numbers into a list of names."""
    return Cells(_NAMED, len(names), None, codes, _heap(tuple(names)))


def made(values: list[Any]) -> Cells:
    """Any values that JSON has."""
    return Cells(_MADE, heap=msgspec.json.encode(values))


def lines(columns: Iterable[tuple[str, Cells]], rows: int) -> list[bytes]:
    """An object for each row."""
    parts: list[_Column] = []
    for name, cells in columns:
        kind, scale, valid, values, heap = cells
        parts.append((kind, _head(name, is_first=not parts), 0, scale, valid, values, heap))
    return COMPILED.json_rows(tuple(parts), rows, ord("\n")).split(b"\n")  # type: ignore[no-any-return]


def _words(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As integers of eight bytes that follow each other."""
    return np.ascontiguousarray(column, None if column.dtype.itemsize == 8 else np.int64)


@lru_cache(maxsize=64)
def _heap(names: tuple[str, ...]) -> bytes:
    """Where each name ends, then all of them as JSON."""
    texts = [msgspec.json.encode(name) for name in names]
    return np.array(list(accumulate(map(len, texts))), np.int32).tobytes() + b"".join(texts)


def text(rows: pa.Table, between: str, values: Values) -> bytes:
    """An object for each row, and a character between two. ``values`` gives what the kernel does not know."""
    if not rows.num_rows or not rows.num_columns:
        return b""
    last = {name: at for at, name in enumerate(rows.column_names)}  # of columns of the same name the last one counts
    columns = [(name, rows.column(at)) for name, at in last.items()]
    made = tuple(_column(_head(name, is_first=not at), column, values) for at, (name, column) in enumerate(columns))
    return COMPILED.json_rows(made, rows.num_rows, ord(between))  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)
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
