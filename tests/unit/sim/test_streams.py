"""Every stream agrees with the trades, is read by our own codec, and does not depend on how it is asked for."""

import json
from itertools import pairwise

import pytest

from tapeflow.domain.events import Quarantine
from tapeflow.domain.time import DAY, HOUR, SECOND
from tapeflow.sim import answers, wire
from tapeflow.sim.bars import INTERVALS, bar_end, bar_start
from tapeflow.sim.edition import Edition
from tapeflow.sim.spec import specs
from tapeflow.sim.spot import SpotMarket
from tapeflow.sim.streams import read_stream, sent
from tapeflow.venues.binance.codec import Binance

NOW = 1_795_273_958_123_456
KINDS = (
    *("trade", "aggTrade", "bookTicker", "depth", "depth@100ms", "depth5", "depth20@100ms"),
    *("miniTicker", "ticker", "ticker_1h", "ticker_4h", "ticker_1d", "avgPrice"),
    *(f"kline_{interval}" for interval in INTERVALS),
    "kline_1d@+08:00",
)


@pytest.fixture(scope="module")
def edition():
    return Edition(SpotMarket(specs(7, 200.0, 20)[1], 7), (NOW - 2 * DAY) // DAY * DAY)


def events(edition, kind, start=NOW - 4 * SECOND, end=NOW, unit=wire.MICRO):
    return list(sent(read_stream(f"ethusdt@{kind}"), edition, start, end, unit))


def payloads(edition, kind, **more):
    return [json.loads(text) for _, text in events(edition, kind, **more)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", [wire.MILLI, wire.MICRO])
def test_our_codec_reads_it_whole(edition, kind, unit):
    codec, found = Binance(), events(edition, kind, unit=unit)
    assert found
    for _, payload in found:
        outputs = codec.receive(f'{{"stream":"ethusdt@{kind}","data":{payload}}}'.encode(), NOW)
        assert not [output for output in outputs if isinstance(output, Quarantine)]
    assert codec.unknown_fields == 0


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_make_the_whole(edition, kind):
    cuts = [NOW - 4 * SECOND, NOW - 3 * SECOND, NOW - 2_500_001, NOW - 1_000_000, NOW - 7, NOW]
    parts = [events(edition, kind, low, high) for low, high in pairwise(cuts)]
    assert events(edition, kind) == [event for part in parts for event in part]


def test_names_that_are_none():
    for name in ("btcusdt@Trade", "btcusdt@kline_1M0", "BTCUSDT@trade", "btcusdt", "btcusdt@depth7", "!ticker@arr", ""):
        assert read_stream(name) is None


def test_aggregates_are_made_of_trades(edition):
    trades = {row["t"]: row for row in payloads(edition, "trade")}
    rows = payloads(edition, "aggTrade")
    assert [row["a"] for row in rows] == list(range(rows[0]["a"], rows[-1]["a"] + 1))
    assert any(row["l"] > row["f"] for row in rows)
    covered = []
    for row in rows:
        parts = [trades[id] for id in range(row["f"], row["l"] + 1)]
        covered += range(row["f"], row["l"] + 1)
        assert {(part["p"], part["T"], part["m"]) for part in parts} == {(row["p"], row["T"], row["m"])}
        assert sum(steps(part["q"]) for part in parts) == steps(row["q"])
    assert covered == sorted(trades)


def steps(text):
    return int(text.replace(".", ""))


def test_a_book_from_any_snapshot_has_the_quoted_prices(edition):
    market = edition.market
    quotes = {row["u"]: row for row in payloads(edition, "bookTicker")}
    for kind in ("depth", "depth@100ms"):
        deltas = payloads(edition, kind)
        assert all(after["U"] == before["u"] + 1 for before, after in pairwise(deltas))
        for slot in range(market.slot_at(NOW - 3 * SECOND), market.slot_at(NOW - 2 * SECOND), 7):
            book = json.loads(answers.depth(edition, slot, 5000))
            sides = [dict(map(tuple, book["bids"])), dict(map(tuple, book["asks"]))]
            for delta in deltas:
                if delta["u"] <= book["lastUpdateId"]:
                    continue
                for side, changed in zip(sides, (delta["b"], delta["a"]), strict=True):
                    side.update(map(tuple, changed))
                    for price in [price for price, size in side.items() if not steps(size)]:
                        del side[price]
                quote = quotes[delta["u"]]
                assert max(sides[0].items(), key=lambda level: steps(level[0])) == (quote["b"], quote["B"])
                assert min(sides[1].items(), key=lambda level: steps(level[0])) == (quote["a"], quote["A"])


def test_klines_pushed_are_klines_answered(edition):
    for interval in ("1s", "1m", "1h", "1d"):
        for row in payloads(edition, f"kline_{interval}"):
            k = row["k"]
            wanted = json.loads(answers.kline_row(edition, interval, k["t"], row["E"], wire.MICRO))
            assert [k[key] for key in "tohlcvTqnVQB"] == wanted
    closed = [row["k"]["x"] for row in payloads(edition, "kline_1s")]
    assert closed == [True] * 4


@pytest.mark.parametrize("zone_us", [0, 8 * HOUR, -5 * HOUR])
@pytest.mark.parametrize("interval", INTERVALS)
def test_bars_lie_side_by_side(interval, zone_us):
    start = bar_start(interval, NOW, zone_us)
    end = bar_end(interval, start, zone_us)
    assert start <= NOW < end
    assert bar_start(interval, start, zone_us) == start
    assert bar_start(interval, end, zone_us) == end
    assert bar_start(interval, end - 1, zone_us) == start
    assert bar_end(interval, bar_start(interval, start - 1, zone_us), zone_us) == start


def test_days_begin_at_midnight_and_weeks_on_monday():
    assert bar_start("1d", NOW) % DAY == 0
    assert bar_start("1d", NOW, 8 * HOUR) % DAY == 16 * HOUR
    assert (bar_start("1w", NOW) // DAY + 4) % 7 == 1
    assert bar_start("1M", NOW) == 1_793_491_200_000_000


def test_tickers_agree(edition):
    full, mini = payloads(edition, "ticker")[0], payloads(edition, "miniTicker")[0]
    assert {key: full[key] for key in "Ecohlvq"} == {key: mini[key] for key in "Ecohlvq"}
    day = payloads(edition, "ticker_1d")[0]
    assert day["O"] <= full["O"] < day["O"] + 60 * SECOND
    rest = json.loads(answers.day_ticker(edition, full["C"], wire.MICRO, is_mini=False))
    assert [rest[key] for key in ("openPrice", "volume", "quoteVolume", "firstId", "lastId", "count")] == [
        full[key] for key in ("o", "v", "q", "F", "L", "n")
    ]
    assert full["n"] == full["L"] - full["F"] + 1
