"""What a feed sends to the venue and asks of it."""

from __future__ import annotations

import msgspec
import pytest

from tapeflow.domain.events import Fetch, Gap
from tapeflow.venues.binance.wire import BinanceWire, changes

WIRE = BinanceWire()


def ts(second: int) -> int:
    return (1_700_000_000 + second) * 1_000_000


def test_streams_are_subscribed_in_batches_each_once() -> None:
    wanted = [name for n in range(150) for name in WIRE.streams(f"S{n}USDT", {"trades", "quotes", "book"}, ())]
    sent = [msgspec.json.decode(action.message) for action in WIRE.subscribe([*wanted, *wanted], 4)]
    assert [(message["method"], message["id"], len(message["params"])) for message in sent] == [
        ("SUBSCRIBE", 4, 200),
        ("SUBSCRIBE", 5, 200),
        ("SUBSCRIBE", 6, 50),
    ]
    assert sent[0]["params"][:3] == ["s0usdt@trade", "s0usdt@bookTicker", "s0usdt@depth@100ms"]


def test_klines_only_of_intervals_that_the_venue_has() -> None:
    assert WIRE.streams("A", {"klines"}, ("1s", "5s", "1m")) == ["a@kline_1s", "a@kline_1m"]
    assert WIRE.candles("A", "7m") is None
    fetch = WIRE.candles("A", "5s", 2_000_000, 7_000_000)  # merged from candles of a second
    assert fetch is not None
    assert fetch.request == "/api/v3/klines?symbol=A&interval=1s&limit=1000&startTime=2000&endTime=6999"


def test_what_a_message_of_ours_asks_for_and_gives_up() -> None:
    streams = WIRE.streams("A", {"trades", "quotes", "book", "tickers", "klines"}, ("1m",))
    (message,) = WIRE.subscribe(streams, 1)
    assert changes(message.message) == (
        [
            ("a@bookTicker", "quotes", "A"),
            ("a@depth@100ms", "book", "A"),
            ("a@ticker", "tickers", "A"),
            ("a@kline_1m", "klines", "A"),
        ],
        [],
    )
    (message,) = WIRE.unsubscribe(streams, 2)
    assert changes(message.message) == ([], streams)
    for other in (b"", b"{", b"[1]", b'{"method":"LIST_SUBSCRIPTIONS","id":3}', b'{"method":"SUBSCRIBE","params":7}'):
        assert changes(other) == ([], [])


def test_the_stream_of_a_frame() -> None:
    assert WIRE.stream_of(b'{"stream":"btcusdt@depth@100ms","data":{}}') == b"btcusdt@depth@100ms"
    assert WIRE.stream_of(b'{"result":null,"id":1}') == b""
    assert WIRE.symbol_of("btcusdt@depth@100ms") == "BTCUSDT"
    assert WIRE.symbol_of("!miniTicker@arr") == ""


@pytest.mark.parametrize(("first", "last", "limit"), [(6, 6, "1"), (6, 7, "2"), (6, 1005, "1000"), (6, 9000, "1000")])
def test_a_hole_is_asked_for_by_aggregates_and_then_by_id(first: int, last: int, limit: str) -> None:
    gap = Gap("trades", "X", first, last, ts(5), ts(last + 1), "missing_ids")
    by_time = {"symbol": "X", "startTime": str(ts(5) // 1000), "limit": "1000"}
    assert WIRE.refill(gap) == Fetch("/api/v3/aggTrades", by_time, "missing_ids", "X", 4)
    by_id = {"symbol": "X", "fromId": "6", "limit": limit}
    assert WIRE.refill(gap, 1) == Fetch("/api/v3/historicalTrades", by_id, "missing_ids", "X", 25)
    assert WIRE.refill(gap, 3) is None


@pytest.mark.parametrize(
    "gap",
    [
        Gap("book", "X", 6, 7, ts(5), ts(8), "missing_updates"),
        Gap("trades", "X", None, 7, ts(5), ts(8), "disconnect"),
        Gap("trades", "X", 6, None, ts(5), ts(8), "disconnect"),
    ],
)
def test_a_gap_that_is_no_hole_in_the_trades_is_not_asked_for(gap: Gap) -> None:
    assert WIRE.refill(gap) is None
