"""Frames that the exchange really sent, replayed whole: nothing is refused, and the figures of their README hold."""

from __future__ import annotations

import gzip
import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import pytest

from tapeflow.domain.book import OrderBook
from tapeflow.domain.events import (
    BookDelta,
    BookSnapshot,
    Fetch,
    Gap,
    Kline,
    Output,
    Quarantine,
    Quote,
    Trade,
)
from tapeflow.venues.binance import Binance

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = (ROOT / os.environ.get("TAPEFLOW_RECORDINGS", "../shared/data/wire")).resolve() / "binance"

#: A received frame, or the answer to a REST request; connects, sent messages and the configuration are neither.
CRYPTOFEED = re.compile(rb"(?:(https?://\S+) -> )?[0-9.]+: (.*)", re.DOTALL)

Frames = Iterator[tuple[bytes, str | None]]


def frames(name: str) -> Frames:
    """The frames of a recording in their order, each with the request it answers."""
    path = RECORDINGS / name
    if not path.is_file():
        reason = f"recorded data not found: {path}; set TAPEFLOW_RECORDINGS to the folder that holds binance/"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return _timed(path) if path.suffix == ".gz" else _cryptofeed(path)


def _timed(path: Path) -> Frames:
    with gzip.open(path) as lines:
        for line in lines:
            yield (line if line.startswith((b"{", b"[")) else line.split(b" ", 1)[1]), None


def _cryptofeed(path: Path) -> Frames:
    for line in path.read_bytes().splitlines():
        match = CRYPTOFEED.fullmatch(line)
        if match is not None:
            yield match[2], match[1].decode() if match[1] else None


def outputs(venue: Binance, name: str) -> Iterator[Output]:
    for frame, request in frames(name):
        yield from venue.receive(frame, request=request)


SPOT_2024 = ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (SPOT_2024, {"Trade": 19904, "Quote": 73174, "BookSnapshot": 1, "BookDelta": 6493, "Fetch": 1}),
        (("spot_btcusdt_20230405.dat.gz",), {"Trade": 3144, "Quote": 8015, "Fetch": 1}),
        (
            ("spot_3symbols_20210404.cryptofeed",),
            {"Trade": 1910, "Kline": 118, "BookSnapshot": 3, "BookDelta": 2656, "Fetch": 3},
        ),
        (
            ("spot_10symbols_20210405.cryptofeed",),
            {"Trade": 1240, "Quote": 5408, "BookSnapshot": 10, "BookDelta": 4642, "Fetch": 10},
        ),
        (
            ("spot_4symbols_20211011.ws.cryptofeed", "spot_4symbols_20211011.http.cryptofeed"),
            {"Trade": 2, "Quote": 84, "Kline": 2, "BookSnapshot": 4, "BookDelta": 172, "Fetch": 4},
        ),
        (("exchangeInfo_20211011.cryptofeed",), {"Status": 1}),
    ],
)
def test_every_recorded_frame_is_read(names: tuple[str, ...], expected: dict[str, int]) -> None:
    venue = Binance()
    counted: Counter[str] = Counter()
    for name in names:
        for output in outputs(venue, name):
            assert not isinstance(output, Quarantine | Gap), output
            counted[type(output).__name__] += 1
    assert counted == expected
    assert (venue.unknown_fields, venue.duplicates, venue.ignored_aggregates) == (0, 0, 0)


def test_the_book_agrees_with_the_quotes() -> None:
    """After each applied change, with the newest quote received whose update id is not beyond the book's.

    The two that differ are quotes that the venue did not send: the best bid is gone from the book, and the newest
    quote at or before the book's id still shows it.
    """
    venue, book = Binance(), OrderBook()
    quotes: list[Quote] = []
    equal = compared = 0
    for name in SPOT_2024:
        for output in outputs(venue, name):
            match output:
                case Quote():
                    quotes.append(output)
                case BookSnapshot():
                    book.reset(output.id, output.bids, output.asks)
                case BookDelta():
                    book.apply(output.last_id, output.bids, output.asks)
                    assert not book.is_crossed
                    newest = next(quote for quote in reversed(quotes) if quote.id <= book.id)
                    best = (*book.bids(1)[0], *book.asks(1)[0])
                    compared += 1
                    equal += best == (newest.bid, newest.bid_size, newest.ask, newest.ask_size)
    assert (equal, compared) == (6491, 6493)


