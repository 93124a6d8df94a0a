"""The way out of an engine: packed columns of the kernel become rows of the channels a sink wants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import msgspec
import numpy as np

from tapeflow.domain.events import Kline
from tapeflow.domain.number import ratio
from tapeflow.engine import columns
from tapeflow.engine.columns import BookRows, Rows, time_or_none
from tapeflow.engine.coverage import late_row
from tapeflow.engine.custom import CustomFolds
from tapeflow.engine.indicators import Stage
from tapeflow.engine.results import VENUE_CANDLES, Sink
from tapeflow.engine.venue_candles import VenueCandles
from tapeflow.venues import Venue

Watermark = Callable[[int], int | None]


class Outlet:
    """Gives results to a sink: only those of ``channels``; candles pass the venue's stand-ins and then the steps.

    With ``tells`` candles are computed elsewhere: the venue's own of answers are given as they come.
    """

    def __init__(
        self,
        sink: Sink,
        channels: Collection[str],
        *,
        stage: Stage,
        venue_candles: VenueCandles | None,
        custom: CustomFolds,
        name_of: Callable[[int], str],
        tells: bool = False,
    ) -> None:
        self._tells = tells
        self._sink = sink
        self._channels = channels
        self._stage = stage
        self._venue_candles = venue_candles
        self._custom = custom
        self._name_of = name_of
        self._books: dict[int, BookRows] = {}  # the newest of each symbol, to be shown on request
        self._tickers: dict[str, dict[str, dict[str, Any]]] = {}
        self._late: dict[int, tuple[int, int, int, int]] = {}  # times and ids of late trades, least and greatest

    def rows(self, channel: str, rows: list[dict[str, Any]]) -> None:
        """Rows of values."""
        if rows and channel in self._channels:
            self._sink.rows(channel, rows)
            if channel == "tickers":
                for row in rows:
                    self._tickers.setdefault(row["symbol"], {})[row["kind"]] = row

    def trades(self, packed: bytes) -> None:
        """`TRADE` columns: to their channel, and through the folds of the user's own."""
        trades = columns.rows(packed, columns.TRADE)
        if not len(trades):
            return
        if "trades" in self._channels:
            self._sink.columns("trades", trades)
        if self._custom:
            self.custom(self._custom.add(trades))

    def custom(self, rows: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """(channel, row) of folds of the user's own."""
        for channel, row in rows:
            self.rows(channel, [row])

    def windows(self, candles: bytes, means: bytes) -> None:
        """`CANDLE_ROW` and `MEAN_ROW` columns."""
        rows = columns.rows(candles, columns.CANDLE_ROW)
        self.candles(rows if self._venue_candles is None else self._venue_candles.replace(rows))
        rows = columns.rows(means, columns.MEAN_ROW)
        if len(rows):
            self._sink.columns("moving_average", rows)

    def klines(self, klines: list[Kline], at: int | None, venue: Venue, ts_watermark: int | None = None) -> None:
        """Pushes of the venue's own candles, with their symbol's watermark as it stood, or an answer of them."""
        if "klines" in self._channels:
            extra = {"source": "venue", "revision": 0, "ts_recv": at, "ts_watermark": ts_watermark}
            rows = [msgspec.structs.asdict(kline) | extra | {"vwap": _vwap(kline, venue)} for kline in klines]
            self._sink.rows("klines", rows)

    def kline(self, number: int, kline: Kline, ts_watermark: int) -> None:
        """A push of the venue's own candle."""
        if self._venue_candles is not None and not self._tells:
            self.candles(self._venue_candles.add(number, kline, ts_watermark))

    def history(self, number: int, klines: list[Kline], venue: Venue, ts_watermark: int | None) -> None:
        """Candles of an answer stand in at once for windows that our trades do not cover."""
        if self._venue_candles is None:
            return
        if not self._tells:
            self.candles(self._venue_candles.add_history(number, klines, time_or_none(ts_watermark)))
        elif told := self._venue_candles.tell(number, klines):
            self._sink.rows(VENUE_CANDLES, [_told(kline, venue, ts_watermark) for kline in told])

    def tell_again(self, number: int, venue: Venue, ts_watermark: int | None) -> None:
        """Give the candles of answers once more."""
        if self._venue_candles is not None and (told := self._venue_candles.again(number)):
            self._sink.rows(VENUE_CANDLES, [_told(kline, venue, ts_watermark) for kline in told])

    def lacking(
        self, number: int, ts_start: int, ts_end: int, ts_watermark: int, *, is_first: bool
    ) -> list[tuple[str, int, int]]:
        """(interval, start, end) of the closed windows about a time without trades whose venue candle is not known."""
        known = self._venue_candles
        return [] if known is None else known.lacking(number, ts_start, ts_end, ts_watermark, is_first=is_first)

    def candles(self, rows: Rows) -> None:
        """Candle rows as they go out, and the rows of the steps on them."""
        if len(rows):
            self._sink.columns("candles", rows)
            self._steps(self._stage.add(rows))

    def _steps(self, rows: list[Any]) -> None:
        if rows:
            self._sink.steps(rows)

    def quotes(self, packed: bytes) -> None:
        """`QUOTE` columns."""
        rows = columns.rows(packed, columns.QUOTE)
        if len(rows):
            self._sink.columns("quotes", rows)

    def newest_quotes(self, packed: bytes) -> None:
        """`QUOTE` columns, one for each symbol, of id 0 where there is none."""
        rows = columns.rows(packed, columns.QUOTE)
        self._sink.columns("quotes.latest", rows[rows["id"] > 0])

    def books(self, rows: bytes, levels: bytes) -> None:
        """`BOOK_ROW` and `LEVEL` columns."""
        if rows and "book" in self._channels:
            found = BookRows(columns.rows(rows, columns.BOOK_ROW), columns.rows(levels, columns.LEVEL))
            self._sink.books(found)
            for number, at in zip(*np.unique(found.rows["symbol"][::-1], return_index=True), strict=True):
                self._books[int(number)] = found.only(len(found) - 1 - int(at))

    def newest(self, number: int, symbol: str, channel: str, sink: Sink) -> None:
        """The newest book, or the newest ticker of each kind, of a symbol."""
        if channel == "book" and number in self._books:
            sink.books(self._books[number])
        elif channel == "tickers" and symbol in self._tickers:
            sink.rows("tickers", [dict(row) for row in self._tickers[symbol].values()])

    def forming(self, candles: Rows, means: Rows, sink: Sink, with_steps: Collection[int]) -> None:
        """Rows of windows still open, and what steps would give for those ``with_steps``, to another sink."""
        if len(candles):
            sink.columns("candles", candles)
            sink.steps(self._stage.peek(candles, with_steps))
        if len(means):
            sink.columns("moving_average", means)

    def late(self, packed: bytes) -> int:
        """`TRADE` columns of trades beyond the horizon; how many."""
        rows = columns.rows(packed, columns.TRADE)
        if len(rows):
            for number in np.unique(rows["symbol"]).tolist():
                self._late[number] = _widest(self._late.get(number), rows[rows["symbol"] == number])
            self._sink.columns("late", rows)
        return len(rows)

    def late_coverage(self) -> list[dict[str, Any]]:
        """Coverage rows of what came too late."""
        return [late_row(self._name_of(number), *late) for number, late in self._late.items()]

    def hold(self, holds: list[int]) -> None:
        """Keep what changes after these times, one for each symbol, may still reach."""
        self._stage.hold(holds)
        self._custom.hold(holds)

    def tick(self, watermark: Watermark) -> None:
        """Steps that were revised are recomputed, at most once a second of their symbol's watermark."""
        self._steps(self._stage.tick_all(watermark))

    def settle(self, numbers: Iterable[int], watermark: Watermark) -> None:
        """What the final watermarks allow: folds closed, the venue's stand-ins given, steps brought up to date."""
        for number in numbers:
            ts_watermark = watermark(number)
            self.custom(self._custom.advance(number, time_or_none(ts_watermark)))
        if self._venue_candles is not None and not self._tells:
            self.candles(self._venue_candles.stand_in(watermark))
        self._steps(self._stage.settle())

    def retract(self, number: int) -> None:
        """All that was derived from the trades of a symbol is void."""
        self._stage.forget(number)
        self._custom.forget(number)
        if self._venue_candles is not None:
            self._venue_candles.forget(number)
        self._sink.retract(self._name_of(number))

    def state(self, pieces: list[bytes]) -> dict[str, Any]:
        """The state; what of it is large is added to ``pieces``."""
        return {
            "stage": self._stage.state(pieces),
            "venue_candles": b"" if self._venue_candles is None else self._venue_candles.state(pieces),
            "custom": self._custom.state(),
            "late": [(number, *late) for number, late in self._late.items()],
        }

    def restore(self, state: dict[str, Any], pieces: Iterator[memoryview]) -> None:
        self._stage.restore(state["stage"], pieces)
        if self._venue_candles is not None:
            self._venue_candles.restore(state["venue_candles"], pieces)
        self._custom.restore(state["custom"])
        self._late = {number: (a, b, c, d) for number, a, b, c, d in state["late"]}


def _told(kline: Kline, venue: Venue, ts_watermark: int | None) -> dict[str, Any]:
    return msgspec.structs.asdict(kline) | {"vwap": _vwap(kline, venue) or 0.0, "ts_watermark": ts_watermark}


def _vwap(kline: Kline, venue: Venue) -> float | None:
    if not kline.volume:
        return None
    return ratio(kline.quote_volume, venue.price_scale + venue.size_scale, kline.volume, venue.size_scale)


def _widest(known: tuple[int, int, int, int] | None, late: Rows) -> tuple[int, int, int, int]:
    ts, first, last = late["ts_event"], late["first_id"], late["last_id"]
    found = (int(ts.min()), int(ts.max()), int(first.min()), int(last.max()))
    if known is None:
        return found
    return (min(known[0], found[0]), max(known[1], found[1]), min(known[2], found[2]), max(known[3], found[3]))
