"""What a bus tells of trades and klines is enough: whoever folds the rows as they stand has the engine's own answer."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from typing import Any

import pytest

from tapeflow import venues
from tapeflow.app.collector import events_of, windows_of
from tapeflow.app.pipeline import closed_among
from tapeflow.domain.window import Window
from tapeflow.engine.closings import Closings
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.engine.pushes import Pushes
from tapeflow.engine.results import VENUE_CANDLES
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Candles, Flow, Mean
from tapeflow.stores.events import lines
from tapeflow.stores.results import Results
from topic import Raw, Told, feed, hidden, market, past

US = 1_700_000_000_000_000
SECOND = 1_000_000
SCALES = {"price_scale": 8, "size_scale": 8}


def flow() -> Flow:
    made = Builder("told")
    made.trades().candles("1s", "5s", "1m")
    made.trades().moving_average("3s", "500ms")
    made.klines().moving_average("2s", "500ms")
    return made.build()


def messages(seed: int, count: int = 400) -> list[tuple[int, bytes]]:
    """Trades and kline pushes of two symbols: out of order, some late by seconds, some twice, with quiet times."""
    made = random.Random(seed)
    at, found, id = US, [], 100
    for _ in range(count):
        at += made.choice((1_000, 80_000, 400_000, 400_000, 15 * SECOND if made.random() < 0.05 else 10_000))
        symbol = made.choice(("AAAUSDT", "AAAUSDT", "BBBUSDT"))
        time = at - made.choice((0, 0, 0, 700_000, 4 * SECOND))
        id += 1
        price = f"{made.randint(90, 110)}.{made.randint(0, 99):02}"
        if made.random() < 0.7:
            row: dict[str, Any] = {"e": "trade", "E": time, "s": symbol, "t": id, "p": price, "q": "0.5", "T": time}
            found.append((at, json.dumps(row | {"m": bool(id % 2), "M": True}).encode()))
        else:
            found.append((at, push(symbol, time, price)))
        if made.random() < 0.1:
            found.append((at + 5, found[-1][1]))
    return found


def push(symbol: str, time: int, price: str) -> bytes:
    start = time // SECOND * SECOND
    candle = {"t": start, "T": start + SECOND - 1, "s": symbol, "i": "1s", "f": -1, "L": -1, "n": 0, "x": False}
    candle |= {"o": price, "c": price, "h": price, "l": price, "v": "0", "q": "0", "V": "0", "Q": "0", "B": "0"}
    return json.dumps({"e": "kline", "E": time, "s": symbol, "k": candle}).encode()


def published(given: list[tuple[int, bytes]], batch: int) -> dict[str, list[dict[str, Any]]]:
    """The rows of both topics, made in batches, with the clock's ticks between."""
    whole = flow()
    part = events_of(whole, with_klines=True)
    held: list[Results] = []

    class Sink(Results):
        pass

    def new() -> Sink:
        return Sink(part, "binance", ("trades", "klines", "late"), **SCALES)

    sink = new()
    engine = Engine(part, venues.create("binance"), _Swapped(lambda: sink), channels=("trades", "klines"), of_tape=True)
    closings, pushes = Closings(windows_of(whole, "trades")), Pushes(windows_of(whole, "klines"), whole.horizon_us)
    out: dict[str, list[dict[str, Any]]] = {"trades": [], "klines": []}
    for at in range(0, len(given), batch):
        for ts, frame in given[at : at + batch]:
            engine.feed(Frames.of([(ts, frame)]))
            engine.tick(ts)
        engine.flush()
        results, sink = sink, new()
        results.names = engine.symbols
        closed_among(results, engine.watermarks(), closings, pushes)
        held.append(results)
        for channel, rows in out.items():
            rows += [json.loads(line) for line in lines(results, channel)[1]]
    return out


class _Swapped:
    """The sink that is there at the time."""

    def __init__(self, now: Any) -> None:
        self._now = now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now(), name)


def folded(rows: list[dict[str, Any]], windows: dict[str, Window], price: str) -> dict[tuple[Any, ...], Any]:
    """(symbol, window, end): first price, last price, count, revision, closed; by brute force over rows in order."""
    events: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    timed: set[tuple[str, str, int]] = set()
    for row in rows:
        for name, window in windows.items():
            if "symbol" in row and "venue" in row and len(row) == 3:
                timed.add((row["symbol"], name, row["ts_watermark"]))
                continue
            for end in window.ends(row["ts_event"]):
                events[row["symbol"], name, end].append(row)
    found = {}
    for key, inside in events.items():
        late = sum(row["ts_watermark"] is not None and row["ts_watermark"] >= key[2] for row in inside)
        order = sorted(inside, key=lambda row: (row["ts_event"], int(row.get("id") or 0)))
        found[key] = (order[0][price], order[-1][price], len(inside), late, key in timed or late > 0)
    return found


