"""Intake: unique trades, stamped with their symbol's watermark, in the order of the tape. The portable twin.

Rules, the same in kernel/intake.c:

1. A symbol has one source of trades. Aggregates of a symbol that has single trades are ignored and counted; the
   first single trade of a symbol fed by aggregates asks for a switch (`Put.SWITCH`): all derived from them is void.
   Answers to requests fill holes of either source and choose none.
2. An event is new if none of its trade ids was seen (`domain.seen`). Repeats are counted; an aggregate that is
   partly seen is refused (`Put.OVERLAP`).
3. The stamp is the watermark as it stood when the event came: the greater of the symbol's greatest event time and
   the tape's clock less the venue's delay, minus the lateness. The delay is the venue's usual one or, where our
   clock runs ahead by more, the least difference seen between receive and event time. So a wrong clock cannot close
   windows early.
4. An event older than its stamp by more than the horizon, or with an id too old to be told from a repeat, is late:
   it is kept apart and changes no window. Where holes are kept (`keep_holes`), what comes after the start of the
   first open hole is not late, however old: the hole is open until it is filled or given up.
"""

from __future__ import annotations

from enum import IntEnum

from tapeflow.domain.book import OrderBook
from tapeflow.domain.candle import StampedTrade
from tapeflow.domain.events import Levels
from tapeflow.domain.seen import RANGE_LIMIT, Range, Seen, SeenState, Verdict
from tapeflow.domain.time import DAY
from tapeflow.engine.columns import BOOK_ROW, LEVEL, NONE_TIME, QUOTE, RANGE, TRADE, pack, rows, time_or_none

#: Symbols of one intake: beyond it a new symbol's frames are quarantined, so that memory stays bounded.
SYMBOL_LIMIT = 1 << 16


class Put(IntEnum):
    """What became of a trade."""

    NEW = 0
    DUPLICATE = 1
    OVERLAP = 2
    LATE = 3
    IGNORED = 4
    SWITCH = 5


class Source(IntEnum):
    """Where a symbol's trades come from."""

    NONE = 0
    AGGREGATES = 1
    TRADES = 2


