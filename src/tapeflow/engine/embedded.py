"""The embedded engine: frames in, results out, in one process and without I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import msgspec

from tapeflow.domain.candle import NOTIONAL_LIMIT
from tapeflow.domain.errors import SnapshotError
from tapeflow.domain.events import (
    Action,
    BookDelta,
    BookSnapshot,
    Event,
    Fetch,
    Gap,
    Kline,
    Output,
    Quarantine,
    Quote,
    Status,
    Ticker,
    Trade,
)
from tapeflow.engine import columns, intake
from tapeflow.engine.columns import Rows, time_or_none
from tapeflow.engine.coverage import coverage_rows, gap_row
from tapeflow.engine.custom import CustomFolds
from tapeflow.engine.frames import Frames
from tapeflow.engine.holes import Holes
from tapeflow.engine.indicators import Stage
from tapeflow.engine.kernels import choose
from tapeflow.engine.klines import KlineMeans
from tapeflow.engine.merged import merged
from tapeflow.engine.outlet import Outlet
from tapeflow.engine.presence import Presence, PresenceState
from tapeflow.engine.results import Sink
from tapeflow.engine.snapshot import join, lifted, lowered, read_snapshot, split, tuples, write_snapshot
from tapeflow.engine.venue_candles import GIVEN_LIVE, KEPT, VenueCandles
from tapeflow.flow.catalogue import ALWAYS
from tapeflow.flow.nodes import BookTop, Candles, CustomFold, Flow, Indicator, LatestQuote, Mean
from tapeflow.indicators import code as code_of
from tapeflow.venues import Venue

#: Rows wait in columns until there are so many, or until the engine is flushed.
PATIENCE = 1 << 14

#: A horizon that no trade is beyond.
ENDLESS_US = 1 << 60

#: Reasons of quarantine that show a message was understood.
READABLE = frozenset(
    {
        "unsupported_market",
        "overlapping_ids",
        "number_too_large",
        "unattributable",
        "too_many_symbols",
        "impossible_time",
    }
)


#: What a frame has in it that can concern a book; an escape can hide it.
BOOK_MARKS = (b"lastUpdateId", b"depthUpdate", b"\\u")


class Counts(msgspec.Struct):
    """What an engine has met so far. ``events`` are new: repeats and ignored aggregates are counted apart."""

    frames: int = 0
    answers: int = 0
    events: int = 0
    quarantined: int = 0
    duplicates: int = 0
    ignored_aggregates: int = 0
    unknown_fields: int = 0
    late: int = 0
    gaps: int = 0
    unreadable: int = 0


class Engine:
    """Runs a flow over frames of one venue. The same frames give the same rows whatever the batches are.

    Only the rows of ``channels`` are made (None: all that the flow has). Rows wait in columns until ``patience`` of
    them are there: 0 gives each to the sink before `feed` returns. ``compiled`` picks the kernel (None: where there
    is one). Both give the same bytes; the tests say so. ``act`` is given what the venue asks for: messages to send,
    REST requests, reconnections.

    ``of_tape`` is for frames of a tape, whose holes somebody fills: a hole stays open, and what it may still change is
    kept whatever the horizon, until it is filled or `give_up` says that it will not be; candles of a REST answer
    stand in at once for windows that our trades do not cover. With ``is_endless`` no trade is late, however old; its
    snapshot may be restored by an engine for which some are. Otherwise nothing fills a hole, and only the end of the
    input tells what the trades do not cover.

    ``told`` are candles that are computed elsewhere, from the trades that this engine gives: it gives among the trades
    what the venue's answers say of them (`VENUE_CANDLES`).
    """

    def __init__(
        self,
        flow: Flow,
        venue: Venue,
        sink: Sink,
        *,
        channels: Collection[str] | None = None,
        act: Callable[[Action], None] | None = None,
        patience: int = PATIENCE,
        compiled: bool | None = None,
        of_tape: bool = False,
        is_endless: bool = False,
        told: Sequence[Candles] = (),
    ) -> None:
        self.flow = flow
        self._of_tape = of_tape
        self._told = tuple(told)
        horizon_us = ENDLESS_US if is_endless else flow.horizon_us
        self.venue = venue
        self.counts = Counts()
        self.presence = Presence()
        self._act = act
        self._holds = self._has_read_held = False
        self._patience = patience
        self._channels = set(flow.channels) if channels is None else set(flow.channels) & set(channels)
        kernel = choose(compiled=compiled)
        custom: list[CustomFold] = list(flow.of(CustomFold))
        self._intake = kernel.Intake(
            lateness_us=flow.lateness_us,
            horizon_us=horizon_us,
            delay_us=venue.usual_delay_us,
            range_limit=flow.range_limit,
            keep_trades="trades" in self._channels or bool(custom),
            keep_quotes="quotes" in self._channels,
            depth=max((node.depth for node in flow.of(BookTop)), default=0) if "book" in self._channels else 0,
            symbol_limit=flow.symbol_limit,
            keep_holes=of_tape,
        )
        self._holes = Holes(self._intake, self._name)
        candles: list[Candles] = list(flow.of(Candles))
        self._windows = kernel.Windows(
            candles=[_layout(node) for node in candles],
            means=[_layout(node) for node in flow.of(Mean) if node.input == "trades"],
            horizon_us=horizon_us,
            keep_holes=of_tape,
        )
        scales = (venue.price_scale, venue.size_scale)
        steps: list[Indicator] = list(flow.of(Indicator)) if "indicators" in self._channels else []
        takes_klines = of_tape or any(node.input == "klines" for node in flow.nodes)
        self._custom = CustomFolds(custom, horizon_us, self._name, keep_holes=of_tape)
        self._outlet = Outlet(
            sink,
            self._channels | set(ALWAYS),
            stage=Stage(candles, steps, venue.price_scale, horizon_us, keep_holes=of_tape),
            venue_candles=VenueCandles(
                self._told or candles, self._intake.covers, *scales, GIVEN_LIVE if of_tape else KEPT
            )
            if takes_klines
            else None,
            custom=self._custom,
            name_of=self._name,
            tells=bool(told),
        )
        kline_means = [node for node in flow.of(Mean) if node.input == "klines"]
        self._kline_means = KlineMeans(kline_means, flow, venue.price_scale)
        self._has_latest = any(flow.of(LatestQuote))
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        venue.position = self._book_position

    @property
    def symbols(self) -> list[str]:
        """The symbols by their numbers in columns."""
        names: list[str] = self._intake.symbols()
        return names

    def _name(self, number: int) -> str:
        if number >= len(self._names):
            self._names = self._intake.symbols()
        return self._names[number]

    def _number(self, symbol: str) -> int:
        """The number of a symbol, -1 if there is no room for one more."""
        number = self._numbers.get(symbol)
        if number is None:
            number = self._intake.symbol(symbol)
            if number >= 0:
                self._numbers[symbol] = number
        return number

    def _book_position(self, symbol: str) -> tuple[int, int | None] | None:
        number = self._number(symbol)
        return self._intake.position(number) if number >= 0 else None

    # -- frames in ---------------------------------------------------------------------------------------

    def feed(self, frames: Frames, start: int = 0, stop: int | None = None) -> None:
        """Take frames ``start..stop`` in their order."""
        if stop is None:
            stop = len(frames)
        at, reads = start, self.venue.has_compiled_reader and frames.dump is None
        while at < stop:
            if reads:  # up to the next answer to a request, or to a frame that the reader leaves to the codec
                until = frames.next_answer(at, stop) if frames.requests else stop
                at = self._intake.read(frames.buffer, frames.packed, at, until)
            if at < stop:
                self._receive(frames, at)
                at += 1
        self.counts.frames += stop - start
        self._fold()

    def feed_trades(self, trades: Rows) -> None:
        """Take trades as packed `TRADE` columns, numbered by `number_of`; duplicates and late ones are told apart."""
        self._intake.put_all(trades.tobytes())
        self._fold()

    def tick(self, at: int) -> None:
        """Time has passed: a record of the tape like any other. Quiet symbols close what is due, steps catch up."""
        self._intake.clock(at)
        self._take(self.venue.on_time(at), Frames.of([(at, b"")]), 0)
        self._add()
        self._windows.advance(self._intake)
        self._give_windows()
        self._outlet.rows("moving_average", self._kline_means.due(self._watermark))
        self._outlet.tick(self._intake.watermark)
        self._outlet.rows("coverage", self.presence.settled())

    def started(self) -> None:
        """The program has started: no connection outlives it, and its clock is set anew, however right it is."""
        self._add()
        self._intake.restart()
        self.presence.started()

    def number_of(self, symbol: str) -> int:
        """The number that stands for a symbol in columns."""
        return self._number(symbol)

    def _fold(self) -> None:
        if self._add() > self._patience:
            self.flush()

    def _add(self) -> int:
        """Fold what waits in the intake; how many rows wait."""
        waiting: int = self._windows.add(self._intake)
        if self._of_tape:
            self._windows.hold(self._intake)
        return waiting

    def _receive(self, frames: Frames, i: int) -> None:
        """A frame that the compiled reader left to the codec."""
        at, request = frames.ts_recv(i), frames.request(i)
        self._intake.clock(at)
        if i in frames.requests:
            self.counts.answers += 1
            self.counts.frames -= 1
        frame = frames[i]
        if self._holds and (request is not None or any(mark in frame for mark in BOOK_MARKS)):
            self._read_held()
        self._take(self.venue.receive(frame, frames.came(i), request), frames, i)

    def _take(self, outputs: list[Output], frames: Frames, i: int) -> None:
        if self._of_tape and frames.request(i) is not None and outputs and isinstance(outputs[0], Kline):
            self._history([output for output in outputs if isinstance(output, Kline)], frames, i)
            return
        for output in outputs:
            if isinstance(output, Quarantine):
                self._quarantine(frames, i, output)
            elif isinstance(output, Event):
                self._event(output, frames, i)
            else:
                self._action(output)

    def _action(self, action: Action) -> None:
        if isinstance(action, Fetch) and action.stream == "book" and action.why == "start":
            number = self._number(action.symbol)
            if number >= 0:
                self._intake.wait_for_book(number)
                self._holds = True
        if self._act is not None:
            self._act(action)

    def _read_held(self) -> None:
        """Let the codec see the deltas that were held while their books wait for a first snapshot."""
        held = self._intake.take_held()
        self._has_read_held |= bool(held)
        frames = Frames.of(held)
        for i, (at, frame) in enumerate(held):
            self._take(self.venue.receive(frame, at), frames, i)

    # -- holes -------------------------------------------------------------------------------------------

    def holes(self) -> list[Gap]:
        """The open holes in the trades: neither filled nor given up."""
        return [gap for number in range(len(self.symbols)) for gap in self._holes.open(number)]

    def give_up(self, symbol: str, first_id: int, last_id: int, reason: str) -> None:
        """The trades ``first_id..last_id`` cannot be had: what the hole kept is let go, coverage says why."""
        number = self._number(symbol)
        if number >= 0:
            self._holes.give_up(number, first_id, last_id, reason)

    def edges(self) -> dict[str, tuple[int, int]]:
        """Id and time of each symbol's newest trade: what happened since may be missing after a disconnection."""
        found = {}
        for number in range(len(self.symbols)):
            ranges = self._holes.ranges(number)
            if len(ranges):
                found[self._name(number)] = (int(ranges["hi"][-1]), int(ranges["ts_hi"][-1]))
        return found

    def wanted_candles(self) -> list[tuple[str, str, int, int]]:
        """(symbol, interval, start, end) of closed windows that our trades do not cover whole, nor will.

        They hold the first trade seen, or lie between it and the past that was asked for, or hold a hole that was given
        up: the venue's own candle should stand there.
        """
        wanted = []
        for number in range(len(self.symbols)):
            ts_watermark = self._intake.watermark(number)
            for at, span in enumerate(self._holes.for_ever(number) if ts_watermark is not None else ()):
                for interval, start, end in self._outlet.lacking(number, *span, ts_watermark or 0, is_first=not at):
                    wanted.append((self._name(number), interval, start, end))
        return wanted

    def _quarantine(self, frames: Frames, i: int, found: Quarantine) -> None:
        self.counts.quarantined += 1
        self.counts.unreadable += found.reason not in READABLE
        row = {
            "ts_recv": frames.ts_recv(i),
            "connection": frames.connection(i),
            "reason": found.reason,
            "frame": frames[i],
        }
        self._outlet.rows("quarantine", [row])

    def _event(self, event: Event, frames: Frames, i: int) -> None:
        if isinstance(event, Status) or not event.symbol:
            self.counts.events += 1
            return
        number, at = self._number(event.symbol), frames.ts_recv(i)
        if number < 0:
            self._quarantine(frames, i, Quarantine("too_many_symbols", event.symbol))
            return
        ts_event = None if isinstance(event, Gap) else event.ts_event
        if ts_event is not None and self._intake.is_future(ts_event):
            self._quarantine(frames, i, Quarantine("impossible_time", f"{ts_event} is a day ahead of all else"))
            return
        match event:
            case Trade():
                self._trade(number, event, frames, i)
            case Quote():
                self._quote(number, event, at)
            case BookDelta() | BookSnapshot():
                self._book(number, event, at)
            case Kline():
                self._kline(number, event, at)
            case Ticker():
                self._ticker(number, event, at)
            case Gap():
                self._gap(number, event)

    def _trade(self, number: int, trade: Trade, frames: Frames, i: int) -> None:
        if trade.price * trade.size > NOTIONAL_LIMIT:
            self._quarantine(frames, i, Quarantine("number_too_large", "price times size"))
            return
        answer = frames.request(i) is not None
        flags = (trade.side == "sell") | (trade.unit_us > 1) << 1 | trade.is_aggregate << 2 | answer << 3
        ids = (trade.id, trade.first_id, trade.last_id)
        values = (flags, *ids, trade.price, trade.size, trade.ts_event, frames.ts_recv(i))
        verdict = self._intake.put(number, *values)
        if verdict == intake.Put.SWITCH:
            self._switch(number)
            verdict = self._intake.put(number, *values)
        if verdict == intake.Put.OVERLAP and answer:
            self.counts.ignored_aggregates += 1  # at the edge of a hole: its single trades are asked for
        elif verdict == intake.Put.OVERLAP:
            self._quarantine(frames, i, Quarantine("overlapping_ids", "some of its trades were counted"))

    def _switch(self, number: int) -> None:
        """Single trades have come for a symbol fed by aggregates: what these gave is void."""
        self.flush()
        self._holes.forget(number)
        self._intake.forget(number)
        self._windows.forget(number)
        self._outlet.retract(number)

    def _quote(self, number: int, quote: Quote, at: int | None) -> None:
        self._intake.touch(number, quote.ts_event, at)
        sizes = (quote.bid, quote.bid_size, quote.ask, quote.ask_size)
        self._intake.put_quote((number, 0, quote.id, *sizes, time_or_none(quote.ts_event), time_or_none(at)))

    def _book(self, number: int, event: BookDelta | BookSnapshot, at: int | None) -> None:
        self._intake.touch(number, event.ts_event, at)
        if isinstance(event, BookDelta):
            self._intake.book(number, event.last_id, event.bids, event.asks, event.ts_event, at, 0)
        elif not event.is_partial:
            self._intake.book(number, event.id, event.bids, event.asks, event.ts_event, at, 1)
        else:
            self._outlet.books(*_partial(number, event, at))

    def _kline(self, number: int, kline: Kline, at: int | None) -> None:
        self._add()
        self._give_windows()  # what trades gave before this push must not wait for what it says
        ts_watermark = self._intake.watermark(number)
        self._intake.touch(number, kline.ts_event, at)
        self._outlet.klines([kline], at, self.venue, ts_watermark)
        self._outlet.rows("moving_average", self._kline_means.add(kline, ts_watermark))
        self._outlet.kline(number, kline, time_or_none(ts_watermark))

    def _history(self, klines: list[Kline], frames: Frames, i: int) -> None:
        """The candles of an answer: at once they stand in for windows that our trades do not cover."""
        number, at = self._number(klines[0].symbol), frames.ts_recv(i)
        if number < 0:
            self._quarantine(frames, i, Quarantine("too_many_symbols", klines[0].symbol))
            return
        self._add()
        self._windows.advance(self._intake)  # what is due by now comes before what the venue says
        self._give_windows()
        if self._told:  # they have a place among the trades
            self._outlet.trades(self._intake.take_trades())
        for kline in klines:
            self._intake.touch(number, kline.ts_event, at)
        self._outlet.klines(klines, at, self.venue)
        klines += merged(klines, self._told or self.flow.of(Candles))
        self._outlet.history(number, klines, self.venue, self._intake.watermark(number))

    def tell_again(self) -> None:
        """Give what the venue's answers said of candles once more: whoever computes them may not have been told."""
        self._add()
        self._outlet.trades(self._intake.take_trades())
        for number in range(len(self.symbols)):
            self._outlet.tell_again(number, self.venue, self._intake.watermark(number))

    def _ticker(self, number: int, ticker: Ticker, at: int | None) -> None:
        self._intake.touch(number, ticker.ts_event, at)
        row = {"symbol": ticker.symbol, "kind": ticker.kind, "ts_event": ticker.ts_event, "ts_recv": at}
        self._outlet.rows("tickers", [row | ticker.values])

    def _gap(self, number: int, gap: Gap) -> None:
        self.counts.gaps += 1
        if gap.stream == "book":
            self._intake.break_book(number)
        self._outlet.rows("coverage", [gap_row(gap)])

    # -- results out -------------------------------------------------------------------------------------

    def _give_windows(self) -> None:
        self._outlet.windows(self._windows.take_candles(), self._windows.take_means())
        if self._of_tape:
            self._outlet.hold([self._intake.hold(number) for number in range(len(self.symbols))])

    def flush(self) -> None:
        """Give the sink all that waits in columns."""
        self._add()
        self._outlet.trades(self._intake.take_trades())
        self._give_windows()
        self.counts.late += self._outlet.late(self._intake.take_late())
        self._outlet.quotes(self._intake.take_quotes())
        self._outlet.books(*self._intake.take_books())

    def finish(self) -> None:
        """The end of the input: close what the clock allows, bring steps up to date, give forming windows as such."""
        if self._has_read_held:  # so many that the codec's own bound, which is no smaller, may be reached
            self._read_held()
        self.flush()
        self._windows.advance(self._intake)
        self._give_windows()
        self._outlet.settle(range(len(self.symbols)), self._intake.watermark)
        self._windows.forming()
        self._give_windows()
        self._outlet.custom(self._custom.forming())
        self._outlet.rows("moving_average", self._kline_means.finish(self._watermark))
        if self._has_latest:
            self._outlet.newest_quotes(self._intake.newest_quotes())
        self._count()

    def forming(self, numbers: Collection[int], sink: Sink, with_steps: Collection[int] | None = None) -> None:
        """Give ``sink`` rows of the windows of these symbols that are still open, as they stand; nothing is changed.

        What steps would give is computed for the symbols ``with_steps`` only (None: for all of them).
        """
        self.flush()
        for number in numbers:
            self._windows.forming(number)
        candles = columns.rows(self._windows.take_candles(), columns.CANDLE_ROW)
        means = columns.rows(self._windows.take_means(), columns.MEAN_ROW)
        self._outlet.forming(candles, means, sink, numbers if with_steps is None else with_steps)
        sink.rows("moving_average", self._kline_means.forming({self._name(number) for number in numbers}))

    def newest(self, number: int, channel: str, sink: Sink) -> None:
        """Give ``sink`` the newest quote, book or tickers of a symbol, as they stand; nothing is changed."""
        if channel == "quotes":
            rows = columns.rows(self._intake.newest_quotes(), columns.QUOTE)
            sink.columns("quotes", rows[(rows["symbol"] == number) & (rows["id"] > 0)])
        else:
            self._outlet.newest(number, self._name(number), channel, sink)

    def _watermark(self, symbol: str) -> int | None:
        ts: int | None = self._intake.watermark(self._number(symbol))
        return ts

    def watermarks(self) -> dict[str, int]:
        """The time up to which nothing more is expected, of each symbol that has had an event."""
        marks = {self._name(number): self._intake.watermark(number) for number in range(len(self.symbols))}
        return {symbol: ts for symbol, ts in marks.items() if ts is not None}

    def _count(self) -> None:
        rows = self.coverage()
        self.counts.gaps += sum(row["state"] == "gap" for row in rows)
        self._outlet.rows("coverage", rows)
        self.counts = self.tally()

    def tally(self) -> Counts:
        """The counts as of now, with what the intake and the venue have counted for themselves."""
        events, duplicates, ignored, *_ = self._intake.counts()
        return msgspec.structs.replace(
            self.counts,
            events=self.counts.events + events,
            duplicates=duplicates,
            ignored_aggregates=self.counts.ignored_aggregates + ignored,
            unknown_fields=self.venue.unknown_fields,
            late=self.counts.late + self._kline_means.late,
        )

    def coverage(self) -> list[dict[str, Any]]:
        """What was seen of each stream, what is missing and why, and what came too late: as of now."""
        rows = [row for number in range(len(self.symbols)) for row in self._coverage(number)]
        return rows + self._outlet.late_coverage() + self.presence.rows()

    def _coverage(self, number: int) -> list[dict[str, Any]]:
        return coverage_rows(
            self._name(number), self._holes.ranges(number), lambda gap: self._holes.reason(number, gap)
        )

    # -- state -------------------------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str:
        """What a snapshot must agree with: the form of the state, the venue and the flow."""
        own = sorted({f"{node.step.name} {code}" for node in self.flow.of(Indicator) if (code := code_of(node.step))})
        return "\n".join([self.venue.name, self.flow.explain(), *own])

    @property
    def _of_state(self) -> str:
        """The same with what a snapshot has beside: rows do not depend on it."""
        return "\n".join([self.fingerprint, *(node.interval for node in self._told)])

    def snapshot(self) -> bytes:
        """All state as a value. What waits is given to the sink first: rows are no part of it."""
        return join(self.pieces())

    def pieces(self) -> list[bytes]:
        """The same as pieces, most of them the ones of the last time: quick. `restore_pieces` takes them."""
        self._read_held()
        self.flush()
        pieces: list[bytes] = []
        parts = {
            "intake": self._intake.state(),
            "windows": lifted(self._windows.state(), pieces),
            "kline_means": self._kline_means.state(),
            "venue": self.venue.snapshot(),
            "counts": self.counts,
            "outlet": self._outlet.state(pieces),
            "given_up": self._holes.state(),
            "presence": self.presence.state(),
        }
        return [write_snapshot(self._of_state, parts), *pieces]

    def restore(self, packed: bytes) -> None:
        """Become the engine that gave `snapshot`; raises `SnapshotError`. Only for an engine that was fed nothing."""
        self.restore_pieces(split(packed))

    def restore_pieces(self, found: Sequence[bytes | memoryview]) -> None:
        """The same from `pieces`."""
        try:
            self._restore(iter([memoryview(piece) for piece in found]))
        except StopIteration:
            raise SnapshotError(f"expected a whole snapshot, got {len(found)} pieces of one") from None

    def _restore(self, pieces: Iterator[memoryview]) -> None:
        parts = read_snapshot(self._of_state, next(pieces, memoryview(b"")))
        self._intake.restore(tuples(parts["intake"]))
        self._windows.restore(lowered(parts["windows"], pieces))
        self._kline_means.restore(parts["kline_means"])
        self.venue.restore(parts["venue"])
        self.counts = msgspec.convert(parts["counts"], Counts)
        self._outlet.restore(parts["outlet"], pieces)
        self.presence.restore(msgspec.convert(parts["presence"], PresenceState))
        self._holes.restore(parts["given_up"])


def _layout(node: Candles | Mean) -> tuple[int, int, int, int]:
    window = node.window
    return (window.size_us, window.slide_us, window.origin_us, window.pane_us)


def _partial(number: int, event: BookSnapshot, at: int | None) -> tuple[bytes, bytes]:
    """The columns of a book's top as the venue states it."""
    row = (number, len(event.bids), len(event.asks), 0, event.id, time_or_none(event.ts_event), time_or_none(at), 0)
    return columns.pack([row], columns.BOOK_ROW), columns.pack([*event.bids, *event.asks], columns.LEVEL)
