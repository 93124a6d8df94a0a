"""Result rows of one channel as columns: sorted, each key once, then Arrow or JSON lines."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tapeflow.domain.number import decimal_text
from tapeflow.engine.columns import LEVEL, NONE_TIME
from tapeflow.engine.kernels import COMPILED
from tapeflow.stores import row_text
from tapeflow.stores.channels import Channel, Kind
from tapeflow.stores.row_text import Cells

#: Rows rendered as JSON at a time: enough to be quick, few enough to bound memory.
RENDERED = 1 << 15
#: From so many rows on the kernel is quicker than a loop.
MANY = 3


class Wide:
    """A column of 128-bit integers in two words."""

    def __init__(self, lo: npt.NDArray[Any], hi: npt.NDArray[Any]) -> None:
        self.words = np.ascontiguousarray(np.stack([lo.astype(np.uint64), hi.astype(np.uint64)], axis=1))

    def __getitem__(self, part: slice) -> Wide:
        return Wide(self.words[part, 0], self.words[part, 1])

    def __len__(self) -> int:
        return len(self.words)

    def tolist(self) -> list[int]:
        return [hi << 64 | lo for lo, hi in self.words.tolist()]


class Coded:
    """A column of texts as numbers into a list of names."""

    def __init__(self, codes: npt.NDArray[Any], names: Sequence[str]) -> None:
        self.codes = codes.astype(np.int32)
        self.names = list(names)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, part: slice) -> Coded:
        return Coded(self.codes[part], self.names)

    def tolist(self) -> list[str]:
        names = self.names
        return [names[code] for code in self.codes.tolist()]

    def to_arrow(self) -> pa.Array:
        return pa.DictionaryArray.from_arrays(self.codes, pa.array(self.names, pa.string())).cast(pa.string())


class Masked:
    """A column of numbers of which only those that are ``known`` have a value."""

    def __init__(self, values: npt.NDArray[Any], known: npt.NDArray[np.bool_]) -> None:
        self.values = values
        self.known = known

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, part: slice) -> Masked:
        return Masked(self.values[part], self.known[part])

    def tolist(self) -> list[Any]:
        return [
            value if known else None for value, known in zip(self.values.tolist(), self.known.tolist(), strict=True)
        ]

    def to_arrow(self) -> pa.Array:
        return pa.array(self.values, mask=~self.known)


class LevelsColumn:
    """A column of lists of (price, size): row ``i`` has ``levels[starts[i] : starts[i] + counts[i]]``."""

    def __init__(self, levels: npt.NDArray[Any], starts: npt.NDArray[Any], counts: npt.NDArray[Any]) -> None:
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        at = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
        self.offsets = offsets
        self.prices = np.ascontiguousarray(levels["price"][at])
        self.sizes = np.ascontiguousarray(levels["size"][at])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def tolist(self) -> list[list[tuple[int, int]]]:
        pairs = list(zip(self.prices.tolist(), self.sizes.tolist(), strict=True))
        offsets = self.offsets.tolist()
        return [pairs[a:b] for a, b in pairwise(offsets)]

    def __getitem__(self, part: slice) -> LevelsColumn:
        start, stop, _ = part.indices(len(self))
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        made = LevelsColumn.__new__(LevelsColumn)
        made.offsets = self.offsets[start : stop + 1] - first
        made.prices, made.sizes = self.prices[first:last], self.sizes[first:last]
        return made

    def to_texts(self, price_scale: int, size_scale: int) -> list[list[tuple[str | None, str | None]]]:
        pairs = list(zip(_texts(self.prices, price_scale), _texts(self.sizes, size_scale), strict=True))
        return [pairs[a:b] for a, b in pairwise(self.offsets.tolist())]

    def to_arrow(self, price_scale: int, size_scale: int) -> pa.Array:
        pair = [_decimals(self.prices, price_scale), _decimals(self.sizes, size_scale)]
        return pa.ListArray.from_arrays(pa.array(self.offsets), pa.StructArray.from_arrays(pair, ["price", "size"]))


#: A column: numpy for the hot channels, a list (None for null) for the others.
Column = npt.NDArray[Any] | Wide | Coded | Masked | LevelsColumn | list[Any]


class Table:
    """Columns by name, all of one length, in the order of the channel's fields."""

    def __init__(self, channel: Channel, columns: dict[str, Column], price_scale: int, size_scale: int) -> None:
        self.channel = channel
        self.columns = columns
        self._scales = {"price": price_scale, "size": size_scale, "quote": price_scale + size_scale}

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def to_arrow(self) -> pa.Table:
        names = [name for name, _ in self.channel.fields]
        arrays = [self._arrow(kind, self.columns[name]) for name, kind in self.channel.fields]
        return pa.Table.from_arrays(
            arrays, schema=pa.schema([pa.field(n, a.type) for n, a in zip(names, arrays, strict=True)])
        )

    def _arrow(self, kind: Kind, column: Column) -> pa.Array:
        if kind in self._scales:
            return _decimals(column, self._scales[kind])
        if isinstance(column, LevelsColumn):
            return column.to_arrow(self._scales["price"], self._scales["size"])
        if kind == "levels":  # no row at all
            empty = np.empty(0, np.int64)
            return LevelsColumn(np.empty(0, LEVEL), empty, empty).to_arrow(self._scales["price"], self._scales["size"])
        if kind == "time":
            return _times(column)
        if isinstance(column, Masked):
            return column.to_arrow().cast(pa.string() if kind == "id" else _TYPES[kind])
        if kind == "id" and isinstance(column, np.ndarray):
            return pa.array(column).cast(pa.string())
        if kind == "id":
            return pa.array([None if v is None else str(v) for v in _list(column)], pa.string())
        if kind == "values":
            return pa.array([list(v.items()) for v in _list(column)], pa.map_(pa.string(), pa.float64()))
        if isinstance(column, Coded):
            return column.to_arrow()
        return pa.array(column, _TYPES[kind])

    def json_lines(self) -> Iterator[bytes]:
        """One JSON object a row; a field without a value is null."""
        if COMPILED is not None and len(self) >= MANY:
            yield from self._lines()
            return
        encode = msgspec.json.Encoder().encode
        names = [name for name, _ in self.channel.fields]
        for start in range(0, len(self), RENDERED):
            part = slice(start, start + RENDERED)
            columns = [self._json(kind, self.columns[name][part]) for name, kind in self.channel.fields]
            for values in zip(*columns, strict=True):
                yield encode(dict(zip(names, values, strict=True)))

    def _lines(self) -> Iterator[bytes]:
        """The same by the kernel."""
        for start in range(0, len(self), RENDERED):
            part = slice(start, start + RENDERED)
            cells = [(name, self._cells(kind, self.columns[name][part])) for name, kind in self.channel.fields]
            yield from row_text.lines(cells, min(RENDERED, len(self) - start))

    def _cells(self, kind: Kind, column: Column) -> Cells:
        if isinstance(column, Coded):
            return row_text.named(column.codes, column.names)
        if isinstance(column, Wide):
            return row_text.decimals(column.words, self._scales[kind])
        if kind == "id" and isinstance(column, Masked):
            return row_text.decimals(column.values, 0, column.known)
        if isinstance(column, np.ndarray):
            if kind in self._scales:
                return row_text.decimals(column, self._scales[kind])
            if kind in _CELLS:
                return _CELLS[kind](column)
        return row_text.made(self._json(kind, column))

    def _json(self, kind: Kind, column: Column) -> list[Any]:
        if kind in self._scales:
            return _texts(column, self._scales[kind])
        if isinstance(column, LevelsColumn):
            return column.to_texts(self._scales["price"], self._scales["size"])
        values = _list(column)
        if kind == "id":
            return [None if v is None else str(v) for v in values]
        if kind == "time":
            return [None if v == NONE_TIME else v for v in values]
        if kind == "bytes":
            return [base64.b64encode(v).decode() for v in values]
        if kind == "bool":
            return [bool(v) for v in values]
        return values