class Intake:
    """See the module. Symbols have numbers, given in the order in which they first come."""

    def __init__(
        self,
        lateness_us: int,
        horizon_us: int,
        delay_us: int,
        range_limit: int = RANGE_LIMIT,
        *,
        keep_trades: bool = True,
        keep_quotes: bool = True,
        depth: int = 0,
        symbol_limit: int = SYMBOL_LIMIT,
        keep_holes: bool = False,
    ) -> None:
        self._keep_holes = keep_holes
        self._given_up: list[list[tuple[int, int]]] = []
        self._lateness_us = lateness_us
        self._horizon_us = horizon_us
        self._delay_us = delay_us
        self._keep_trades = keep_trades
        self._keep_quotes = keep_quotes
        self._depth = depth
        self._symbol_limit = symbol_limit
        self._folded = 0
        self._seen = Seen(range_limit)
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._ts_max: list[int | None] = []
        self._sources: list[Source] = []
        self._clock: int | None = None
        self._skew: int | None = None
        self._ts_newest: int | None = None  # greatest event time of any symbol
        self._events = self._duplicates = self._ignored = self._holes = 0
        self.trades: list[StampedTrade] = []
        self._late: list[StampedTrade] = []
        self._quotes: list[tuple[int, ...]] = []
        self._books: list[_Book] = []
        self._newest: list[tuple[int, ...]] = []
        self._book_rows: list[tuple[int, ...]] = []
        self._levels: list[tuple[int, int]] = []

    def read(self, buffer: object, lines: object, start: int, stop: int) -> int:
        """The first frame this reader leaves to the codec: here each one."""
        return start

    def symbol(self, name: str) -> int:
        """The number of a symbol, -1 if there is no room for one more."""
        number = self._numbers.get(name)
        if number is None:
            if len(self._names) >= self._symbol_limit:
                return -1
            number = self._numbers[name] = len(self._names)
            self._names.append(name)
            self._ts_max.append(None)
            self._sources.append(Source.NONE)
            self._books.append(_Book())
            self._given_up.append([])
            self._newest.append((number, 0, 0, 0, 0, 0, 0, 0, 0))
        return number

    def symbols(self) -> list[str]:
        return list(self._names)

    def clock(self, ts_recv: int | None) -> None:
        """Move the tape's clock forward."""
        if ts_recv is not None and (self._clock is None or ts_recv > self._clock):
            self._clock = ts_recv

    def restart(self) -> None:
        """The clock is another one from here on, of which nothing is known; no watermark goes back."""
        for symbol in range(len(self._names)):
            stamp = self.watermark(symbol)
            if stamp is not None:
                self._ts_max[symbol] = newest = stamp + self._lateness_us
                self._ts_newest = max(self._ts_newest or newest, newest)
        self._clock = self._skew = None

    def touch(self, symbol: int, ts_event: int | None, ts_recv: int | None) -> None:
        """Take note of an event that is no trade: its time moves the symbol's watermark."""
        self._events += 1
        if ts_event is not None:
            self._advance(symbol, ts_event, ts_recv)

    def _advance(self, symbol: int, ts_event: int, ts_recv: int | None) -> None:
        newest = self._ts_max[symbol]
        if newest is None or ts_event > newest:
            self._ts_max[symbol] = ts_event
        if self._ts_newest is None or ts_event > self._ts_newest:
            self._ts_newest = ts_event
        if ts_recv is not None and (self._skew is None or ts_recv - ts_event < self._skew):
            self._skew = ts_recv - ts_event

    def is_future(self, ts_event: int) -> bool:
        """True for a time more than a day ahead of all that was heard: damage, which would run the watermark away."""
        if not self._keep_holes or self._clock is None:
            return False
        return ts_event > max(self._clock, self._ts_newest or 0) + DAY

    def watermark(self, symbol: int) -> int | None:
        ts = self._ts_max[symbol]
        if self._clock is not None and self._skew is not None:
            clock = self._clock - max(self._skew, self._delay_us)
            ts = clock if ts is None else max(ts, clock)
        return None if ts is None else ts - self._lateness_us

    def put(
        self,
        symbol: int,
        flags: int,
        id: int,
        first_id: int,
        last_id: int,
        price: int,
        size: int,
        ts_event: int,
        ts_recv: int | None,
    ) -> int:
        """One trade; ``flags``: 1 sell, 2 time in milliseconds, 4 aggregate, 8 from the answer to a request."""
        aggregate, answer = bool(flags & 4), bool(flags & 8)
        source = self._sources[symbol]
        if aggregate and source is Source.TRADES and not answer:
            self._ignored += 1
            return Put.IGNORED
        if not aggregate and source is Source.AGGREGATES and not answer:
            return Put.SWITCH
        stamp = self.watermark(symbol)
        reach = self._reach(symbol, stamp, ts_event)
        runs = len(self._seen.ranges(self._names[symbol]))
        verdict = self._seen.add(self._names[symbol], first_id, last_id, ts_event)
        self._holes += 0 < runs < len(self._seen.ranges(self._names[symbol]))
        if verdict is Verdict.OVERLAP:
            return Put.OVERLAP
        if not answer:
            self._sources[symbol] = Source.AGGREGATES if aggregate else Source.TRADES
        if verdict is Verdict.DUPLICATE:
            self._duplicates += 1
            return Put.DUPLICATE
        trade = StampedTrade(
            symbol,
            flags & 1,
            flags >> 1 & 1,
            int(aggregate),
            id,
            first_id,
            last_id,
            price,
            size,
            ts_event,
            ts_recv,
            stamp,
        )
        self._advance(symbol, ts_event, ts_recv)
        self._events += 1
        if verdict is Verdict.FORGOTTEN or (reach is not None and ts_event < reach):
            self._late.append(trade)
            return Put.LATE
        self.trades.append(trade)
        return Put.NEW

    def _reach(self, symbol: int, stamp: int | None, ts_event: int) -> int | None:
        """Before this time a trade is late. The hold is that before the trade itself is one of those seen."""
        if stamp is None:
            return None
        reach = stamp - self._horizon_us
        return min(reach, self.hold(symbol)) if self._keep_holes and ts_event < reach else reach

    def hold(self, symbol: int) -> int:
        """The time from which on nothing may be dropped: the start of the first open hole, else the newest trade's."""
        runs = self._seen.ranges(self._names[symbol])
        if not runs:
            return 2**63 - 1
        at = 0
        while at + 1 < len(runs) and self._is_given_up(symbol, runs[at].hi + 1, runs[at + 1].lo - 1):
            at += 1
        return runs[at].ts_hi - self._lateness_us

    def _is_given_up(self, symbol: int, lo: int, hi: int) -> bool:
        return any(first <= lo and hi <= last for first, last in self._given_up[symbol])

    def give_up(self, symbol: int, lo: int, hi: int) -> None:
        """The hole ``lo..hi`` will not be filled."""
        if not self._is_given_up(symbol, lo, hi):
            self._given_up[symbol].append((lo, hi))

    def given_up(self, symbol: int) -> bytes:
        """The holes that will not be filled, as `RANGE` columns."""
        return pack([(lo, hi, 0, 0) for lo, hi in self._given_up[symbol]], RANGE)

    def put_all(self, packed: bytes) -> int:
        """Trades as packed `TRADE` columns; how many were refused (overlap or switch)."""
        refused = 0
        for symbol, side, coarse, aggregate, _, *rest in rows(packed, TRADE).tolist():
            ts_recv = None if rest[6] == NONE_TIME else rest[6]
            self.clock(ts_recv)
            id, first_id, last_id, price, size, ts_event = rest[:6]
            flags = side | coarse << 1 | aggregate << 2
            verdict = self.put(symbol, flags, id, first_id, last_id, price, size, ts_event, ts_recv)
            refused += verdict in (Put.OVERLAP, Put.SWITCH)
        return refused

    def put_quote(self, values: tuple[int, ...]) -> None:
        """A quote, as `QUOTE` columns."""
        if values[2] >= self._newest[values[0]][2]:
            self._newest[values[0]] = values
        if self._keep_quotes:
            self._quotes.append(values)

    def newest_quotes(self) -> bytes:
        """The quote of the greatest id of each symbol, as `QUOTE` columns (id 0 where there is none)."""
        return pack(self._newest, QUOTE)

    def book(
        self,
        symbol: int,
        id: int,
        bids: Levels,
        asks: Levels,
        ts_event: int | None,
        ts_recv: int | None,
        whole: int,
    ) -> None:
        """A snapshot of a book (``whole``) or a delta that follows on it; one row of its best levels."""
        book = self._books[symbol]
        if whole:
            book.levels.reset(id, bids, asks)
        else:
            book.levels.apply(id, bids, asks)
        book.is_live, book.ts_event = True, ts_event
        if self._depth:
            best = (book.levels.bids(self._depth), book.levels.asks(self._depth))
            counts = (len(best[0]), len(best[1]))
            self._book_rows.append(
                (symbol, *counts, 0, id, time_or_none(ts_event), time_or_none(ts_recv), len(self._levels))
            )
            self._levels += [*best[0], *best[1]]

    def wait_for_book(self, symbol: int) -> None:
        """A book waits for its first snapshot: the kernel then holds its deltas as they are. Here nothing is held."""

    def take_held(self) -> list[tuple[int | None, bytes]]:
        """(receive time, frame) of what is held, in the order of arrival."""
        return []

    def break_book(self, symbol: int) -> None:
        """The deltas of a book have a gap."""
        self._books[symbol].is_live = False

    def position(self, symbol: int) -> tuple[int, int | None] | None:
        """Id and time of the last change of a live book, else None."""
        book = self._books[symbol]
        return (book.levels.id, book.ts_event) if book.is_live else None

    def take_books(self) -> tuple[bytes, bytes]:
        """The book rows and their levels, as `BOOK_ROW` and `LEVEL` columns."""
        packed = pack(self._book_rows, BOOK_ROW), pack(self._levels, LEVEL)
        self._book_rows, self._levels = [], []
        return packed

    def covers(self, symbol: int, lo: int, hi: int) -> bool:
        """True if every one of the ids ``lo..hi`` was seen."""
        return self._seen.covers(self._names[symbol], lo, hi)

    def to_fold(self) -> list[StampedTrade]:
        """The trades not given here before; they are forgotten unless a sink wants them."""
        trades = self.trades[self._folded :]
        if not self._keep_trades:
            self.trades = []
        self._folded = len(self.trades)
        return trades

    def take_trades(self) -> bytes:
        packed = _pack_trades(self.trades)
        self.trades, self._folded = [], 0
        return packed

    def take_late(self) -> bytes:
        packed, self._late = _pack_trades(self._late), []
        return packed

    def take_quotes(self) -> bytes:
        packed, self._quotes = pack(self._quotes, QUOTE), []
        return packed

    def waiting(self) -> int:
        """How many rows wait to be taken."""
        return len(self.trades) + len(self._late) + len(self._quotes) + len(self._book_rows)

    def ranges(self, symbol: int) -> bytes:
        return pack([(r.lo, r.hi, r.ts_lo, r.ts_hi) for r in self._seen.ranges(self._names[symbol])], RANGE)

    def source(self, symbol: int) -> int:
        return self._sources[symbol]

    def forget(self, symbol: int) -> None:
        self._seen.forget(self._names[symbol])
        self._sources[symbol] = Source.NONE
        self._given_up[symbol] = []

    def counts(self) -> tuple[int, int, int, int, int, int, int, int]:
        """Events, duplicates, ignored aggregates; trades, late trades, quotes and book rows that wait; holes opened."""
        waiting = (len(self.trades), len(self._late), len(self._quotes), len(self._book_rows))
        return (self._events, self._duplicates, self._ignored, *waiting, self._holes)

    def state(self) -> IntakeState:
        """The state as a value, in the kernel's own form, so that either restores the other's."""
        symbols = [
            (
                name,
                time_or_none(self._ts_max[n]),
                int(self._sources[n]),
                self._seen.state(name).floor,
                self.ranges(n),
                self._books[n].state(),
                pack([self._newest[n]], QUOTE),
                self.given_up(n),
            )
            for n, name in enumerate(self._names)
        ]
        return (
            time_or_none(self._clock),
            time_or_none(self._skew),
            self._events,
            self._duplicates,
            self._ignored,
            symbols,
        )

    def restore(self, state: IntakeState) -> None:
        clock, skew, self._events, self._duplicates, self._ignored, symbols = state
        self._clock, self._skew = _missing(clock), _missing(skew)
        for name, ts_max, source, floor, ranges, book, newest, given_up in symbols:
            number = self.symbol(name)
            self._ts_max[number] = _missing(ts_max)
            self._ts_newest = max(self._ts_newest or ts_max, ts_max)
            self._sources[number] = Source(source)
            self._seen.become(name, SeenState(floor, [Range(*r) for r in rows(ranges, RANGE).tolist()]))
            self._books[number].restore(book)
            self._newest[number] = (number, *rows(newest, QUOTE).tolist()[0][1:])
            self._given_up[number] = [(lo, hi) for lo, hi, _, _ in rows(given_up, RANGE).tolist()]


