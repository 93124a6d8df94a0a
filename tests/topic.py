"""Topics of events as a collector writes them, from trades in memory; and what the embedded engine gives for them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import msgspec
import numpy as np

from tapeflow import venues
from tapeflow.app.collector import events_of, windows_of
from tapeflow.app.pipeline import closed_among
from tapeflow.domain.number import decimal_text
from tapeflow.domain.window import tumbling
from tapeflow.engine.closings import Closings
from tapeflow.engine.columns import NONE_TIME, TRADE, Rows
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.engine.pushes import Pushes
from tapeflow.engine.results import VENUE_CANDLES
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Candles, Flow
from tapeflow.stores.events import lines
from tapeflow.stores.results import Results

#: What topics hold, and what is computed from it.
EVENTS, RESULTS = ("trades", "klines"), ("candles", "moving_average", "indicators")

SECOND = 1_000_000


class Raw(msgspec.Struct, frozen=True):
    """A trade as it came; ``trades`` more than one for an aggregate."""

    symbol: str
    id: int
    price: int
    size: int
    side: int
    ts_event: int
    ts_recv: int | None = None
    trades: int = 1
    coarse: bool = False


class Push(msgspec.Struct, frozen=True):
    """A push of the venue's own candle as it came."""

    symbol: str
    interval: str
    close: int
    ts_event: int
    ts_recv: int

    def frame(self) -> bytes:
        """It as the venue sends it; of a candle without trades, which stands in for none of ours."""
        close = decimal_text(self.close, 8)
        candle = {"t": self.ts_event // SECOND * SECOND, "T": self.ts_event // SECOND * SECOND + SECOND - 1}
        candle |= {"s": self.symbol, "i": self.interval, "f": -1, "L": -1, "n": 0, "x": False}
        candle |= dict.fromkeys("ochl", close) | dict.fromkeys("vqVQB", "0")
        return msgspec.json.encode({"e": "kline", "E": self.ts_event, "s": self.symbol, "k": candle})


class Told(msgspec.Struct, frozen=True):
    """An answer of the venue: candles of a symbol and interval, which comes before the trade at a place."""

    place: int
    symbol: str
    interval: str
    rows: list[list[Any]]
    ts_recv: int

    def frames(self) -> Frames:
        """It as it stands on a tape."""
        made = Frames.of([(self.ts_recv, msgspec.json.encode(self.rows))])
        request = f"/api/v3/klines?symbol={self.symbol}&interval={self.interval}"
        return Frames(made.buffer, made.lines, requests={0: request})


def candle_row(trades: Sequence[Raw], ts_start: int, size_us: int) -> list[Any]:
    """The venue's own candle of a window, which knows all of its trades: as a row of its REST answers."""
    inside = sorted((raw for raw in trades), key=lambda raw: (raw.ts_event, raw.id))
    assert all(ts_start <= raw.ts_event < ts_start + size_us for raw in inside)
    open, close = (decimal_text(raw.price, 8) for raw in (inside[0], inside[-1]))
    high, low = (decimal_text(of(raw.price for raw in inside), 8) for of in (max, min))
    volume, bought = sum(raw.size for raw in inside), sum(raw.size for raw in inside if not raw.side)
    quote = sum(raw.price * raw.size for raw in inside)
    count = sum(raw.trades for raw in inside)
    start, end = ts_start // 1000, (ts_start + size_us) // 1000 - 1
    sizes = (decimal_text(volume, 8), end, decimal_text(quote // 10**8, 8), count, decimal_text(bought, 8))
    return [start, open, high, low, close, *sizes, decimal_text(0, 8), "0"]


def told(raws: Sequence[Raw], place: int, symbol: str, interval: str, ts_recv: int, earlier: int = 0) -> Told:
    """The venue's candles of all windows of a symbol that ended before ``ts_recv``, and of ``earlier`` ones made up."""
    window = tumbling(interval)
    size_us, found = window.size_us, dict[int, list[Raw]]()
    for raw in raws:
        if raw.symbol == symbol:
            found.setdefault((raw.ts_event - window.origin_us) // size_us, []).append(raw)
    first = min(found)
    chance = random.Random(f"{symbol}{interval}")
    for number in range(first - earlier, first):
        ts_event = window.origin_us + number * size_us + chance.randint(0, size_us - 1)
        found[number] = [Raw(symbol, at, chance.randint(10**5, 10**6), 10**8, 0, ts_event) for at in (1, 2)]
    whole = [number for number in sorted(found) if window.origin_us + (number + 1) * size_us <= ts_recv]
    rows = [candle_row(found[number], window.origin_us + number * size_us, size_us) for number in whole]
    return Told(place, symbol, interval, rows, ts_recv)


class Heard:
    """A sink that keeps events apart from what is computed with them, and has them as rows of their topics.

    ``flow`` is the whole flow, whether it is computed where the sink is or not.
    """

    def __init__(self, flow: Flow, venue: venues.Venue) -> None:
        self.new = lambda channels: Results(
            flow, venue.name, channels, price_scale=venue.price_scale, size_scale=venue.size_scale
        )
        self.results, self._events = self.new(RESULTS), self.new((*EVENTS, VENUE_CANDLES))
        self._closings = Closings(windows_of(flow, "trades"))
        self._pushes = Pushes(windows_of(flow, "klines"), flow.horizon_us)

    def columns(self, channel: str, rows: Rows) -> None:
        self._events.columns(channel, rows.copy())
        self.results.columns(channel, rows)

    def rows(self, channel: str, rows: list[dict[str, Any]]) -> None:
        self._events.rows(channel, rows)
        self.results.rows(channel, rows)

    def taken(self, engine: Engine) -> list[list[dict[str, Any]]]:
        """The rows of each topic of events since the last time, those of time among them."""
        events, self._events = self._events, self.new((*EVENTS, VENUE_CANDLES))
        events.names = self.results.names = engine.symbols
        closed_among(events, engine.watermarks(), self._closings, self._pushes)
        return [[msgspec.json.decode(line) for line in lines(events, channel)[1]] for channel in EVENTS]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.results, name)


class Answer(msgspec.Struct):
    """What the embedded engine gives: rows of the topics of trades and klines in order, and the last row of each key.

    ``pauses`` are the places in the topics before which all symbols were quiet, 0 if they never were. ``forming`` are
    the rows of indicators for windows that were open at the end.
    """

    topic: list[dict[str, Any]]
    pushes: list[dict[str, Any]]
    rows: dict[str, list[dict[str, Any]]]
    pauses: tuple[int, int] = (0, 0)
    forming: list[dict[str, Any]] = []


def answer(
    flow: Flow,
    raws: Sequence[Raw],
    *,
    batch: int = 997,
    compiled: bool | None = None,
    quiet_us: int = 0,
    after_us: int = 2 * SECOND,
) -> Answer:
    """Run trades through the embedded engine; with ``quiet_us`` all symbols are quiet for so long in the middle.

    At the end ``after_us`` pass: what is late there has its second too, or those that have no clock are not told.

    A flow that reads klines is given pushes of them too, at the times and prices of most trades.
    """
    sink, engine = _heard(flow, flow, channels=(*EVENTS, *RESULTS), compiled=compiled)
    half = len(raws) // 2 if quiet_us else len(raws)
    feed(engine, raws[:half], batch)
    trades: list[dict[str, Any]] = []
    pushes: list[dict[str, Any]] = []
    if quiet_us:
        engine.tick(max(raw.ts_recv or 0 for raw in raws[:half]) + quiet_us)
        engine.flush()
        trades, pushes = sink.taken(engine)
    pauses = (len(trades), len(pushes))
    feed(engine, [_moved(raw, quiet_us) for raw in raws[half:]], batch)
    _end(engine, raws, quiet_us + after_us)
    rest = sink.taken(engine)
    return Answer(trades + rest[0], pushes + rest[1], _rows(sink), pauses, _forming(engine, sink.new(RESULTS)))


def answer_with_past(flow: Flow, raws: Sequence[Raw], answers: Sequence[Told], *, batch: int = 997) -> Answer:
    """The same of trades with candles of the venue among them; the topics are those of a collector, without folds."""
    sink, engine = _heard(flow, flow, channels=RESULTS, of_tape=True)
    heard, collector = _heard(
        flow, events_of(flow, with_klines=True), channels=EVENTS, of_tape=True, told=flow.of(Candles)
    )
    at = 0
    for each in [*sorted(answers, key=lambda one: one.place), None]:
        until = len(raws) if each is None else each.place
        for one in (engine, collector):
            feed(one, raws[at:until], batch)
            if each is not None:
                one.feed(each.frames())
        at = until
    for one in (engine, collector):
        _end(one, raws, 2 * SECOND)
    sink.results.names = engine.symbols
    return Answer(*heard.taken(collector), _rows(sink), forming=_forming(engine, sink.new(RESULTS)))


def _heard(whole: Flow, flow: Flow, **more: Any) -> tuple[Heard, Engine]:
    venue = venues.create("binance")
    sink = Heard(whole, venue)
    return sink, Engine(flow, venue, sink, **more)


def _end(engine: Engine, raws: Sequence[Raw], after_us: int) -> None:
    if after_us:
        engine.tick(max((raw.ts_recv or raw.ts_event for raw in raws), default=0) + after_us)
    engine.finish()


def _rows(sink: Heard) -> dict[str, list[dict[str, Any]]]:
    return {name: [msgspec.json.decode(line) for line in sink.results.table(name).json_lines()] for name in RESULTS}


def _forming(engine: Engine, results: Results) -> list[dict[str, Any]]:
    engine.forming(range(len(engine.symbols)), results)
    results.names = engine.symbols
    return [msgspec.json.decode(row) for row in results.table("indicators").json_lines()]


def topic_of(flow: Flow, raws: Sequence[Raw], *, batch: int = 997) -> list[dict[str, Any]]:
    """The rows of the topic of trades that a flow is computed from, without what it computes."""
    events = Builder("events")
    events.trades()
    sink, engine = _heard(flow, events.build(), channels=EVENTS)
    feed(engine, raws, batch)
    engine.finish()
    return sink.taken(engine)[0]


def feed(engine: Engine, raws: Sequence[Raw], batch: int) -> None:
    """Give an engine trades, so many at once, and pushes with them if its flow reads any."""
    has_klines = any(node.input == "klines" for node in engine.flow.nodes)
    for at in range(0, len(raws), batch):
        part = raws[at : at + batch]
        if not has_klines:
            engine.feed_trades(_packed(engine, part))
            continue
        for is_pushed, several in groupby(part, _is_pushed):
            together = list(several)
            engine.feed_trades(_packed(engine, together))
            if is_pushed:
                pushes = [push_of(raw) for raw in together]
                engine.feed(Frames.of([(push.ts_recv, push.frame()) for push in pushes]))


def _is_pushed(raw: Raw) -> bool:
    return raw.id % 8 < 5


def push_of(raw: Raw) -> Push:
    """A push that comes with a trade and is stamped up to 0.2 s after it: late if it is, twice if it is there twice."""
    ts_event = raw.ts_event + raw.id % 4 * 70_000
    return Push(raw.symbol, "3m" if raw.id % 3 else "15m", raw.price, ts_event, raw.ts_recv or raw.ts_event)


def _moved(raw: Raw, by_us: int) -> Raw:
    ts_recv = None if raw.ts_recv is None else raw.ts_recv + by_us
    return msgspec.structs.replace(raw, ts_event=raw.ts_event + by_us, ts_recv=ts_recv)


def _packed(engine: Engine, raws: Sequence[Raw]) -> Rows:
    made = np.zeros(len(raws), TRADE)
    for at, raw in enumerate(raws):
        made[at]["symbol"] = engine.number_of(raw.symbol)
        made[at]["side"], made[at]["coarse"], made[at]["aggregate"] = raw.side, raw.coarse, raw.trades > 1
        made[at]["id"], made[at]["first_id"], made[at]["last_id"] = raw.id, raw.id, raw.id + raw.trades - 1
        made[at]["price"], made[at]["size"], made[at]["ts_event"] = raw.price, raw.size, raw.ts_event
        made[at]["ts_recv"] = NONE_TIME if raw.ts_recv is None else raw.ts_recv
    return made


def market(
    seed: int,
    count: int,
    *,
    symbols: int = 3,
    rate: float = 20.0,
    late: float = 0.02,
    late_s: float = 120.0,
    coarse: float = 0.0,
    doubled: float = 0.0,
) -> list[Raw]:
    """Trades of a made-up market, in the order in which they come: some come late, some twice."""
    chance = random.Random(seed)
    names = [f"S{number}USDT" for number in range(symbols)]
    ids = dict.fromkeys(names, 1000) | {names[0]: 10**18 - 500}  # as long as those of a derivatives market, in the end
    prices = {name: 10 ** chance.randint(5, 12) for name in names}
    ts, found = 1_700_000_000_000_000, []
    for _ in range(count):
        ts += int(chance.expovariate(rate) * 1e6)
        name = names[min(int(chance.paretovariate(1.0)) - 1, symbols - 1)]
        prices[name] = max(100, prices[name] + chance.randint(-50, 50) * max(1, prices[name] // 100_000))
        trades = chance.choice((1, 1, 1, 3)) if name == names[-1] and symbols > 1 else 1
        is_coarse = chance.random() < coarse
        ts_event = ts // 1000 * 1000 if is_coarse else ts
        size = chance.randint(1, 10**11)
        raw = Raw(name, ids[name], prices[name], size, chance.randint(0, 1), ts_event, None, trades, is_coarse)
        ids[name] += trades
        delay = chance.random() * late_s * 1e6 if chance.random() < late else chance.random() * 20_000
        found.append((ts + delay, raw))
        if chance.random() < doubled:
            found.append((ts + delay + chance.random() * late_s * 1e6, raw))
    found.sort(key=lambda pair: pair[0])
    return [msgspec.structs.replace(raw, ts_recv=int(at)) for at, raw in found]


def hidden(raw: Raw, raws: Sequence[Raw]) -> bool:
    """Whether a trade of a market is one that never comes: those of one symbol in two stretches."""
    since = raw.ts_event - raws[0].ts_event
    return raw.symbol == "S0USDT" and (20 * SECOND < since < 27 * SECOND or 70 * SECOND < since < 71 * SECOND)


def past(whole: Sequence[Raw], raws: Sequence[Raw]) -> list[Told]:
    """Answers of a venue that knows the whole market, to who has not heard all of it.

    Candles of the past before anything was heard, while trades come, again, and of windows that lack trades. Those of
    five seconds, which it does not have, follow from those of one.
    """
    began = raws[0].ts_recv or 0

    def after(seconds: int, symbol: str, interval: str, earlier: int = 0) -> Told:
        ts_recv = began + seconds * SECOND
        place = next(at for at, raw in enumerate(raws) if (raw.ts_recv or 0) >= ts_recv)
        return told(whole, place, symbol, interval, ts_recv, earlier)

    # None of windows so old that an engine on one machine has forgotten what it gave for them (`GIVEN_LIVE`).
    return [
        after(0, "S1USDT", "1m", 70),
        *(after(5, name, "1m", 40) for name in ("S0USDT", "S2USDT")),
        after(10, "S0USDT", "1s", 33),
        *(after(100, "S0USDT", interval) for interval in ("1s", "1m")),
        *(after(140, name, "1s") for name in ("S0USDT", "S2USDT")),
    ]
