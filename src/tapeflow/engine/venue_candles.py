"""The venue's own candles, where our trades do not cover a window whole.

A kline push names its first and last trade id. If every id between was seen, the candle made from trades stands; if
not, the row of that window is the venue's newest push, with ``source`` venue, until the missing trades come. A kline
without ids (of a dump or a REST answer) stands in where it counts more trades than ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from tapeflow.domain.events import Kline
from tapeflow.domain.number import ratio
from tapeflow.engine.columns import CANDLE_ROW, NONE_TIME, Rows, words
from tapeflow.flow.nodes import Candles

#: Venue candles kept for one symbol and interval; the oldest go first.
KEPT = 4096
#: Rows given that are remembered live, where what the venue says of a window comes soon or never.
GIVEN_LIVE = 256

#: So many of the newest windows are looked at for what the past lacks before the first trade: those of one answer.
PAGE = 1000

#: With more candles than these a key is packed as they come, not when a snapshot is due.
MANY = 100

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
        self._packed: dict[tuple[int, int], bytes] = {}  # candles and `_told` as a snapshot has them, until one changes
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
        for (_, fold), kline in self._told_of(symbol, klines):
            rows += self._stand_in((symbol, fold), kline.ts_start, ts_watermark)
        return np.array(rows, CANDLE_ROW)

    def tell(self, symbol: int, klines: Sequence[Kline]) -> list[Kline]:
        """Keep candles of an answer; the closed ones that were not told before, for whoever has the trades."""
        return [self._klines[key][kline.ts_start] for key, kline in self._told_of(symbol, klines)]

    def again(self, symbol: int) -> list[Kline]:
        """All closed candles of answers that are kept."""
        return [
            kept[ts_start]
            for key, kept in self._klines.items()
            if key[0] == symbol
            for ts_start in sorted(kept.keys() & self._told.get(key, {}).keys())
        ]

    def _told_of(self, symbol: int, klines: Sequence[Kline]) -> Iterator[tuple[tuple[int, int], Kline]]:
        """Keep the closed candles of an answer, and give each that says more than was told of its window.

        Nothing follows an open one, which would leave its window open for ever.
        """
        for kline in klines:
            fold = self._folds.get(kline.interval)
            if fold is None or not kline.count or not kline.closed:
                continue
            kept = self._keep((symbol, fold), kline)
            told = self._told.setdefault((symbol, fold), {})
            if told.get(kline.ts_start) != kline.count:  # an answer may come again
                told[kline.ts_start] = kline.count
                self._packed.pop((symbol, fold), None)
                yield (symbol, fold), kline
                if len(told) > KEPT:
                    del told[min(told)]
            if len(kept) > KEPT:
                del kept[min(kept)]
        for key in {(symbol, self._folds[kline.interval]) for kline in klines if kline.interval in self._folds}:
            if len(self._klines.get(key, ())) > MANY:
                self._pack(key)  # while it is at it: a snapshot must not hold up what is live

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
        """Rows of all windows kept that our trades do not cover: the end of the input. Those of answers had theirs."""
        rows: list[Any] = []
        for key, kept in self._klines.items():
            ts_watermark, told = watermark(key[0]), self._told.get(key, {})
            for ts_start in sorted(kept.keys() - told.keys()):
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

    def lacking(
        self, symbol: int, ts_start: int, ts_end: int, ts_watermark: int, *, is_first: bool
    ) -> list[tuple[str, int, int]]:
        """(interval, start, end) of the closed windows that touch a span, where no closed candle of them is known.

        Before the ``is_first`` span of a symbol there are no trades: what its past lacks there is lacking too.
        """
        found = []
        for interval, fold in self._folds.items():
            size, origin = self._windows[fold].size_us, self._windows[fold].origin_us
            start = ts_start - (ts_start - origin) % size
            end = min(ts_end - (ts_end - origin) % size + size, ts_watermark - (ts_watermark - origin) % size)
            kept = self._klines.get((symbol, fold), {})
            told = self._told.get((symbol, fold), {})
            if is_first and told:
                before = range(start - size, start - PAGE * size, -size)
                start = next((known + size for known in before if known in told), start)
            if end > start and not ((known := kept.get(start)) is not None and known.closed):
                found.append((interval, start, end))
        return found

    def forget(self, symbol: int) -> None:
        """The rows given of a symbol are void; what the venue says of it is not."""
        for rows in (self._given, self._told):
            for key in [key for key in rows if key[0] == symbol]:
                del rows[key]
                self._packed.pop(key, None)

    def state(self, pieces: list[bytes]) -> bytes:
        """The rows given; candles, and which of them were, are added to ``pieces`` in the order of their keys."""
        pieces.extend(map(self._pack, self._klines))
        given = [(*key, rows) for key, rows in self._given.items()]
        return msgspec.msgpack.encode((list(self._klines), given))

    def _pack(self, key: tuple[int, int]) -> bytes:
        """What a snapshot has of a key; the same object as long as nothing has changed."""
        packed = self._packed.get(key)
        if packed is None:
            packed = self._packed[key] = _pack(self._klines[key], self._told.get(key, {}))
        return packed

    def restore(self, packed: bytes, pieces: Iterator[memoryview]) -> None:
        keys, given = msgspec.msgpack.decode(packed, type=_State)
        for key in keys:
            of_key = self._packed[key] = bytes(next(pieces))
            self._klines[key], self._told[key] = _unpack(of_key)
        self._given = {(symbol, fold): rows for symbol, fold, rows in given}


def _pack(klines: dict[int, Kline], told: dict[int, int]) -> bytes:
    """Column by column: sums may be beyond 64 bits, which msgpack only has as text."""
    columns = list(zip(*map(msgspec.structs.astuple, klines.values()), strict=True))
    for at in _WIDE if columns else ():
        columns[at] = tuple(map(str, columns[at]))
    return msgspec.msgpack.encode((columns, told))


def _unpack(packed: bytes) -> tuple[dict[int, Kline], dict[int, int]]:
    columns, told = msgspec.msgpack.decode(packed, strict=False, type=tuple[list[list[Any]], dict[int, int]])
    for at in _WIDE if columns else ():
        columns[at] = list(map(int, columns[at]))
    klines = [Kline(*values) for values in zip(*columns, strict=True)]
    return {kline.ts_start: kline for kline in klines}, told


#: Where a `Kline` has its sums.
_WIDE = [at for at, field in enumerate(Kline.__struct_fields__) if "volume" in field]

#: Keys (symbol, fold) of candles, and the rows given of each key.
_State = tuple[list[tuple[int, int]], list[tuple[int, int, dict[int, tuple[int, int]]]]]


def _order(kline: Kline) -> tuple[bool, int, int]:
    """The newest push: the closed one, then the later one, then the one with more trades."""
    return (kline.closed, kline.ts_event or 0, kline.count)
