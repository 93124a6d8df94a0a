"""The embedded engine: frames in, results out, in one process and without I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from tapeflow.domain.book import OrderBook
from tapeflow.domain.candle import NOTIONAL_LIMIT
from tapeflow.domain.errors import SnapshotError
from tapeflow.domain.events import (
    BookDelta,
    BookSnapshot,
    Event,
    Gap,
    Kline,
    Quarantine,
    Quote,
    Status,
    Ticker,
    Trade,
)
from tapeflow.engine import columns, intake, windows
from tapeflow.engine.columns import NONE_TIME
from tapeflow.engine.frames import Frames
from tapeflow.engine.indicators import Stage
from tapeflow.engine.klines import KlineMeans
from tapeflow.engine.results import Sink
from tapeflow.flow.nodes import BookTop, Candles, Flow, Indicator, Mean
from tapeflow.venues import Venue

try:
    from tapeflow.engine import _kernel
except ImportError:  # the package was built where nothing compiles
    _kernel = None  # type: ignore[assignment]

#: Trades and quotes wait in columns until there are so many, or until someone asks.
WAITING_LIMIT = 1 << 16

#: Reasons of quarantine that show a message was understood.
READABLE = frozenset({"unsupported_market", "overlapping_ids", "number_too_large", "unattributable"})


class Counts(msgspec.Struct):
    """What an engine has met so far."""

    frames: int = 0
    answers: int = 0
    events: int = 0
    quarantined: int = 0
    duplicates: int = 0
    ignored_aggregates: int = 0
    unknown_fields: int = 0
    late: int = 0
    gaps: int = 0


class Engine:
    """Runs a flow over frames of one venue. The same frames give the same rows whatever the batches are.

    ``compiled`` picks the kernel (None: where there is one). Both give the same bytes; the tests say so.
    """

    def __init__(self, flow: Flow, venue: Venue, sink: Sink, *, compiled: bool | None = None) -> None:
        self.flow = flow
        self.venue = venue
        self.sink = sink
        self.counts = Counts()
        #: Frames so far that no codec could make sense of.
        self.unreadable = 0
        self._compiled = _kernel is not None if compiled is None else compiled
        kernel = _kernel if self._compiled else None
        self._channels = set(flow.channels)
        self._intake = (kernel or intake).Intake(
            lateness_us=flow.lateness_us,
            horizon_us=flow.horizon_us,
            delay_us=venue.usual_delay_us,
            range_limit=flow.range_limit,
            keep_quotes="quotes" in self._channels,
        )
        candles: list[Candles] = list(flow.of(Candles))
        means: list[Mean] = [node for node in flow.of(Mean) if node.input == "trades"]
        self._windows = (kernel or windows).Windows(
            candles=[_layout(node) for node in candles],
            means=[_layout(node) for node in means],
            horizon_us=flow.horizon_us,
        )
        self._has_windows = bool(candles or means)
        self._stage = Stage(candles, list(flow.of(Indicator)), venue.price_scale, flow.horizon_us, self._name)
        self._kline_means = KlineMeans([n for n in flow.of(Mean) if n.input == "klines"], flow, venue.price_scale)
        self._depth = max((node.depth for node in flow.of(BookTop)), default=0)
        self._books: dict[str, OrderBook] = {}
        self._names: list[str] = []

    def _name(self, number: int) -> str:
        if number >= len(self._names):
            self._names = self._intake.symbols()
        return self._names[number]

    @property
    def symbols(self) -> list[str]:
        """The symbols by their numbers in columns."""
        return self._intake.symbols()

    # -- frames in ---------------------------------------------------------------------------------------

    def feed(self, frames: Frames, start: int = 0, stop: int | None = None) -> None:
        """Take frames ``start..stop``; what they close is given to the sink before this returns."""
        stop = len(frames) if stop is None else stop
        at = start
        while at < stop:
            if not frames.requests:
                at = self._intake.read(frames.buffer, frames.packed, at, stop)
                if at == stop:
                    break
            self._receive(frames, at)
            at += 1
        self.counts.frames += stop - start
        self._fold()

    def _fold(self) -> None:
        waiting = self._windows.add(self._intake) if self._has_windows else 0
        if "trades" in self._channels:
            self._give_trades()
        else:
            self._intake.clear_trades()
        if waiting:
            self._give_windows()

    def _receive(self, frames: Frames, i: int) -> None:
        """A frame that the compiled reader left to the codec."""
        at, request = frames.ts_recv(i), frames.requests.get(i)
        self._intake.clock(at)
        if request is not None:
            self.counts.answers += 1
            self.counts.frames -= 1
        for output in self.venue.receive(frames[i], at, request):
            if isinstance(output, Quarantine):
                self._quarantine(frames, i, output)
            elif isinstance(output, Event):
                self._event(output, at, frames, i)

    def _quarantine(self, frames: Frames, i: int, found: Quarantine) -> None:
        self.counts.quarantined += 1
        self.unreadable += found.reason not in READABLE
        row = {
            "ts_recv": frames.ts_recv(i),
            "connection": frames.connection,
            "reason": found.reason,
            "frame": frames[i],
        }
        self.sink.rows("quarantine", [row])

    def _event(self, event: Event, at: int | None, frames: Frames, i: int) -> None:
        match event:
            case Trade():
                self._trade(event, at, frames, i)
            case Quote():
                self._quote(event, at)
            case BookDelta() | BookSnapshot():
                self._touch(event.symbol, event.ts_event, at)
                self._book(event, at)
            case Kline():
                self._touch(event.symbol, event.ts_event, at)
                self._kline(event, at)
            case Ticker():
                self._touch(event.symbol, event.ts_event, at)
                if "tickers" in self._channels:
                    row = {"symbol": event.symbol, "kind": event.kind, "ts_event": event.ts_event, "ts_recv": at}
                    self.sink.rows("tickers", [row | event.values])
            case Gap():
                self._gap(event)
            case Status():
                self.counts.events += 1

    def _touch(self, symbol: str, ts_event: int | None, at: int | None) -> int:
        number = self._intake.symbol(symbol)
        self._intake.touch(number, ts_event, at)
        return number

    def _trade(self, trade: Trade, at: int | None, frames: Frames, i: int) -> None:
        number = self._intake.symbol(trade.symbol)
        if trade.price * trade.size > NOTIONAL_LIMIT:
            self._quarantine(frames, i, Quarantine("number_too_large", "price times size"))
            return
        answer = i in frames.requests
        flags = (trade.side == "sell") | (trade.unit_us > 1) << 1 | trade.is_aggregate << 2 | answer << 3
        values = (flags, trade.id, trade.first_id, trade.last_id, trade.price, trade.size, trade.ts_event, at)
        verdict = self._intake.put(number, *values)
        if verdict == intake.Put.SWITCH:
            self._switch(number)
            verdict = self._intake.put(number, *values)
        if verdict == intake.Put.OVERLAP:
            self._quarantine(frames, i, Quarantine("overlapping_ids", "some of its trades were counted"))

    def _switch(self, number: int) -> None:
        """Single trades have come for a symbol fed by aggregates: what these gave is void."""
        self._fold()
        self._intake.forget(number)
        self._windows.forget(number)
        self._stage.forget(number)
        self.sink.retract(self._name(number))

    def _quote(self, quote: Quote, at: int | None) -> None:
        number = self._touch(quote.symbol, quote.ts_event, at)
        if "quotes" in self._channels:
            ts_event = NONE_TIME if quote.ts_event is None else quote.ts_event
            values = (quote.id, quote.bid, quote.bid_size, quote.ask, quote.ask_size, ts_event)
            row = (number, 0, *values, NONE_TIME if at is None else at)
            self.sink.columns("quotes", columns.rows(columns.pack([row], columns.QUOTE), columns.QUOTE))

    def _book(self, event: BookDelta | BookSnapshot, at: int | None) -> None:
        if not self._depth:
            return
        if isinstance(event, BookSnapshot) and event.is_partial:
            self._book_row(event.symbol, event.id, event.bids, event.asks, event.ts_event, at)
            return
        book = self._books.setdefault(event.symbol, OrderBook())
        if isinstance(event, BookSnapshot):
            book.reset(event.id, event.bids, event.asks)
        else:
            book.apply(event.last_id, event.bids, event.asks)
        self._book_row(event.symbol, book.id, book.bids(self._depth), book.asks(self._depth), event.ts_event, at)

    def _book_row(self, symbol: str, id: int, bids: Any, asks: Any, ts_event: int | None, at: int | None) -> None:
        row = {"symbol": symbol, "id": id, "bids": bids, "asks": asks, "ts_event": ts_event, "ts_recv": at}
        self.sink.rows("book", [row])

    def _kline(self, kline: Kline, at: int | None) -> None:
        if "klines" in self._channels:
            row = msgspec.structs.asdict(kline) | {"source": "venue", "revision": 0, "ts_recv": at}
            self.sink.rows("klines", [row])
        rows = self._kline_means.add(kline, self._intake.watermark(self._intake.symbol(kline.symbol)))
        if rows:
            self.sink.rows("moving_average", rows)

    def _gap(self, gap: Gap) -> None:
        self.counts.gaps += 1
        row = {
            "symbol": gap.symbol,
            "stream": gap.stream,
            "ts_start": gap.ts_start,
            "ts_end": gap.ts_end,
            "state": "gap",
            "reason": gap.reason,
            "first_id": gap.first_id,
            "last_id": gap.last_id,
            "guarantee": "sequence",
        }
        self.sink.rows("coverage", [row])

    # -- results out -------------------------------------------------------------------------------------

    def _give_trades(self) -> None:
        packed = self._intake.take_trades()
        if packed:
            self.sink.columns("trades", columns.rows(packed, columns.TRADE))

    def _give_windows(self) -> None:
        candles = columns.rows(self._windows.take_candles(), columns.CANDLE_ROW)
        if len(candles):
            self.sink.columns("candles", candles)
            indicators = self._stage.add(candles)
            if indicators:
                self.sink.rows("indicators", indicators)
        means = columns.rows(self._windows.take_means(), columns.MEAN_ROW)
        if len(means):
            self.sink.columns("moving_average", means)

    def flush(self) -> None:
        """Give the sink all that waits in columns."""
        self._fold()
        late = columns.rows(self._intake.take_late(), columns.TRADE)
        if len(late):
            self.counts.late += len(late)
            self.sink.columns("late", late)
        quotes = columns.rows(self._intake.take_quotes(), columns.QUOTE)
        if len(quotes):
            self.sink.columns("quotes", quotes)

    def finish(self) -> None:
        """The end of the input: close what the clock allows, bring steps up to date, give forming windows as such."""
        self.flush()
        self._windows.advance(self._intake)
        self._give_windows()
        indicators = self._stage.settle()
        if indicators:
            self.sink.rows("indicators", indicators)
        self._windows.forming()
        self._give_windows()
        rows = self._kline_means.finish()
        if rows:
            self.sink.rows("moving_average", rows)
        self._coverage()
        events, duplicates, ignored, *_ = self._intake.counts()
        self.counts.events += events
        self.counts.duplicates, self.counts.ignored_aggregates = duplicates, ignored
        self.counts.unknown_fields = self.venue.unknown_fields

    def _coverage(self) -> None:
        """What was seen of each symbol's trades: runs of ids, and the holes between them."""
        out: list[dict[str, Any]] = []
        for number, symbol in enumerate(self.symbols):
            ranges = columns.rows(self._intake.ranges(number), columns.RANGE).tolist()
            base = {"symbol": symbol, "stream": "trades", "guarantee": "sequence"}
            for i, (lo, hi, ts_lo, ts_hi) in enumerate(ranges):
                if i:
                    _, before, _, ts_before = ranges[i - 1]
                    ids = {"first_id": before + 1, "last_id": lo - 1}
                    times = {"ts_start": ts_before, "ts_end": ts_lo}
                    out.append(base | times | {"state": "gap", "reason": "missing_ids"} | ids)
                ids, times = {"first_id": lo, "last_id": hi}, {"ts_start": ts_lo, "ts_end": ts_hi}
                out.append(base | times | {"state": "complete", "reason": None} | ids)
        self.counts.gaps += sum(row["state"] == "gap" for row in out)
        if out:
            self.sink.rows("coverage", out)

    # -- state -------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """All state as a value. Give the sink what waits first (`flush`): rows are not part of it."""
        self.flush()
        books = {symbol: (book.id, book.bids(), book.asks()) for symbol, book in self._books.items()}
        return msgspec.msgpack.encode(
            {
                "fingerprint": self.fingerprint,
                "intake": self._intake.state(),
                "windows": self._windows.state(),
                "stage": self._stage.state(),
                "kline_means": self._kline_means.state(),
                "venue": self.venue.snapshot(),
                "books": books,
                "counts": self.counts,
            }
        )

    @property
    def fingerprint(self) -> str:
        """What a snapshot must agree with: the form of the state, the flow and the venue."""
        return f"1\n{self.venue.name}\n{self.flow.explain()}"

    def restore(self, packed: bytes) -> None:
        """Become the engine that gave `snapshot`; raises `SnapshotError`. Only for an engine that was fed nothing."""
        try:
            state = msgspec.msgpack.decode(packed)
            fingerprint = state["fingerprint"]
        except (msgspec.DecodeError, TypeError, KeyError) as error:
            raise SnapshotError(f"expected the snapshot of an engine, got something else: {error}") from error
        if fingerprint != self.fingerprint:
            raise SnapshotError(
                f"the snapshot is of another flow or version:\n{fingerprint}\nand this engine runs:\n{self.fingerprint}\n"
                "replay the tape from the beginning instead"
            )
        self._intake.restore(_tuples(state["intake"]))
        self._windows.restore(_tuples(state["windows"]))
        self._stage.restore(state["stage"])
        self._kline_means.restore(state["kline_means"])
        self.venue.restore(state["venue"])
        self.counts = msgspec.convert(state["counts"], Counts)
        for symbol, (id, bids, asks) in state["books"].items():
            self._books[symbol] = OrderBook()
            self._books[symbol].reset(id, _tuples(bids), _tuples(asks))


def _layout(node: Candles | Mean) -> tuple[int, int, int, int]:
    window = node.window
    return (window.size_us, window.slide_us, window.origin_us, window.pane_us)


def _tuples(value: Any) -> Any:
    """Lists to tuples, all the way down: msgpack knows only one kind of sequence."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
