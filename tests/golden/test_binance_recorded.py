"""Frames that the exchange really sent, replayed whole: nothing is refused, and the figures of their README hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from recordings import SPOT_2024, frames, lines, recording
from tapeflow.app.replay import Replay, replay
from tapeflow.domain.book import OrderBook
from tapeflow.domain.events import BookDelta, BookSnapshot, Gap, Kline, Output, Quarantine, Quote, Trade
from tapeflow.venues.binance import Binance

COMPILED = pytest.mark.parametrize("compiled", [False, None], ids=["portable", "default"])


def outputs(venue: Binance, name: str) -> Iterator[Output]:
    for frame, request in frames(name):
        yield from venue.receive(frame, request=request)


def replayed(paths: list[Path], channels: str, compiled: bool | None = None) -> Replay:
    return replay(paths, channels=channels.split(","), compiled=compiled)


def altered(tmp_path: Path, name: str, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    """A copy of a recording with its lines changed."""
    path = tmp_path / name.removesuffix(".gz")
    path.write_bytes(b"\n".join(change(lines(name))) + b"\n")
    return path


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
    assert venue.unknown_fields == 0


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


@COMPILED
def test_the_trades_are_one_unbroken_run(compiled: bool | None) -> None:
    done = replayed([recording(name) for name in SPOT_2024], "trades,coverage", compiled)
    ids = [int(row["id"]) for row in done.rows("trades")]
    assert sorted(ids) == list(range(min(ids), max(ids) + 1))
    (coverage,) = [row for row in done.rows("coverage") if row["stream"] == "trades"]
    assert (coverage["state"], coverage["first_id"], coverage["last_id"]) == ("complete", str(min(ids)), str(max(ids)))
    assert (len(ids), done.summary.duplicates, done.summary.gaps) == (19904, 0, 0)


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
            is_whole = sum(t.last_id - t.first_id + 1 for t in touching) == last - first + 1
            is_inside = any(t.first_id < first or t.last_id > last for t in touching)
            if before.ts_start != after.ts_start or is_inside or not is_whole:
                continue
            assert sum(trade.size for trade in touching) == after.volume - before.volume
            assert sum(trade.size * trade.price for trade in touching) == after.quote_volume - before.quote_volume
            compared += 1
    assert compared == 96


ONCE = "trades,quotes,book,candles,moving_average,indicators,coverage,late,quarantine"


@COMPILED
@pytest.mark.parametrize("name", ["spot_3symbols_20210404.cryptofeed", "spot_btcusdt_20230405.dat.gz"])
def test_everything_twice_gives_everything_once(tmp_path: Path, name: str, compiled: bool | None) -> None:
    once = replayed([recording(name)], ONCE, compiled)
    twice = altered(tmp_path, name, lambda whole: [line for line in whole for _ in range(2)])
    doubled = replayed([twice], ONCE, compiled)
    for channel in ONCE.split(","):
        assert doubled.rows(channel) == once.rows(channel), channel
    assert doubled.summary.duplicates >= len(once.rows("trades")) > 0


@COMPILED
def test_lost_frames_are_gaps_that_name_their_ids(tmp_path: Path, compiled: bool | None) -> None:
    name = SPOT_2024[0]
    kept = lines(name)
    marks = {"trades": b'"e":"trade"', "book": b"depthUpdate"}
    lost = {kind: next(at for at in range(2000, len(kept)) if mark in kept[at]) for kind, mark in marks.items()}
    path = altered(tmp_path, name, lambda whole: [line for at, line in enumerate(whole) if at not in lost.values()])
    done = replayed([path], "coverage", compiled)
    gaps = {row["stream"]: row for row in done.rows("coverage") if row["state"] == "gap"}
    found = {stream: (int(row["first_id"]), int(row["last_id"])) for stream, row in gaps.items()}
    assert found == {"trades": ids_of(kept[lost["trades"]]), "book": ids_of(kept[lost["book"]])}
    assert done.summary.gaps == 2


def ids_of(line: bytes) -> tuple[int, int]:
    payload: dict[str, Any] = json.loads(line.split(b" ", 1)[1])["data"]
    return (payload["t"], payload["t"]) if payload["e"] == "trade" else (payload["U"], payload["u"])


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
