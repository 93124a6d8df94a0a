"""Windows: folds over event time per symbol, with revisions. The portable twin, and the runner of any fold.

Rules, the same in kernel/windows.c:

1. A window is closed when the symbol's watermark has reached its end. Watermarks come with the trades (each trade
   is stamped) and with `advance`; before a trade is added, all that its stamp closes is closed.
2. A closed window gives a row once. A trade that comes after gives, there and then, a revised row of each closed
   window that holds it; `revision` is the number of such trades.
3. What no trade within the horizon can reach any more is dropped, unless an open hole `hold`s it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import Any

from tapeflow.domain.candle import CandleFold, CandleState, MeanFold, StampedTrade
from tapeflow.domain.fold import Fold
from tapeflow.domain.window import Window
from tapeflow.engine.columns import (
    CANDLE_ROW,
    CANDLE_STATE,
    MEAN_ROW,
    NONE_TIME,
    PANE_STATE,
    pack,
    rows,
    wide,
    words,
)
from tapeflow.engine.intake import Intake

#: (end of the window, merged state, revision, watermark, closed)
WindowRow = tuple[int, Any, int, int, bool]


class Track:
    """One fold over one family of windows for one symbol."""

    def __init__(self, fold: Fold[Any, Any], window: Window) -> None:
        self.fold = fold
        self.window = window
        self.panes: dict[int, Any] = {}
        self.numbers: list[int] = []
        self.late: dict[int, int] = {}
        self.next_end: int | None = None

    def add(self, event: Any, ts: int, ts_watermark: int) -> Iterator[WindowRow]:
        """Add an event; the rows of the closed windows it revises."""
        self._put(self.window.pane(ts), event)
        for end in self.window.ends(ts):
            if end > ts_watermark:
                if self.next_end is None or end < self.next_end:
                    self.next_end = end
                return
            self.late[end] = self.late.get(end, 0) + 1
            yield from self._row(end, ts_watermark, closed=True)

    def _put(self, number: int, event: Any) -> None:
        state = self.panes.get(number)
        if number not in self.panes:
            insort(self.numbers, number)
            state = self.fold.zero()
        self.panes[number] = self.fold.add(state, event)

    def close(self, ts_watermark: int) -> Iterator[WindowRow]:
        """The rows of the windows that the watermark has reached."""
        while self.next_end is not None and self.next_end <= ts_watermark:
            yield from self._row(self.next_end, ts_watermark, closed=True)
            self.next_end = self._after(self.next_end)

    def forming(self, ts_watermark: int) -> Iterator[WindowRow]:
        """The rows of the windows still open."""
        end = self.next_end
        while end is not None:
            yield from self._row(end, ts_watermark, closed=False)
            end = self._after(end)

    def _row(self, end: int, ts_watermark: int, *, closed: bool) -> Iterator[WindowRow]:
        first, last = self.window.pane(end - self.window.size_us), self.window.pane(end)
        state, found = self.fold.zero(), False
        at = bisect_left(self.numbers, first)
        while at < len(self.numbers) and self.numbers[at] < last:
            state, found = self.fold.merge(state, self.panes[self.numbers[at]]), True
            at += 1
        if found:
            yield (end, state, self.late.get(end, 0), ts_watermark, closed)

    def _after(self, end: int) -> int | None:
        """End of the next window that holds an event."""
        following = end + self.window.slide_us
        at = bisect_left(self.numbers, self.window.pane(following - self.window.size_us))
        if at == len(self.numbers):
            return None
        start = self.numbers[at] * self.window.pane_us + self.window.origin_us
        return max(following, self.window.first_end(start))

    def prune(self, reach: int) -> None:
        """Drop what only windows ending at or before ``reach`` need, if that is half of what is kept."""
        oldest = (
            self.window.pane(reach - self.window.size_us) if not self.window.is_tumbling else self.window.pane(reach)
        )
        half = len(self.numbers) // 2
        if len(self.numbers) < 64 or self.numbers[half] >= oldest:
            return
        gone = bisect_left(self.numbers, oldest)
        for number in self.numbers[:gone]:
            del self.panes[number]
        del self.numbers[:gone]
        self.late = {end: late for end, late in self.late.items() if end > reach}


class Windows:
    """Candles and sliding means of all symbols; ``candles`` and ``means`` are (size, slide, origin, pane)."""

    def __init__(
        self,
        candles: Sequence[tuple[int, int, int, int]],
        means: Sequence[tuple[int, int, int, int]],
        horizon_us: int,
        *,
        keep_holes: bool = False,
    ) -> None:
        self._horizon_us = horizon_us
        self._first_hold = NONE_TIME if keep_holes else 2**63 - 1
        self._candle_fold = CandleFold()
        self._mean_fold = MeanFold()
        self._candles = [Window(size, slide, origin) for size, slide, origin, _ in candles]
        self._means = [Window(size, slide, origin) for size, slide, origin, _ in means]
        self._keys: dict[int, _Key] = {}
        self._candle_rows: list[tuple[Any, ...]] = []
        self._mean_rows: list[tuple[Any, ...]] = []

    def add(self, intake: Intake) -> int:
        """Fold the trades that wait in an Intake; how many rows wait, there and here."""
        for trade in intake.to_fold():
            key = self._key(trade.symbol)
            stamp = NONE_TIME if trade.ts_watermark is None else trade.ts_watermark
            if stamp > key.ts_watermark:
                self._close(trade.symbol, key, stamp)
            self._add(trade, key)
        return self._waiting() + intake.waiting()

    def _key(self, symbol: int) -> _Key:
        key = self._keys.get(symbol)
        if key is None:
            candles = [Track(self._candle_fold, window) for window in self._candles]
            means = [Track(self._mean_fold, window) for window in self._means]
            key = self._keys[symbol] = _Key(candles, means, self._first_hold)
        return key

    def _add(self, trade: StampedTrade, key: _Key) -> None:
        for fold, track in enumerate(key.candles):
            for row in track.add(trade, trade.ts_event, key.ts_watermark):
                self._candle_row(trade.symbol, fold, row)
        for fold, track in enumerate(key.means):
            for row in track.add(trade, trade.ts_event, key.ts_watermark):
                self._mean_row(trade.symbol, fold, row)

    def _close(self, symbol: int, key: _Key, ts_watermark: int) -> None:
        key.ts_watermark = ts_watermark
        for fold, track in enumerate(key.candles):
            for row in track.close(ts_watermark):
                self._candle_row(symbol, fold, row)
        for fold, track in enumerate(key.means):
            for row in track.close(ts_watermark):
                self._mean_row(symbol, fold, row)
        for track in (*key.candles, *key.means):
            track.prune(min(ts_watermark - self._horizon_us, key.hold))

    def hold(self, intake: Intake) -> None:
        """Keep from now on what the open holes of an Intake may still change."""
        for symbol, key in self._keys.items():
            key.hold = intake.hold(symbol)

    def advance(self, intake: Intake) -> int:
        """Close what the Intake's clock allows; how many rows wait."""
        for symbol, key in sorted(self._keys.items()):
            ts_watermark = intake.watermark(symbol)
            if ts_watermark is not None and ts_watermark > key.ts_watermark:
                self._close(symbol, key, ts_watermark)
        return self._waiting()

    def forming(self, only: int = -1) -> int:
        """Give a row of every window still open, or of those of one symbol; how many rows wait."""
        for symbol, key in sorted(self._keys.items()):
            if only >= 0 and symbol != only:
                continue
            for fold, track in enumerate(key.candles):
                for row in track.forming(key.ts_watermark):
                    self._candle_row(symbol, fold, row)
            for fold, track in enumerate(key.means):
                for row in track.forming(key.ts_watermark):
                    self._mean_row(symbol, fold, row)
        return self._waiting()

    def _waiting(self) -> int:
        return len(self._candle_rows) + len(self._mean_rows)

    def _candle_row(self, symbol: int, fold: int, row: WindowRow) -> None:
        end, state, revision, ts_watermark, closed = row
        values = self._candle_fold.finish(state)
        exact = values["vwap"] is not None
        self._candle_rows.append(
            (symbol, fold, end - self._candles[fold].size_us, end)
            + (values["open"], values["high"], values["low"], values["close"])
            + (*words(state.volume), *words(state.quote_volume), *words(state.taker_buy_volume))
            + (state.count, revision, ts_watermark, int(closed), values["vwap"] if exact else 0.0, int(exact), 0)
        )

    def _mean_row(self, symbol: int, fold: int, row: WindowRow) -> None:
        end, state, revision, ts_watermark, closed = row
        mean = self._mean_fold.finish(state)["mean"]
        start = end - self._means[fold].size_us
        self._mean_rows.append((symbol, fold, start, end, state[1], revision, ts_watermark, int(closed), mean))

    def take_candles(self) -> bytes:
        packed, self._candle_rows = pack(self._candle_rows, CANDLE_ROW), []
        return packed

    def take_means(self) -> bytes:
        packed, self._mean_rows = pack(self._mean_rows, MEAN_ROW), []
        return packed

    def forget(self, symbol: int) -> None:
        self._keys.pop(symbol, None)

    def state(self) -> list[tuple[int, int, list[tuple[int, bytes]], list[tuple[int, bytes]]]]:
        """The state as a value, in the kernel's own form, so that either restores the other's."""
        return [
            (
                symbol,
                key.ts_watermark,
                [_candle_state(track, key.ts_watermark) for track in key.candles],
                [_mean_state(track) for track in key.means],
            )
            for symbol, key in sorted(self._keys.items())
        ]

    def restore(self, state: list[tuple[int, int, list[tuple[int, bytes]], list[tuple[int, bytes]]]]) -> None:
        for symbol, ts_watermark, candles, means in state:
            if len(candles) != len(self._candles) or len(means) != len(self._means):
                raise ValueError("the snapshot is of other windows")
            key = self._key(symbol)
            key.ts_watermark = ts_watermark
            for track, (closed, packed) in zip(key.candles, candles, strict=True):
                _restore_candles(track, closed, packed)
            for track, (next_end, packed) in zip(key.means, means, strict=True):
                _restore_means(track, next_end, packed)


