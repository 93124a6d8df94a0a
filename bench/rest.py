"""REST over a store of very many trades: ``python bench/rest.py [--trades 20000000] [--requests 400]``.

A store is filled with made-up trades of 50 symbols and their candles of a minute, served by the real server on loopback
and asked by one client, a process of its own that keeps its connection. Beside each: the same rows read from the store
without HTTP, and a request that reads nothing.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing as mp
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import numpy as np

from tapeflow.api.app import create
from tapeflow.api.guard import NoKeys
from tapeflow.api.limits import Limits
from tapeflow.api.server import Server
from tapeflow.app.source import RunSource
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.pages import Asked

CHANNELS = ("trades", "candles", "coverage")
SYMBOLS = 50
START = 1_700_000_000_000_000
STEP = 20_000  # microseconds between two trades of the market
MINUTE = 60_000_000

TRADES = """
    INSERT INTO trades BY NAME
    SELECT 'binance' AS venue, 'S' || (i % {n}) || 'USDT' AS symbol, CAST(i AS VARCHAR) AS id,
        (6400000 + i % 1000)::DECIMAL(38, 8) / 100 AS price, (1 + i % 97)::DECIMAL(38, 8) / 1000 AS size,
        CASE i % 2 WHEN 0 THEN 'buy' ELSE 'sell' END AS side, make_timestamptz({start} + i * {step}) AS ts_event,
        make_timestamptz({start} + i * {step} + 900) AS ts_recv, i // {n} + 1 AS seq
    FROM range({first}, {last}) AS numbers(i)
"""
CANDLES = """
    INSERT INTO candles BY NAME SELECT 'binance' AS venue, 'S' || (i % {n}) || 'USDT' AS symbol, '1m' AS interval,
        make_timestamptz(({start} // {minute} + i // {n}) * {minute}) AS ts_start,
        make_timestamptz(({start} // {minute} + i // {n} + 1) * {minute}) AS ts_end, 64000 AS open, 64001 AS high,
        63999 AS low, 64000.5 AS close, 12.5 AS volume, 800000 AS quote_volume, 6.25 AS taker_buy_volume, 60 AS count,
        64000.25 AS vwap, 'trades' AS source, true AS closed, 0 AS revision, i // {n} + 1 AS seq
    FROM range({count}) AS numbers(i)
"""


class Still:
    """The present of a market that has ended: what there is, is stored."""

    def __init__(self, end: int) -> None:
        self._end = end

    def watermark(self, symbol: str) -> int | None:
        return self._end

    def latest(self, channel: str, symbol: str) -> dict[str, Any] | None:
        return None

    def forming(self, channel: str, **key: str | int) -> list[dict[str, Any]]:
        return []


def fill(path: Path, trades: int) -> None:
    """Make the store, by whoever is quickest at it."""
    DuckStore(path, CHANNELS).close()
    with duckdb.connect(str(path)) as db:
        for first in range(0, trades, 5_000_000):
            last = min(trades, first + 5_000_000)
            db.execute(TRADES.format(n=SYMBOLS, start=START, step=STEP, first=first, last=last))
        count = max(1, trades * STEP // MINUTE) * SYMBOLS
        db.execute(CANDLES.format(n=SYMBOLS, start=START, minute=MINUTE, count=count))
        db.execute("CHECKPOINT")


def told(took: list[float]) -> str:
    p50, p99, p999 = np.percentile(took, [50, 99, 99.9])
    return f"p50 {p50:6.2f}, p99 {p99:6.2f}, p99.9 {p999:6.2f} ms"


def timed(work: Callable[[], Any], times: int) -> list[float]:
    """Milliseconds that each time took, after one that is not counted."""
    took = []
    for number in range(times + 1):
        began = time.perf_counter()
        work()
        if number:
            took.append((time.perf_counter() - began) * 1000)
    return took


def ask_all(address: str, targets: list[str]) -> list[float]:
    """The same of requests, one after the other on one connection."""
    where = urlsplit(address)
    client = http.client.HTTPConnection(where.hostname or "", where.port)
    left = iter([targets[0], *targets])

    def ask() -> None:
        client.request("GET", next(left))
        answer = client.getresponse()
        body = answer.read()
        assert answer.status == 200, body[:300]

    return timed(ask, len(targets))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--trades", type=int, default=20_000_000)
    options.add_argument("--requests", type=int, default=400)
    chosen = options.parse_args()
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.duckdb"
        began = time.monotonic()
        fill(path, chosen.trades)
        size = path.stat().st_size / 1e9
        print(f"{chosen.trades:,} trades stored in {time.monotonic() - began:.0f} s, {size:.1f} GB", flush=True)
        store = DuckStore(path, CHANNELS)
        names = [f"S{n}USDT" for n in range(SYMBOLS)]
        last = START + chosen.trades * STEP
        source = RunSource(
            store,
            Still(last),
            venue="binance",
            channels=CHANNELS,
            intervals=("1m",),
            indicators=(),
            timezone="UTC",
            scales=(8, 8),
            followed=lambda: names,
            instrument=lambda _: None,
            status=dict,
        )
        limits = Limits(requests_per_s=1e9)
        server = Server(create(source, limits), "127.0.0.1", 0, limits=limits, keys=NoKeys())
        server.start()

        def span() -> tuple[int, int]:
            start = chance.randrange(START, max(START + 1, last - 500 * MINUTE))
            return start, start + 500 * MINUTE

        def candles_in_a_range() -> str:
            start, end = span()
            return f"/v1/candles?symbol={chance.choice(names)}&interval=1m&start={start}&end={end}"

        def read_alone() -> None:
            start, end = span()
            key = {"venue": "binance", "symbol": chance.choice(names), "interval": "1m"}
            source.read(Asked(channel="candles", key=key, start=start, end=end, limit=500))

        requests = chosen.requests
        print(f"500 candles of a range, without HTTP (baseline): {told(timed(read_alone, requests))}", flush=True)
        with ProcessPoolExecutor(1, mp.get_context("spawn")) as client:
            for what, target in (
                ("a request that reads nothing (baseline)", lambda: "/v1/about"),
                ("500 candles of a range", candles_in_a_range),
                ("the newest 500 candles", lambda: f"/v1/candles?symbol={chance.choice(names)}&interval=1m"),
                (
                    "500 trades from a time on",
                    lambda: f"/v1/trades?symbol={chance.choice(names)}&start={span()[0]}&limit=500",
                ),
                ("the newest 500 trades", lambda: f"/v1/trades?symbol={chance.choice(names)}"),
            ):
                took = client.submit(ask_all, server.address, [target() for _ in range(requests)]).result()
                print(f"{what}: {told(took)}", flush=True)
        server.stop()
        store.close()


if __name__ == "__main__":
    main()