_CELLS: dict[str, Callable[[npt.NDArray[Any]], Cells]] = {
    "id": lambda column: row_text.decimals(column, 0),
    "int": row_text.ints,
    "time": row_text.times,
    "bool": row_text.bools,
}

_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "bytes": pa.binary(),
}


def _texts(column: Column, scale: int) -> list[str | None]:
    """Canonical decimal texts of mantissas."""
    if COMPILED is not None and isinstance(column, Wide):
        return COMPILED.decimal_texts(column.words, 16, scale)  # type: ignore[no-any-return]
    if COMPILED is not None and isinstance(column, np.ndarray):
        return COMPILED.decimal_texts(np.ascontiguousarray(column, np.int64), 8, scale)  # type: ignore[no-any-return]
    return [None if v is None else decimal_text(v, scale) for v in _list(column)]


def _list(column: Column) -> list[Any]:
    return column if isinstance(column, list) else column.tolist()


def _decimals(column: Column, scale: int) -> pa.Array:
    kind = pa.decimal128(38, scale)
    if isinstance(column, Wide):
        return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(column.words)])
    if isinstance(column, np.ndarray):
        both = np.empty((len(column), 2), np.int64)
        both[:, 0] = column
        both[:, 1] = column >> 63
        return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(both)])
    return _decimals_of_ints(_list(column), kind)