def answers(given: list[tuple[int, bytes]]) -> tuple[dict[Any, Any], dict[Any, Any], dict[Any, Any]]:
    """The engine's own last rows: candles, means of trades, means of klines."""
    whole = flow()
    results = Results(whole, "binance", ("candles", "moving_average"), **SCALES)
    engine = Engine(whole, venues.create("binance"), results, channels=("candles", "moving_average"), of_tape=True)
    for ts, frame in given:
        engine.feed(Frames.of([(ts, frame)]))
        engine.tick(ts)
    results.names = engine.symbols
    engine.finish()
    results.names = engine.symbols
    candles = {
        (row["symbol"], row["interval"], row["ts_end"]): row
        for row in map(json.loads, results.table("candles").json_lines())
        if row["source"] == "trades"
    }
    means = [json.loads(line) for line in results.table("moving_average").json_lines()]
    of_trades, of_klines = (
        {(row["symbol"], "", row["ts_end"]): row for row in means if row["window_ms"] == size} for size in (3000, 2000)
    )
    return candles, of_trades, of_klines


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_rows_as_they_stand_give_the_engines_answer(seed: int, batch: int) -> None:
    given, whole = messages(seed), flow()
    out = published(given, batch)
    ids = [(row["symbol"], row["id"]) for row in out["trades"] if "id" in row]
    assert len(ids) == len(set(ids)) > 100, "each event once"
    candles, of_trades, of_klines = answers(given)
    found = folded(out["trades"], {node.interval: node.window for node in whole.of(Candles)}, "price")
    assert found.keys() == candles.keys()
    for key, (open, close, count, revision, closed) in found.items():
        row = candles[key]
        want = (row["open"], row["close"], row["count"], row["revision"], row["closed"])
        assert (open, close, count, revision, closed) == want, key
    means = {node.input: node.window for node in whole.of(Mean)}
    for rows, window, expected, price in (
        (out["trades"], means["trades"], of_trades, "price"),
        (out["klines"], means["klines"], of_klines, "close"),
    ):
        found = folded(rows, {"": window}, price)
        assert found.keys() == expected.keys()
        assert len(found) > 100
        told_of = {key: (value[2], value[3]) for key, value in found.items()}
        assert told_of == {key: (row["count"], row["revision"]) for key, row in expected.items()}


def test_batches_change_nothing_within_a_symbol() -> None:
    given = messages(9)
    one, many = published(given, 1), published(given, 50)
    for channel in one:
        for symbol in ("AAAUSDT", "BBBUSDT"):
            mine = [[row for row in rows[channel] if row["symbol"] == symbol] for rows in (one, many)]
            assert mine[0] == mine[1]


def collected(raws: list[Raw], answers: list[Told], cuts: list[int]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each symbol, of batches that are put together as a pipeline does."""
    whole = flow()
    part = events_of(whole, with_klines=False)

    def new() -> Results:
        return Results(whole, "binance", ("trades", VENUE_CANDLES), **SCALES)

    sink, held = new(), new()
    told = list(whole.of(Candles))
    swapped = _Swapped(lambda: sink)
    engine = Engine(part, venues.create("binance"), swapped, channels=("trades",), of_tape=True, told=told)
    closings = Closings(windows_of(whole, "trades"))
    places = sorted({0, len(raws), *cuts, *(one.place for one in answers)})
    for start, stop in zip([0, *places], places, strict=False):
        feed(engine, raws[start:stop], 100)
        for one in answers:
            if one.place == stop:
                engine.feed(one.frames())
        if stop in cuts or stop == len(raws):
            engine.flush()
            results, sink = sink, new()
            results.names = engine.symbols
            closed_among(results, engine.watermarks(), closings, None)
            held.merge(results)
    out: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in map(json.loads, lines(held, "trades")[1]):
        out[row["symbol"]].append(row)
    return out


@pytest.mark.parametrize("seed", range(3))
def test_candles_of_the_venue_have_their_place_whatever_the_batches_are(seed: int) -> None:
    whole = market(seed, 3000, late=0.1, late_s=30.0, rate=12.0)
    raws = [raw for raw in whole if not hidden(raw, whole)]
    answers = past(whole, raws)
    once = collected(raws, answers, [])
    assert sum("candle" in row for rows in once.values() for row in rows) > 300
    for cuts in ([100, 1500], list(range(0, len(raws), 7))):
        assert collected(raws, answers, cuts) == once
    for rows in once.values():
        stamps = [row["ts_watermark"] for row in rows if row["ts_watermark"] is not None]
        assert stamps == sorted(stamps), "what has a stamp stands where its stamp says"
