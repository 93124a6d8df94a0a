"""The venue's own candles, where our trades do not cover a window whole.

A kline push names its first and last trade id. If every id between was seen, the candle made from trades stands; if
not, the row of that window is the venue's newest push, with ``source`` venue, until the missing trades come. A kline
without ids (of a dump or a REST answer) stands in where it counts more trades than ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from tapeflow.domain.events import Kline
from tapeflow.domain.number import ratio
from tapeflow.engine.columns import CANDLE_ROW, NONE_TIME, Rows, words
from tapeflow.engine.snapshot import pack_state, unpack_state
from tapeflow.flow.nodes import Candles

#: Venue candles kept for one symbol and interval; the oldest go first.
KEPT = 4096
#: Rows given that are remembered live, where what the venue says of a window comes soon or never.
GIVEN_LIVE = 256

#: covers(symbol, first id, last id)
Covers = Callable[[int, int, int], bool]


class VenueCandles:
    """Keeps the newest push of each window of the flow's intervals, and puts it where trades are missing."""

    def __init__(
        self, candles: Sequence[Candles], covers: Covers, price_scale: int, size_scale: int, given: int = KEPT
    ) -> None:
        self._given_limit = given
        self._folds = {node.interval: fold for fold, node in enumerate(candles)}
        self._windows = [node.window for node in candles]
        self._sizes = [window.size_us for window in self._windows]
        self._covers = covers
        self._scales = (price_scale, size_scale)
        self._klines: dict[tuple[int, int], dict[int, Kline]] = {}
        self._packed: dict[tuple[int, int], bytes] = {}  # what a snapshot has of the candles, until one changes
        self._told: dict[tuple[int, int], dict[int, int]] = {}  # count of the candle of an answer given for a window
        self._given: dict[tuple[int, int], dict[int, tuple[int, int]]] = {}  # revision and count of each window's row

    def add(self, symbol: int, kline: Kline, ts_watermark: int) -> Rows:
        """Keep a push if it is the newest of its window; the row of the window that leaves, if the venue's stands."""
        fold = self._folds.get(kline.interval)
        if fold is None or not kline.count:
            return np.empty(0, CANDLE_ROW)
        kept = self._keep((symbol, fold), kline)
        if len(kept) <= KEPT:
            return np.empty(0, CANDLE_ROW)
        rows = self._stand_in((symbol, fold), min(kept), ts_watermark)
        del kept[min(kept)]
        return np.array(rows, CANDLE_ROW)

    def add_history(self, symbol: int, klines: Sequence[Kline], ts_watermark: int) -> Rows:
        """Keep candles of an answer; the rows of the closed ones that stand, there and then."""
        rows: list[Any] = []
        for kline in klines:
            fold = self._folds.get(kline.interval)
            if fold is None or not kline.count:
                continue
            kept = self._keep((symbol, fold), kline)
            told = self._told.setdefault((symbol, fold), {})
            if kline.closed and told.get(kline.ts_start) != kline.count:  # an answer may come again
                told[kline.ts_start] = kline.count
                rows += self._stand_in((symbol, fold), kline.ts_start, ts_watermark)
                if len(told) > KEPT:
                    del told[min(told)]
            if len(kept) > KEPT:
                del kept[min(kept)]
        return np.array(rows, CANDLE_ROW)

    def _keep(self, key: tuple[int, int], kline: Kline) -> dict[int, Kline]:
        """Keep a candle if it is the newest of its window; all that are kept."""
        kept = self._klines.setdefault(key, {})
        known = kept.get(kline.ts_start)
        if known is None or _order(kline) > _order(known):
            kept[kline.ts_start] = kline
            self._packed.pop(key, None)
        return kept

    def replace(self, rows: Rows) -> Rows:
        """The candle rows with the venue's values where our trades do not cover the window."""
        found = []
        names = ("symbol", "fold", "ts_start", "revision", "count")
        for i, (symbol, fold, ts_start, revision, count) in enumerate(
            zip(*(rows[name].tolist() for name in names), strict=True)
        ):
            given = self._given.setdefault((symbol, fold), {})
            given[ts_start] = (revision, count)
            if len(given) > self._given_limit:
                del given[next(iter(given))]  # the one that was given first
            kline = self._klines.get((symbol, fold), {}).get(ts_start) if self._klines else None
            if kline is not None and not self._is_covered(symbol, kline, count):
                found.append((i, kline))
        if not found:
            return rows
        rows = rows.copy()
        for i, kline in found:
            row = rows[i]
            closed = bool(row["closed"]) and kline.closed
            rows[i] = self._row(kline, row["symbol"], row["fold"], row["revision"], row["ts_watermark"], closed=closed)
        return rows

    def _is_covered(self, symbol: int, kline: Kline, count: int) -> bool:
        """True if our trades, ``count`` of them, are all that the venue's candle is made of."""
        if kline.first_id is None or kline.last_id is None:
            return count >= kline.count
        return self._covers(symbol, kline.first_id, kline.last_id)

    def stand_in(self, watermark: Callable[[int], int | None]) -> Rows:
        """Rows of all windows kept that our trades do not cover: the end of the input."""
        rows: list[Any] = []
        for key, kept in self._klines.items():
            ts_watermark = watermark(key[0])
            for ts_start in sorted(kept):
                rows += self._stand_in(key, ts_start, NONE_TIME if ts_watermark is None else ts_watermark)
        return np.array(rows, CANDLE_ROW)

    def _stand_in(self, key: tuple[int, int], ts_start: int, ts_watermark: int) -> list[Any]:
        symbol, fold = key
        kline = self._klines[key][ts_start]
        revision, count = self._given.get(key, {}).get(ts_start, (0, 0))
        if self._is_covered(symbol, kline, count):
            return []
        closed = kline.closed and (ts_watermark == NONE_TIME or kline.ts_event is None or kline.ts_end <= ts_watermark)
        return [self._row(kline, symbol, fold, revision, ts_watermark, closed=closed)]

    def _row(self, kline: Kline, symbol: int, fold: int, revision: int, ts_watermark: int, *, closed: bool) -> Any:
        price_scale, size_scale = self._scales
        vwap = ratio(kline.quote_volume, price_scale + size_scale, kline.volume, size_scale) if kline.volume else 0.0
        return (
            (symbol, fold, kline.ts_start, kline.ts_start + self._sizes[fold])
            + (kline.open, kline.high, kline.low, kline.close)
            + (*words(kline.volume), *words(kline.quote_volume), *words(kline.taker_buy_volume))
            + (kline.count, revision, ts_watermark, int(closed), vwap, 1, 1)
        )

    def lacking(self, symbol: int, ts_start: int, ts_end: int, ts_watermark: int) -> list[tuple[str, int, int]]:
        """(interval, start, end) of the closed windows that touch a span, where no closed candle of them is known."""
        found = []
        for interval, fold in self._folds.items():
            size, origin = self._windows[fold].size_us, self._windows[fold].origin_us
            start = ts_start - (ts_start - origin) % size
            end = min(ts_end - (ts_end - origin) % size + size, ts_watermark - (ts_watermark - origin) % size)
            kept = self._klines.get((symbol, fold), {})
            if end > start and not ((known := kept.get(start)) is not None and known.closed):
                found.append((interval, start, end))
        return found

    def forget(self, symbol: int) -> None:
        """The rows given of a symbol are void; what the venue says of it is not."""
        for rows in (self._given, self._told):
            for key in [key for key in rows if key[0] == symbol]:
                del rows[key]

    def state(self) -> bytes:
        for key, kept in self._klines.items():
            if key not in self._packed:
                self._packed[key] = pack_state(list(kept.values()))
        klines = [(*key, self._packed[key]) for key in self._klines]
        given = [(*key, rows) for key, rows in self._given.items()]
        return msgspec.msgpack.encode((klines, given, [(*key, rows) for key, rows in self._told.items()]))

    def restore(self, packed: bytes) -> None:
        klines, given, told = msgspec.msgpack.decode(packed, type=_State)
        for symbol, fold, of_key in klines:
            kept = msgspec.convert(unpack_state(of_key), list[Kline])
            self._klines[symbol, fold] = {kline.ts_start: kline for kline in kept}
            self._packed[symbol, fold] = of_key
        self._given = {(symbol, fold): rows for symbol, fold, rows in given}
        self._told = {(symbol, fold): rows for symbol, fold, rows in told}


#: Symbol, fold, and what is kept of its windows: candles, rows given, candles given.
_State = tuple[
    list[tuple[int, int, bytes]],
    list[tuple[int, int, dict[int, tuple[int, int]]]],
    list[tuple[int, int, dict[int, int]]],
]


def _order(kline: Kline) -> tuple[bool, int, int]:
    """The newest push: the closed one, then the later one, then the one with more trades."""
    return (kline.closed, kline.ts_event or 0, kline.count)
