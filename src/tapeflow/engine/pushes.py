"""Pushes of the venue's candles as a bus has them: each once, stamped, with the closing of windows among them.

The rules are those of `engine.klines`, which computes with pushes where they come in: one is known by its interval and
event time, and what comes after the horizon changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tapeflow.domain.window import Window
from tapeflow.engine.closings import Closings
from tapeflow.engine.columns import NONE_TIME
from tapeflow.engine.klines import SEEN

Row = dict[str, Any]


class Pushes:
    """Takes rows of the channel ``klines`` and gives those that go on, with `time` rows before those that they precede.

    Candles of an answer of the venue have no time of their push: they pass as they are.
    """

    def __init__(self, windows: Sequence[Window], horizon_us: int) -> None:
        self._closings = Closings(windows)
        self._horizon_us = horizon_us
        self._seen: dict[int, set[tuple[int, str]]] = {}
        self.late = 0

    def add(self, rows: Sequence[Row], numbers: Mapping[str, int], watermarks: Mapping[int, int]) -> list[Row]:
        """The rows in order; ``watermarks`` by symbol as they stand after them, ``numbers`` those of the symbols."""
        kept = [row for row in rows if self._is_new(row, numbers[row["symbol"]])]
        pushed = [row for row in kept if row["ts_event"] is not None]
        columns = (
            [numbers[row["symbol"]] for row in pushed],
            [row["ts_event"] for row in pushed],
            [NONE_TIME if row["ts_watermark"] is None else row["ts_watermark"] for row in pushed],
        )
        names = {number: name for name, number in numbers.items()}
        symbols, times, stamps = (np.array(column, np.int64) for column in columns)
        marks = self._closings.add(symbols, times, stamps, watermarks)
        return list(_merged(kept, pushed, [(place, names[symbol], instant) for place, symbol, instant in marks]))

    def _is_new(self, row: Row, symbol: int) -> bool:
        ts_event, stamp = row["ts_event"], row["ts_watermark"]
        if ts_event is None:
            return True
        reach = NONE_TIME if stamp is None else stamp - self._horizon_us
        if ts_event < reach:
            self.late += 1
            return False
        seen, key = self._seen.setdefault(symbol, set()), (ts_event, row["interval"])
        if key in seen:
            return False
        seen.add(key)
        if len(seen) > SEEN:
            self._seen[symbol] = {known for known in seen if known[0] >= reach}
        return True

    def state(self) -> tuple[list[tuple[int, list[int]]], list[tuple[int, list[tuple[int, str]]]]]:
        """The state as a value."""
        return self._closings.state(), [(symbol, sorted(seen)) for symbol, seen in self._seen.items()]

    def restore(
        self, closings: Sequence[tuple[int, Sequence[int]]], seen: Sequence[tuple[int, Sequence[tuple[int, str]]]]
    ) -> None:
        self._closings.restore(closings)
        self._seen = {symbol: set(keys) for symbol, keys in seen}


def _merged(kept: Sequence[Row], pushed: Sequence[Row], marks: Sequence[tuple[int, str, int]]) -> list[Row]:
    """The rows with `time` rows in their places among those that were pushed."""
    made: list[Row] = []
    at = place = 0
    for row in kept:
        while place < len(pushed) and row is pushed[place] and at < len(marks) and marks[at][0] <= place:
            made.append(_time(*marks[at][1:]))
            at += 1
        place += place < len(pushed) and row is pushed[place]
        made.append(row)
    return made + [_time(*mark[1:]) for mark in marks[at:]]


def _time(symbol: str, instant: int) -> Row:
    return {"symbol": symbol, "ts_watermark": instant}
