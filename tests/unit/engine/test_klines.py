"""The sliding mean over kline pushes, against brute force; and folds of one's own, against the kernel's."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from typing import Any

from tapeflow import venues
from tapeflow.domain.candle import CandleFold
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.flow.builder import Builder
from tapeflow.sim.sample import sample_frames
from tapeflow.stores.results import Results
from tapeflow.testing.engines import Message, run

SIZE, SLIDE = 10_000_000, 4_000_000


def pushes() -> list[dict[str, Any]]:
    payloads = [json.loads(frame) for _, frame in sample_frames(seed=5, seconds=90)]
    return [p["data"] for p in payloads if p.get("data", {}).get("e") == "kline"]


def expected(klines: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[float, int]]:
    windows: dict[tuple[str, int], list[int]] = defaultdict(list)
    for kline in klines:
        ts = kline["E"] * 1000
        for end in range(ts - ts % SLIDE + SLIDE, ts + SIZE + 1, SLIDE):
            windows[kline["s"], end].append(round(float(kline["k"]["c"]) * 10**8))
    return {key: ((sum(held) / 10**8) / len(held), len(held)) for key, held in windows.items()}


def means(messages: list[Message], **more: Any) -> dict[tuple[str, int], tuple[float, int]]:
    made = Builder("klines")
    made.klines().moving_average("10s", "4s")
    rows = run(messages, flow=made.build(), **more)["moving_average"]
    assert {(row["window_ms"], row["slide_ms"]) for row in rows} == {(10_000, 4_000)}
    return {(row["symbol"], row["ts_end"]): (row["mean"], row["count"]) for row in rows}


def test_the_mean_of_every_push_by_its_event_time() -> None:
    klines = pushes()
    messages: list[Message] = [(None, json.dumps(kline).encode()) for kline in klines]
    assert means(messages) == expected(klines)
    shuffled = messages * 2
    random.Random(3).shuffle(shuffled)
    assert means(shuffled) == expected(klines)
    assert means(shuffled, cuts=range(0, len(shuffled), 11)) == expected(klines)


def test_a_symbol_without_pushes_has_its_windows_closed_by_time_and_shows_those_that_form() -> None:
    made = Builder("quiet", lateness="1s")
    made.klines().moving_average("10s", "4s")
    flow, channels = made.build(), ("moving_average",)

    def results() -> Results:
        return Results(flow, "binance", channels, price_scale=8, size_scale=8, all_revisions=True)

    sink, klines = results(), pushes()[:20]
    engine = Engine(flow, venues.create("binance"), sink, channels=channels, of_tape=True)
    engine.feed(Frames.of([(kline["E"] * 1000 + 100, json.dumps(kline).encode()) for kline in klines]))
    wanted = expected(klines)

    def rows(found: Results) -> dict[tuple[str, int], tuple[float, int]]:
        found.names = engine.symbols
        read = [json.loads(line) for line in found.table("moving_average").json_lines()]
        return {(row["symbol"], row["ts_end"]): (row["mean"], row["count"]) for row in read}

    closed, forming = rows(sink), results()
    engine.forming(range(len(engine.symbols)), forming)
    assert closed | rows(forming) == wanted
    assert set(closed).isdisjoint(rows(forming))
    assert rows(forming)
    last = max(kline["E"] for kline in klines) * 1000
    for second in range(30):
        engine.tick(last + second * 1_000_000)
    assert rows(sink) == wanted


def test_a_fold_of_ones_own_sees_what_the_kernel_sees() -> None:
    made = Builder("own")
    made.trades().candles("5s")
    made.trades().fold(CandleFold(), window="5s", channel="mine")
    messages: list[Message] = list(sample_frames(seed=6, seconds=40))
    random.Random(4).shuffle(messages)
    rows = run(messages, flow=made.build(), revisions=True, cuts=range(0, len(messages), 500))
    mine = [
        (r["symbol"], r["ts_start"], r["open"], r["close"], r["count"], r["vwap"], r["revision"]) for r in rows["mine"]
    ]
    assert mine
    assert mine == [
        (r["symbol"], r["ts_start"], mantissa(r["open"]), mantissa(r["close"]), r["count"], r["vwap"], r["revision"])
        for r in rows["candles"]
    ]


def mantissa(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(8, "0"))