class _Key:
    def __init__(self, candles: list[Track], means: list[Track], hold: int) -> None:
        self.ts_watermark = NONE_TIME
        self.hold = hold
        self.candles = candles
        self.means = means


def _candle_state(track: Track, ts_watermark: int) -> tuple[int, bytes]:
    size, origin = track.window.size_us, track.window.origin_us
    values, closed = [], 0
    for number in track.numbers:
        state: CandleState = track.panes[number]
        start = number * size + origin
        closed += start + size <= ts_watermark
        ticks = (*state.open, *state.close, *state.coarse_open, *state.coarse_close)
        totals = (*words(state.volume), *words(state.quote_volume), *words(state.taker_buy_volume))
        late = track.late.get(start + size, 0)
        flags = int(state.coarse) | int(state.overflow) << 1
        values.append((start, state.count, late, state.high, state.low, *totals, *ticks, flags))
    return closed, pack(values, CANDLE_STATE)


def _restore_candles(track: Track, closed: int, packed: bytes) -> None:
    for start, count, late, high, low, *rest in rows(packed, CANDLE_STATE).tolist():
        number = track.window.pane(start)
        end = start + track.window.size_us
        volume, quote_volume, taker_buy_volume = (wide(*rest[i : i + 2]) for i in (0, 2, 4))
        opened, closed_at, coarse_open, coarse_close = (tuple(rest[i : i + 3]) for i in (6, 9, 12, 15))
        flags = rest[18]
        track.numbers.append(number)
        track.panes[number] = CandleState(
            count,
            high,
            low,
            volume,
            quote_volume,
            taker_buy_volume,
            opened,
            closed_at,
            coarse_open,
            coarse_close,
            bool(flags & 1),
            bool(flags & 2),
        )
        if late:
            track.late[end] = late
    if closed < len(track.numbers):
        track.next_end = track.numbers[closed] * track.window.size_us + track.window.origin_us + track.window.size_us


def _mean_state(track: Track) -> tuple[int, bytes]:
    window = track.window
    panes = dict.fromkeys(track.numbers, 0)
    panes.update({window.pane(end) - 1: late for end, late in track.late.items()})
    values = []
    for number, late in sorted(panes.items()):
        total, count = track.panes.get(number, (0, 0))
        values.append((number, count, *words(total), late))
    return 2**63 - 1 if track.next_end is None else track.next_end, pack(values, PANE_STATE)


def _restore_means(track: Track, next_end: int, packed: bytes) -> None:
    for number, count, lo, hi, late in rows(packed, PANE_STATE).tolist():
        if count:
            track.numbers.append(number)
            track.panes[number] = (wide(lo, hi), count)
        if late:
            track.late[(number + 1) * track.window.pane_us + track.window.origin_us] = late
    track.next_end = None if next_end == 2**63 - 1 else next_end