def _decimals_of_ints(values: Sequence[int | None], kind: pa.DataType) -> pa.Array:
    packed = b"".join((v or 0).to_bytes(16, "little", signed=True) for v in values)
    missing = np.array([v is not None for v in values], bool)
    valid = None if missing.all() else pa.array(missing).buffers()[1]
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(packed)])


def _times(column: Column) -> pa.Array:
    kind = pa.timestamp("us", tz="UTC")
    if isinstance(column, np.ndarray):
        missing = column == NONE_TIME
        return pa.array(column.view("M8[us]"), kind, mask=missing if missing.any() else None)
    return pa.array([None if v is None else v for v in _list(column)], pa.int64()).cast(kind)


def sort_and_choose(
    keys: Sequence[npt.NDArray[Any]],
    same: Sequence[npt.NDArray[Any]],
    revision: npt.NDArray[Any] | None,
    *,
    all_revisions: bool,
) -> npt.NDArray[np.intp]:
    """Indices of the rows to keep, in the order of ``keys`` (most significant first).

    Of rows equal in every column of ``same`` the one of the highest revision stays, the last given of equals;
    ``all_revisions`` keeps one of each revision.
    """
    n = len(keys[0])
    columns = list(same) + ([revision] if revision is not None else [])
    if columns and n:
        order = np.lexsort(tuple(reversed(columns)))
        group = columns if all_revisions else list(same)
        differs = np.zeros(n, bool)
        for column in group:
            ordered = column[order]
            differs[:-1] |= ordered[1:] != ordered[:-1]
        differs[-1] = True
        kept = np.sort(order[differs])
    else:
        kept = np.arange(n)
    return kept[np.lexsort(tuple(key[kept] for key in reversed(keys)))]


def rank(values: Sequence[str]) -> npt.NDArray[np.int64]:
    """The place of each value among the sorted ones: an integer that compares as the text does."""
    order = {value: place for place, value in enumerate(sorted(set(values)))}
    return np.array([order[value] for value in values], np.int64)


def rows_in_order(channel: Channel, rows: list[dict[str, Any]], *, all_revisions: bool) -> list[dict[str, Any]]:
    """Rows given as values, sorted, each key once."""
    if channel.key:
        key = _tuple_of(channel.key + (("revision",) if all_revisions and _revised(channel) else ()))
        chosen: dict[Any, dict[str, Any]] = {}
        for row in rows:
            known = chosen.get(key(row))
            if known is None or row.get("revision", 0) >= known.get("revision", 0):
                chosen[key(row)] = row
        rows = list(chosen.values())
    return sorted(rows, key=_tuple_of(channel.order))


def _revised(channel: Channel) -> bool:
    return any(name == "revision" for name, _ in channel.fields)


def _tuple_of(names: Sequence[str]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    def value(row: dict[str, Any], name: str) -> tuple[bool, Any]:
        found = next((row[n] for n in name.split("|") if row.get(n) is not None), None)
        return (found is not None, found)

    return lambda row: tuple(value(row, name) for name in names)
