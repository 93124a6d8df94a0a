"""The numbers of rows: each series of a channel (a symbol's trades, its candles of one interval ...) counts its own.

Rows are made in the same order whatever the batches and restarts are, so the number is a function of the tape like the
row: a client that has seen row 7 of a series lacks those from 8 on, also after a restart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tapeflow.engine.columns import Rows
from tapeflow.engine.results import StepRow

#: A series within a channel, as a number: symbol, place of the window among the flow's, step on it.
FOLD_BITS, STEP_BITS = 8, 8

#: Below so many rows a loop is quicker than numpy.
FEW = 256

#: A series: a number, or a text where its rows are values.
Code = int | str

_ORDINAL = np.dtype("<i8")


def code_of(symbol: int, fold: int = 0, step: int = 0) -> int:
    """The number that stands for a series."""
    return (symbol << FOLD_BITS | fold) << STEP_BITS | step


def codes_of(rows: Rows) -> npt.NDArray[np.int64]:
    """The series of each row of columns."""
    symbols = rows["symbol"].astype(np.int64)
    folds = rows["fold"] if "fold" in (rows.dtype.names or ()) else 0
    return (symbols << FOLD_BITS | folds) << STEP_BITS


def codes_of_steps(rows: Sequence[StepRow]) -> list[int]:
    """The series of each row of an indicator."""
    return [code_of(row.symbol, row.fold, row.step) for row in rows]


def codes_of_values(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The series of rows given as values: means of the venue's own candles, tickers."""
    return [" ".join(str(row[name]) for name in ("symbol", "window_ms", "slide_ms") if name in row) for row in rows]


class Numbers:
    """How many rows each series has had so far."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[Code, int]] = defaultdict(dict)

    def number(self, channel: str, codes: Sequence[Code]) -> list[int]:
        """The numbers of the next rows of these series, in their order; numbers begin with 1."""
        counts = self.counts[channel]
        found = []
        for code in codes:
            counts[code] = number = counts.get(code, 0) + 1
            found.append(number)
        return found

    def add(self, channel: str, rows: Rows) -> Rows:
        """Columns with their numbers as one more field, ``seq``."""
        codes = codes_of(rows)
        if len(rows) < FEW:
            seq = np.array(self.number(channel, codes.tolist()), _ORDINAL)
        else:
            seq = self._many(channel, codes)
        return _with(rows, seq)

    def _many(self, channel: str, codes: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        counts = self.counts[channel]
        known, group, sizes = np.unique(codes, return_inverse=True, return_counts=True)
        had = np.array([counts.get(code, 0) for code in known.tolist()], _ORDINAL)
        order = np.argsort(group, kind="stable")
        first = np.cumsum(sizes) - sizes
        seq = np.empty(len(codes), _ORDINAL)
        seq[order] = np.arange(len(codes)) - np.repeat(first, sizes) + np.repeat(had, sizes) + 1
        counts.update(zip(known.tolist(), (had + sizes).tolist(), strict=True))
        return seq

    def state(self) -> dict[str, dict[Code, int]]:
        return {channel: dict(counts) for channel, counts in self.counts.items()}

    def restore(self, state: dict[str, dict[Code, int]]) -> None:
        self.counts = defaultdict(dict, {channel: dict(counts) for channel, counts in state.items()})


def _with(rows: Rows, seq: npt.NDArray[Any]) -> Rows:
    size = rows.dtype.itemsize
    both = np.empty((len(rows), size + 8), np.uint8)
    both[:, :size] = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), size)
    both[:, size:] = seq.view(np.uint8).reshape(len(rows), 8)
    return both.view(_numbered(rows.dtype)).ravel()


def _numbered(layout: np.dtype[Any]) -> np.dtype[Any]:
    made = _LAYOUTS.get(layout)
    if made is None:
        made = _LAYOUTS[layout] = np.dtype([*layout.descr, ("seq", "<i8")])
    return made


_LAYOUTS: dict[np.dtype[Any], np.dtype[Any]] = {}
