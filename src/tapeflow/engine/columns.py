"""The layouts in which columns pass between the kernel, its twin and the sinks; the structs of kernel/kernel.h."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: A column value that stands for a missing time.
NONE_TIME = -(2**63)

Rows = npt.NDArray[Any]


def time_or_none(ts: int | None) -> int:
    """A time as a column has it."""
    return NONE_TIME if ts is None else ts


TRADE = np.dtype(
    [
        ("symbol", "<i4"),
        ("side", "u1"),
        ("coarse", "u1"),
        ("aggregate", "u1"),
        ("pad", "u1"),
        ("id", "<i8"),
        ("first_id", "<i8"),
        ("last_id", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("ts_event", "<i8"),
        ("ts_recv", "<i8"),
        ("ts_watermark", "<i8"),
    ]
)

QUOTE = np.dtype(
    [
        ("symbol", "<i4"),
        ("pad", "<i4"),
        ("id", "<i8"),
        ("bid", "<i8"),
        ("bid_size", "<i8"),
        ("ask", "<i8"),
        ("ask_size", "<i8"),
        ("ts_event", "<i8"),
        ("ts_recv", "<i8"),
    ]
)

BOOK_ROW = np.dtype(
    [
        ("symbol", "<i4"),
        ("n_bids", "<i4"),
        ("n_asks", "<i4"),
        ("pad", "<i4"),
        ("id", "<i8"),
        ("ts_event", "<i8"),
        ("ts_recv", "<i8"),
        ("first_level", "<i8"),
    ]
)

LEVEL = np.dtype([("price", "<i8"), ("size", "<i8")])

_WIDE = [(f"{name}_{half}", "<u8") for name in ("volume", "quote", "taker") for half in ("lo", "hi")]

CANDLE_ROW = np.dtype(
    [
        ("symbol", "<i4"),
        ("fold", "<i4"),
        ("ts_start", "<i8"),
        ("ts_end", "<i8"),
        ("open", "<i8"),
        ("high", "<i8"),
        ("low", "<i8"),
        ("close", "<i8"),
        *_WIDE,
        ("count", "<i8"),
        ("revision", "<i8"),
        ("ts_watermark", "<i8"),
        ("closed", "<i8"),
        ("vwap", "<f8"),
        ("exact", "<i4"),
        ("venue", "<i4"),
    ]
)

MEAN_ROW = np.dtype(
    [
        ("symbol", "<i4"),
        ("fold", "<i4"),
        ("ts_start", "<i8"),
        ("ts_end", "<i8"),
        ("count", "<i8"),
        ("revision", "<i8"),
        ("ts_watermark", "<i8"),
        ("closed", "<i8"),
        ("mean", "<f8"),
    ]
)

_TICKS = [
    (f"{tick}_{part}", "<i8")
    for tick in ("open", "close", "coarse_open", "coarse_close")
    for part in ("ts", "id", "price")
]

CANDLE_STATE = np.dtype(
    [
        ("start", "<i8"),
        ("count", "<i8"),
        ("late", "<i8"),
        ("high", "<i8"),
        ("low", "<i8"),
        *_WIDE,
        *_TICKS,
        ("flags", "<i8"),
    ]
)

PANE_STATE = np.dtype([("number", "<i8"), ("count", "<i8"), ("sum_lo", "<u8"), ("sum_hi", "<u8"), ("late", "<i8")])

#: A `time` row among trades: it stands before the trade at its place.
TIME = np.dtype([("symbol", "<i4"), ("pad", "<i4"), ("ts_watermark", "<i8"), ("place", "<i8")])

RANGE = np.dtype([("lo", "<i8"), ("hi", "<i8"), ("ts_lo", "<i8"), ("ts_hi", "<i8")])

LINE = np.dtype([("start", "<i8"), ("end", "<i8"), ("ts_recv", "<i8")])


class BookRows:
    """Rows of books: `BOOK_ROW` columns, and the levels they point into."""

    __slots__ = ("levels", "rows")

    def __init__(self, rows: Rows, levels: Rows) -> None:
        self.rows = rows
        self.levels = levels

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, i: int) -> BookRows:
        """Row ``i`` alone, as a copy."""
        row = self.rows[i : i + 1].copy()
        first = int(row["first_level"][0])
        row["first_level"] = 0
        return BookRows(row, self.levels[first : first + int(row["n_bids"][0]) + int(row["n_asks"][0])].copy())


_WORD = 2**64 - 1


def words(value: int) -> tuple[int, int]:
    """The low and the high 64 bits of a 128-bit value."""
    return value & _WORD, (value >> 64) & _WORD


def wide(lo: int, hi: int) -> int:
    """The 128-bit value of two words."""
    return (int(hi) << 64) | int(lo)


def rows(data: bytes, layout: np.dtype[Any]) -> Rows:
    """Packed rows as an array, without a copy."""
    return np.frombuffer(data, layout)


def pack(values: list[tuple[Any, ...]], layout: np.dtype[Any]) -> bytes:
    """Rows given as tuples, packed."""
    return np.array(values, layout).tobytes()