def test_the_trades_are_one_unbroken_run() -> None:
    venue = Binance()
    trades = [output for name in SPOT_2024 for output in outputs(venue, name) if isinstance(output, Trade)]
    assert [trade.id for trade in trades] == list(range(trades[0].id, trades[-1].id + 1))
    assert venue.seen.holes("BTCUSDT") == []
    assert len(venue.seen.ranges("BTCUSDT")) == 1


def test_between_two_pushes_the_trades_are_the_growth_of_the_candle() -> None:
    """By ids, for a push names its last trade and may overtake the aggregate that holds it.

    A push in the middle of an aggregate cannot be compared: its edge is inside.
    """
    venue = Binance()
    trades: list[Trade] = []
    klines: dict[str, list[Kline]] = {}
    for output in outputs(venue, "spot_3symbols_20210404.cryptofeed"):
        if isinstance(output, Trade):
            trades.append(output)
        elif isinstance(output, Kline):
            klines.setdefault(output.symbol, []).append(output)
    compared = 0
    for symbol, pushes in klines.items():
        for before, after in pairwise(pushes):
            assert before.last_id is not None
            assert after.last_id is not None
            first, last = before.last_id + 1, after.last_id
            touching = [t for t in trades if t.symbol == symbol and t.last_id >= first and t.first_id <= last]
            is_whole = venue.seen.covers(symbol, first, last)
            is_inside = any(t.first_id < first or t.last_id > last for t in touching)
            if before.ts_start != after.ts_start or is_inside or not is_whole:
                continue
            assert sum(trade.size for trade in touching) == after.volume - before.volume
            assert sum(trade.size * trade.price for trade in touching) == after.quote_volume - before.quote_volume
            compared += 1
    assert compared == 96


def test_everything_twice_gives_everything_once() -> None:
    once, twice = Binance(), Binance()
    name = "spot_3symbols_20210404.cryptofeed"
    expected = list(outputs(once, name))
    doubled = [
        output for frame, request in frames(name) for _ in range(2) for output in twice.receive(frame, request=request)
    ]
    # Candles are pushes without an id: each is a row of its own.
    assert [x for x in doubled if not isinstance(x, Kline)] == [x for x in expected if not isinstance(x, Kline)]
    assert twice.duplicates == sum(isinstance(x, Trade) for x in expected)


def test_a_lost_frame_is_a_gap_that_names_its_ids() -> None:
    lost: dict[str, int] = {}
    venue = Binance()
    found: list[Output] = []
    for at, (frame, request) in enumerate(frames("spot_btcusdt_20240808.gz")):
        kind = "book" if b"depthUpdate" in frame else "trades" if b'"e":"trade"' in frame else ""
        if at > 2000 and kind and kind not in lost:
            lost[kind] = at
            continue
        found += [x for x in venue.receive(frame, request=request) if isinstance(x, Gap | Fetch)]
    gaps = {x.stream: x for x in found if isinstance(x, Gap)}
    assert set(gaps) == {"book", "trades"}
    assert gaps["trades"].first_id == gaps["trades"].last_id
    paths = [x.path for x in found if isinstance(x, Fetch)]
    assert sorted(paths) == ["/api/v3/depth", "/api/v3/depth", "/api/v3/historicalTrades"]


@pytest.mark.parametrize(
    "name", ["spot_btcusdt_20240808.gz", "spot_3symbols_20210404.cryptofeed", "spot_10symbols_20210405.cryptofeed"]
)
def test_cut_and_restored_after_every_frame(name: str) -> None:
    whole, cut = Binance(), Binance()
    for frame, request in islice(frames(name), 500):
        assert cut.receive(frame, request=request) == whole.receive(frame, request=request)
        snapshot = cut.snapshot()
        assert snapshot == whole.snapshot()
        cut = Binance()
        cut.restore(snapshot)