#: (id, time, live, bids, asks): levels as the kernel keeps them, best last, ask prices negated.
BookState = tuple[int, int, int, bytes, bytes]

#: (clock, skew, events, duplicates, ignored aggregates, symbols)
IntakeState = tuple[int, int, int, int, int, list[tuple[str, int, int, int, bytes, BookState, bytes, bytes]]]


class _Book:
    def __init__(self) -> None:
        self.levels = OrderBook()
        self.levels.id = 0
        self.is_live = False
        self.ts_event: int | None = 0

    def state(self) -> BookState:
        bids = pack(list(reversed(self.levels.bids())), LEVEL)
        asks = pack([(-price, size) for price, size in reversed(self.levels.asks())], LEVEL)
        return (self.levels.id, time_or_none(self.ts_event), int(self.is_live), bids, asks)

    def restore(self, state: BookState) -> None:
        id, ts_event, is_live, bids, asks = state
        self.is_live, self.ts_event = bool(is_live), _missing(ts_event)
        sell = tuple((-price, size) for price, size in rows(asks, LEVEL).tolist())
        self.levels.reset(id, tuple(rows(bids, LEVEL).tolist()), sell)


def _pack_trades(trades: list[StampedTrade]) -> bytes:
    return pack(
        [
            (t.symbol, t.side, t.coarse, t.aggregate, 0)
            + (t.id, t.first_id, t.last_id, t.price, t.size)
            + (t.ts_event, time_or_none(t.ts_recv), time_or_none(t.ts_watermark))
            for t in trades
        ],
        TRADE,
    )


def _missing(ts: int) -> int | None:
    return None if ts == NONE_TIME else ts
