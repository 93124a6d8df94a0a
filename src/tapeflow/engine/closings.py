"""When the windows of a flow close, said among the events: so that an engine elsewhere needs no clock of its own.

A `time` row of a symbol stands for the instant at which one of its windows that holds an on-time event closes: the
symbol's watermark has reached the end. It stands before the first event that is stamped with a watermark at or beyond
that instant. So whoever reads the rows of a symbol in order knows of each window when it is complete, and what comes
after is a revision. One more stands for the second that begins after the stamp of an event which came after the end of
a window: what follows from late events is computed again then, also where the symbol has nothing else to say. The rows
are a function of the events and their stamps, whatever the batches are.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tapeflow.domain.time import SECOND
from tapeflow.domain.window import Window
from tapeflow.engine.columns import NONE_TIME


class Closings:
    """The ends of windows that wait for the watermark, by symbol."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = sorted(set(windows), key=lambda window: window.pane_us)
        self._grids = [(window, window.origin_us, window.pane_us) for window in self._windows]
        self._grid = math.gcd(*(pane_us for _, _, pane_us in self._grids)) if self._windows else 0
        #: Whether the panes of all windows after this one are made of its own: as long as it stays in one, so do they.
        self._is_fine = [_is_fine(window, self._windows[at + 1 :]) for at, window in enumerate(self._windows)]
        self._waiting: dict[int, list[int]] = {}
        #: The pane of each window that the last event of a symbol was in.
        self._panes: dict[int, list[int | None]] = {}

    def add(
        self,
        symbols: npt.NDArray[np.int64],
        ts_event: npt.NDArray[np.int64],
        stamps: npt.NDArray[np.int64],
        watermarks: Mapping[int, int],
    ) -> list[tuple[int, int, int]]:
        """Take events in order, then the watermarks as they stand after them: (place, symbol, instant) of each row.

        For one without a time (`NONE_TIME`) no window waits.

        A row stands before the event at its place; those at the end have the place after the last event.
        """
        if not self._grid:
            return []
        found: list[tuple[int, int, int]] = []
        order = np.argsort(symbols, kind="stable")
        for at in np.split(order, np.flatnonzero(np.diff(symbols[order])) + 1) if len(order) else ():
            self._events(int(symbols[at[0]]), at, ts_event[at], stamps[at], found)
        end = len(symbols)
        for symbol, waiting in self._waiting.items():
            ts_watermark = watermarks.get(symbol, NONE_TIME)
            if waiting and waiting[0] <= ts_watermark:
                self._reached(symbol, ts_watermark, end, found)
        found.sort()
        return found

    def _events(
        self,
        symbol: int,
        at: npt.NDArray[np.int64],
        ts_event: npt.NDArray[np.int64],
        stamps: npt.NDArray[np.int64],
        found: list[tuple[int, int, int]],
    ) -> None:
        """Only an event in another pane, or with a stamp in another one or another second, than the one before it can
        change anything."""
        panes, reached, seconds = ts_event // self._grid, stamps // self._grid, stamps // SECOND
        fresh = np.ones(len(at), bool)
        fresh[1:] = (panes[1:] != panes[:-1]) | (reached[1:] != reached[:-1]) | (seconds[1:] != seconds[:-1])
        for i in np.flatnonzero(fresh).tolist():
            stamp = int(stamps[i])
            self._reached(symbol, stamp, int(at[i]), found)
            self._wait(symbol, int(ts_event[i]), stamp)

    def _reached(self, symbol: int, ts_watermark: int, place: int, found: list[tuple[int, int, int]]) -> None:
        waiting = self._waiting.get(symbol)
        if waiting and waiting[0] <= ts_watermark:
            gone = bisect_left(waiting, ts_watermark + 1)
            found.extend((place, symbol, instant) for instant in waiting[:gone])
            del waiting[:gone]

    def _wait(self, symbol: int, ts_event: int, stamp: int) -> None:
        if ts_event == NONE_TIME:
            return
        waiting = self._waiting.setdefault(symbol, [])
        if ts_event < stamp and any(window.first_end(ts_event) <= stamp for window in self._windows):
            _insert(waiting, stamp // SECOND * SECOND + SECOND)
        panes = self._panes.setdefault(symbol, [None] * len(self._windows))
        for at, (window, origin_us, pane_us) in enumerate(self._grids):
            pane = (ts_event - origin_us) // pane_us
            if pane == panes[at]:  # the same windows as of the event before, which wait or are closed
                if self._is_fine[at]:
                    break
                continue
            panes[at] = pane
            for end in window.ends(ts_event):
                if end > stamp:
                    _insert(waiting, end)

    def state(self) -> list[tuple[int, list[int]]]:
        """The state as a value."""
        return [(symbol, list(waiting)) for symbol, waiting in self._waiting.items() if waiting]

    def restore(self, state: Sequence[tuple[int, Sequence[int]]]) -> None:
        self._waiting = {symbol: list(waiting) for symbol, waiting in state}
        self._panes = {}


def _is_fine(window: Window, others: Sequence[Window]) -> bool:
    """Whether the panes of all others are whole numbers of this one's."""
    size = window.pane_us
    return all(not other.pane_us % size and not (other.origin_us - window.origin_us) % size for other in others)


def _insert(waiting: list[int], instant: int) -> None:
    """Each instant once, in order."""
    place = bisect_left(waiting, instant)
    if place == len(waiting) or waiting[place] != instant:
        waiting.insert(place, instant)
