"""The topic of trades as a collector writes it, from trades in memory; and what the embedded engine gives for them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from tapeflow import venues
from tapeflow.domain.number import decimal_text
from tapeflow.engine.closings import Closings
from tapeflow.engine.columns import NONE_TIME, TRADE, Rows
from tapeflow.engine.embedded import Engine
from tapeflow.flow.nodes import Candles, Flow, Mean
from tapeflow.stores.results import Results


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


class Heard:
    """A sink that keeps trades as they were stamped beside the rows of the other channels."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.trades: list[Rows] = []

    def columns(self, channel: str, rows: Rows) -> None:
        if channel == "trades":
            self.trades.append(rows.copy())
        self.results.columns(channel, rows)

    def taken(self) -> Rows:
        """The trades since the last time."""
        found, self.trades = np.concatenate(self.trades or [np.zeros(0, TRADE)]), []
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.results, name)


class Answer(msgspec.Struct):
    """What the embedded engine gives: rows of the topic of trades in order, and the last row of every key.

    ``pause`` is the place in the topic before which all symbols were quiet, 0 if they never were.
    """

    topic: list[dict[str, Any]]
    rows: dict[str, list[dict[str, Any]]]
    pause: int = 0


def answer(
    flow: Flow, raws: Sequence[Raw], *, batch: int = 997, compiled: bool | None = None, quiet_us: int = 0
) -> Answer:
    """Run trades through the embedded engine; with ``quiet_us`` all symbols are quiet for so long in the middle."""
    venue = venues.create("binance")
    channels = ("trades", "candles", "moving_average", "indicators")
    scales = {"price_scale": venue.price_scale, "size_scale": venue.size_scale}
    sink = Heard(Results(flow, venue.name, channels, **scales, all_revisions=False))
    engine = Engine(flow, venue, sink, channels=channels, compiled=compiled)
    closings = Closings([node.window for node in (*flow.of(Candles), *flow.of(Mean))])
    topic: list[dict[str, Any]] = []
    half = len(raws) // 2 if quiet_us else len(raws)
    _feed(engine, raws[:half], batch)
    if quiet_us:
        engine.tick(max(raw.ts_recv or 0 for raw in raws[:half]) + quiet_us)
        engine.flush()
        topic += _topic(engine, closings, sink.taken())
    pause = len(topic)
    _feed(engine, [_moved(raw, quiet_us) for raw in raws[half:]], batch)
    engine.finish()
    topic += _topic(engine, closings, sink.taken())
    sink.results.names = engine.symbols
    decode = msgspec.json.decode
    rows = {name: [decode(line) for line in sink.results.table(name).json_lines()] for name in channels[1:]}
    return Answer(topic, rows, pause)


def _feed(engine: Engine, raws: Sequence[Raw], batch: int) -> None:
    for at in range(0, len(raws), batch):
        engine.feed_trades(_packed(engine, raws[at : at + batch]))


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


def _topic(engine: Engine, closings: Closings, trades: Rows) -> Iterator[dict[str, Any]]:
    names, now = engine.symbols, engine.watermarks()
    marks = {number: now[name] for number, name in enumerate(names) if name in now}
    symbols = trades["symbol"].astype(np.int64)
    times = closings.add(symbols, trades["ts_event"], trades["ts_watermark"], marks)
    at = 0
    for place in range(len(trades)):
        while at < len(times) and times[at][0] <= place:
            yield _time(names, times[at])
            at += 1
        yield _row(names, trades[place])
    for row in times[at:]:
        yield _time(names, row)


def _time(names: Sequence[str], row: tuple[int, int, int]) -> dict[str, Any]:
    return {"venue": "binance", "symbol": names[row[1]], "ts_watermark": row[2]}


def _row(names: Sequence[str], row: Any) -> dict[str, Any]:
    made = {
        "venue": "binance",
        "symbol": names[row["symbol"]],
        "id": str(row["id"]),
        "price": decimal_text(int(row["price"]), 8),
        "size": decimal_text(int(row["size"]), 8),
        "side": "sell" if row["side"] else "buy",
        "ts_event": int(row["ts_event"]),
        "ts_recv": None if row["ts_recv"] == NONE_TIME else int(row["ts_recv"]),
        "ts_watermark": None if row["ts_watermark"] == NONE_TIME else int(row["ts_watermark"]),
    }
    if row["aggregate"]:
        made |= {"first_id": str(row["first_id"]), "last_id": str(row["last_id"])}
    return made | ({"coarse": True} if row["coarse"] else {})


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
    ids = dict.fromkeys(names, 1000)
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
