"""Each kind of frame of the reference as the events it gives, and each way of being unreadable."""

from __future__ import annotations

from typing import Any

import pytest

from tapeflow.domain.errors import Unreadable
from tapeflow.domain.events import BookDelta, BookSnapshot, Kline, Quote, Status, Ticker, Trade
from tapeflow.domain.time import DAY, LATEST, MINUTE
from tapeflow.venues.binance.decode import FRAME_LIMIT
from tapeflow.venues.binance.frames import Reading, read_frame
from unit.venues.binance import samples
from unit.venues.binance.samples import changed, frame, without

E = 1672515782136_000


def only(payload: Any, stream: str | None = None) -> Any:
    reading = read_frame(frame(payload, stream))
    assert reading.unknown_fields == 0
    (event,) = reading.events
    return event


def refusal(payload: Any, stream: str | None = None) -> tuple[str, str]:
    with pytest.raises(Unreadable) as fault:
        read_frame(frame(payload, stream))
    return fault.value.reason, fault.value.detail


def test_trade() -> None:
    assert only(samples.TRADE) == Trade("BNBBTC", 12345, 100_000, 10_000_000_000, "sell", E - 1000, 1000, 12345, 12345)
    assert only(changed(samples.TRADE, "m", False)).side == "buy"
    assert only(without(samples.TRADE, "M")).id == 12345


def test_trade_of_old_captures_has_order_ids() -> None:
    assert only(samples.TRADE | {"b": 1, "a": 2}).id == 12345


def test_trade_in_microseconds() -> None:
    sample = samples.TRADE | {"E": 1735689600010866, "T": 1735689600010865}
    trade = only(sample)
    assert (trade.ts_event, trade.unit_us) == (1735689600010865, 1)


def test_aggregate() -> None:
    assert only(samples.AGG_TRADE) == Trade(
        "BNBBTC", 12345, 100_000, 10_000_000_000, "sell", E, 1000, 100, 105, is_aggregate=True
    )


def test_block_trade_and_reference_price_never_become_trades() -> None:
    block = only(samples.BLOCK_TRADE)
    assert block == Status("block_trade", "BNBBTC", "582: sell 5838 at 0.052", 1772506983321_000)
    assert only(samples.REFERENCE_PRICE) == Status("reference_price", "BAZUSD", "1", 1770313263917_000)
    assert only(changed(samples.REFERENCE_PRICE, "r", None)).detail == ""


def test_kline() -> None:
    assert only(samples.KLINE) == Kline(
        symbol="BNBBTC", interval="1m", ts_start=1672515780_000_000, ts_end=1672515840_000_000, open=100_000,
        high=250_000, low=50_000, close=200_000, volume=1000 * 10**8, quote_volume=10**16,
        taker_buy_volume=500 * 10**8, taker_buy_quote_volume=5 * 10**15, count=100, first_id=100, last_id=200,
        closed=False, ts_event=E,
    )  # fmt: skip


def test_kline_without_trades_has_no_ids() -> None:
    empty = only(changed(changed(samples.KLINE, "k.f", -1), "k.L", -1))
    assert (empty.first_id, empty.last_id) == (None, None)


def test_kline_of_the_east_is_told_by_the_stream_alone() -> None:
    sample = changed(samples.KLINE, "k.i", "1d")
    sample["k"] |= {"t": 1672502400000, "T": 1672588799999}
    assert only(sample).interval == "1d"
    east = only(sample, "bnbbtc@kline_1d@+08:00")
    assert (east.interval, east.ts_end - east.ts_start) == ("1d@+08:00", DAY)


@pytest.mark.parametrize(
    ("interval", "length"),
    [("1s", 1_000_000), ("3m", 3 * MINUTE), ("12h", 720 * MINUTE), ("3d", 3 * DAY), ("1w", 7 * DAY), ("1M", 31 * DAY)],
)
@pytest.mark.parametrize("unit", [1, 1000])
def test_kline_of_every_length_and_unit(interval: str, length: int, unit: int) -> None:
    start = 1735689600_000_000
    sample = changed(samples.KLINE, "k.i", interval)
    sample["k"] |= {"t": start // unit, "T": (start + length) // unit - 1}
    kline = only(sample)
    assert (kline.ts_start, kline.ts_end) == (start, start + length)


def test_full_ticker() -> None:
    ticker = only(samples.TICKER)
    assert (ticker.kind, ticker.symbol, ticker.ts_event) == ("24h", "BNBBTC", E)
    assert ticker.values == {
        "price_change": "-0.0015", "price_change_percent": "250", "weighted_avg_price": "0.0018",
        "prev_close": "0.0009", "last_price": "0.0025", "last_size": "10", "bid": "0.0024", "bid_size": "10",
        "ask": "0.0026", "ask_size": "100", "open": "0.001", "high": "0.0025", "low": "0.001", "volume": "10000",
        "quote_volume": "18", "ts_open": 0, "ts_close": 86_400_000_000, "first_id": 0, "last_id": 18150,
        "count": 18151,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["1h", "4h", "1d"])
def test_window_ticker(kind: str) -> None:
    ticker = only(samples.WINDOW_TICKER | {"e": f"{kind}Ticker"})
    assert ticker.kind == kind
    assert "bid" not in ticker.values
    assert ticker.values["ts_close"] == 1675216573749_000


def test_mini_ticker_single_and_array() -> None:
    ticker = only(samples.MINI_TICKER)
    assert ticker == Ticker(
        "BNBBTC", "mini", E,
        {"last_price": "0.0025", "open": "0.001", "high": "0.0025", "low": "0.001", "volume": "10000",
         "quote_volume": "18"},
    )  # fmt: skip
    other = samples.MINI_TICKER | {"s": "币安USDT", "new": 1}
    for stream in (None, "!miniTicker@arr"):
        reading = read_frame(frame([samples.MINI_TICKER, other], stream))
        assert [event.symbol for event in reading.events] == ["BNBBTC", "币安USDT"]  # type: ignore[union-attr]
        assert reading.unknown_fields == 1
    windows = read_frame(frame([samples.WINDOW_TICKER], "!ticker_1h@arr"))
    assert windows.events == (only(samples.WINDOW_TICKER),)


def test_average_price() -> None:
    ticker = only(samples.AVG_PRICE)
    assert ticker.kind == "avg_price"
    assert ticker.values == {"interval": "5m", "weighted_avg_price": "25776.86", "ts_close": 1693907032213_000}


def test_quote_raw_and_combined() -> None:
    quote = Quote("BNBUSDT", 400900217, 2_535_190_000, 3_121_000_000, 2_536_520_000, 4_066_000_000)
    assert only(samples.BOOK_TICKER) == only(samples.BOOK_TICKER, "bnbusdt@bookTicker") == quote
    assert only(samples.BOOK_TICKER | {"b": "0.00000000", "B": "0.00000000"}).bid_size == 0


def test_delta() -> None:
    assert only(samples.DELTA) == BookDelta("BNBBTC", 157, 160, ((240_000, 10**9),), ((260_000, 0),), E)
    assert only(samples.DELTA | {"b": [], "a": []}).bids == ()


def test_depth_is_partial_in_an_envelope_and_whole_without() -> None:
    sides = (((240_000, 10**9),), ((260_000, 10**10),))
    assert only(samples.DEPTH) == BookSnapshot("", 160, *sides)
    assert only(samples.DEPTH, "bnbbtc@depth5@100ms") == BookSnapshot("BNBBTC", 160, *sides, is_partial=True)


def test_server_shutdown() -> None:
    status = Status("server_shutdown", ts_event=1770123456789_000)
    assert only(samples.SHUTDOWN) == only(samples.SHUTDOWN, "!serverShutdown") == status


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"result": None, "id": 1}, Status("ack", detail="1")),
        ({"result": ["btcusdt@aggTrade", "b"], "id": "x"}, Status("ack", detail="x: btcusdt@aggTrade b")),
        ({"result": True, "id": 2}, Status("ack", detail="2: true")),
        ({"result": None, "id": None}, Status("ack", detail="null")),
        ({"code": 0, "msg": "Unknown property", "id": 1}, Status("error", detail="0: Unknown property (request 1)")),
        ({"code": 3, "msg": "Invalid JSON"}, Status("error", detail="3: Invalid JSON")),
        ({"error": {"code": 2, "msg": "bad"}, "id": 5}, Status("error", detail="2: bad (request 5)")),
        ({"error": {"code": 2, "msg": "bad"}}, Status("error", detail="2: bad")),
    ],
)
def test_control_answers(answer: dict[str, Any], status: Status) -> None:
    assert only(answer) == status


def test_bare_rest_answers_are_told_by_their_shape() -> None:
    assert only(samples.EXCHANGE_INFO).kind == "instruments"
    for rows in ([samples.REST_TRADE], [samples.REST_AGG_TRADE], [samples.REST_KLINE]):
        assert refusal(rows)[0] == "unattributable"
    assert read_frame(b"[]") == Reading((), 0)


def test_unknown_fields_are_counted_and_ignored() -> None:
    sample = changed(samples.KLINE | {"new": 1}, "k.newer", {"a": 1})
    reading = read_frame(frame(sample, "bnbbtc@kline_1m"))
    assert reading.unknown_fields == 2
    assert reading.events == read_frame(frame(samples.KLINE)).events
    enveloped = frame({"stream": "x", "data": samples.TRADE, "more": 1, "most": 2})
    assert read_frame(enveloped).unknown_fields == 2


ALL = [
    samples.TRADE, samples.AGG_TRADE, samples.BLOCK_TRADE, samples.KLINE, samples.MINI_TICKER, samples.TICKER,
    samples.WINDOW_TICKER, samples.AVG_PRICE, samples.DELTA, samples.REFERENCE_PRICE, samples.SHUTDOWN,
    samples.BOOK_TICKER, samples.DEPTH,
]  # fmt: skip
IGNORED = {"M", "k.B"}


def fields_of(sample: dict[str, Any]) -> list[str]:
    inner = [f"k.{name}" for name in sample["k"]] if "k" in sample else []
    return [name for name in [*sample, *inner] if name not in IGNORED]


EVERY_FIELD = [
    pytest.param(sample, name, id=f"{sample.get('e', 'nameless')}-{name}")
    for sample in ALL
    for name in fields_of(sample)
]


@pytest.mark.parametrize(("sample", "name"), EVERY_FIELD)
def test_every_field_is_needed(sample: dict[str, Any], name: str) -> None:
    reason, detail = refusal(without(sample, name))
    # Without its name a frame is of no kind at all; a few still look like a quote with a field missing.
    if name == "e":
        assert reason in {"unknown_event", "missing_field"}
    else:
        assert (reason, detail) == ("missing_field", name.rpartition(".")[2])


@pytest.mark.parametrize(("sample", "name"), EVERY_FIELD)
def test_every_field_has_its_json_type(sample: dict[str, Any], name: str) -> None:
    last = name.rpartition(".")[2]
    for wrong in ({}, True, 1.5):
        if type(wrong) is not type(samples_value(sample, name)):
            assert refusal(changed(sample, name, wrong)) in {("bad_type", last), ("impossible_time", last)}


def samples_value(sample: dict[str, Any], name: str) -> Any:
    for part in name.split("."):
        sample = sample[part]
    return sample


def test_a_price_is_no_number_and_an_id_no_string() -> None:
    assert refusal(changed(samples.TRADE, "p", 1)) == ("bad_type", "p")
    assert refusal(changed(samples.TRADE, "t", "12345")) == ("bad_type", "t")
    assert refusal(changed(samples.TRADE, "T", "1672515782136")) == ("bad_type", "T")
    assert refusal(changed(samples.DELTA, "b", [[1, "1"]])) == ("bad_type", "b")
    assert refusal(changed(samples.DELTA, "b", [["1"]])) == ("bad_type", "b")
    assert refusal({"result": None, "id": True}) == ("bad_type", "id")
    assert refusal({"result": {}, "id": 1}) == ("bad_type", "result")
    assert refusal({"error": "no"}) == ("bad_type", "error")
    assert refusal(samples.TRADE | {"e": 1}) == ("bad_type", "e")
    assert refusal([samples.MINI_TICKER, 1], "!miniTicker@arr") == ("bad_type", "arr")


@pytest.mark.parametrize(
    ("sample", "name", "value"),
    [
        (samples.TRADE, "p", "0"),
        (samples.TRADE, "q", "0.00000000"),
        (samples.TRADE, "t", -1),
        (samples.TRADE, "t", 2**63),
        (samples.TRADE, "t", 10**40),
        (samples.TRADE, "s", ""),
        (samples.AGG_TRADE, "l", 99),
        (samples.BLOCK_TRADE, "p", "0"),
        (samples.KLINE, "k.o", "0"),
        (samples.KLINE, "k.l", "1"),
        (samples.KLINE, "k.i", "7m"),
        (samples.KLINE, "k.T", 1672515779999),
        (samples.KLINE, "k.T", 1672515840000),
        (samples.KLINE, "k.L", 99),
        (samples.KLINE, "k.L", -1),
        (samples.KLINE, "k.n", -1),
        (samples.KLINE, "k.V", "1001"),
        (samples.KLINE, "k.Q", "1.1"),
        (samples.KLINE, "k.s", "OTHER"),
        (samples.MINI_TICKER, "l", "1"),
        (samples.TICKER, "L", -1),
        (samples.TICKER, "O", 86400001),
        (samples.DELTA, "u", 156),
        (samples.DELTA, "b", [["0", "1"]]),
        (samples.DELTA, "b", [["1", "1"], ["1.00", "2"]]),
        (samples.DEPTH, "bids", [["1", "0"]]),
        (samples.DEPTH, "lastUpdateId", -1),
        (samples.BOOK_TICKER, "b", "0"),
        (samples.BOOK_TICKER, "A", "0"),
    ],
)
def test_impossible_values(sample: dict[str, Any], name: str, value: Any) -> None:
    reason, detail = refusal(changed(sample, name, value))
    # A relation between two fields is blamed on one of them, and not always on the one that this test changed.
    blamed = {"O": "C", "A": "a"}.get(name, name.rpartition(".")[2])
    assert (reason, detail) == ("impossible_value", blamed)


@pytest.mark.parametrize("value", [-1, True, 1.5, LATEST // 1000 + 1, LATEST + 1, 10**30])
@pytest.mark.parametrize("name", ["E", "T"])
def test_impossible_times(name: str, value: Any) -> None:
    assert refusal(changed(samples.TRADE, name, value)) == ("impossible_time", name)


@pytest.mark.parametrize(
    ("value", "reason"),
    [("-1", "not_a_decimal"), ("1e3", "not_a_decimal"), ("", "not_a_decimal"), ("NaN", "not_a_decimal"),
     ("0.000000001", "number_too_fine"), ("92233720368.54775808", "number_too_large")],
)  # fmt: skip
def test_numbers_keep_their_own_reasons(value: str, reason: str) -> None:
    assert refusal(changed(samples.TRADE, "p", value))[0] == reason


@pytest.mark.parametrize(
    "bytes_",
    [b"", b" ", b"{", b"\xff", b'["\xff"]', b'{"e":NaN}', b"[" * 100_000, b"{} {}", b"<html>403</html>", b"\x00"],
)
def test_not_json(bytes_: bytes) -> None:
    with pytest.raises(Unreadable) as fault:
        read_frame(bytes_)
    assert fault.value.reason == "not_json"


def test_a_frame_may_be_as_long_as_the_limit_and_no_longer() -> None:
    assert read_frame(b"[]" + b" " * (FRAME_LIMIT - 2)).events == ()
    with pytest.raises(Unreadable, match="too_large"):
        read_frame(b"[]" + b" " * (FRAME_LIMIT - 1))


@pytest.mark.parametrize(
    "payload",
    [1, "text", None, {}, {"a": 1}, {"e": "executionReport"}, [1], ["x"], [{"x": 1}], [samples.TRADE], {"data": {}}],
)
def test_unknown_events(payload: Any) -> None:
    assert refusal(payload)[0] == "unknown_event"


def test_an_envelope_needs_both_of_its_fields() -> None:
    assert refusal({"stream": "btcusdt@trade"}) == ("missing_field", "data")
    assert refusal({"stream": 1, "data": {}}) == ("bad_type", "stream")
    assert refusal(without(samples.TRADE, "e"), "bnbbtc@trade") == ("missing_field", "e")
    assert refusal({}, "bnbbtc@bookTicker") == ("missing_field", "s")
    assert refusal({}, "bnbbtc@depth20") == ("missing_field", "lastUpdateId")


@pytest.mark.parametrize(
    "payload",
    [
        samples.DELTA | {"pu": 156, "T": 1672515782136},
        samples.TRADE | {"X": "MARKET"},
        samples.BOOK_TICKER | {"e": "bookTicker", "E": 1672515782136, "T": 1672515782136},
        samples.TICKER | {"ps": "BTCUSD"},
        samples.BOOK_TICKER | {"ps": "BTCUSD"},
        without(samples.AGG_TRADE, "M"),
        samples.DEPTH | {"E": 1672515782136, "T": 1672515782136},
        *[
            {"e": name}
            for name in ("markPriceUpdate", "forceOrder", "continuous_kline", "contractInfo", "compositeIndex")
        ],
        {"e": "assetIndexUpdate"},
    ],
)
def test_other_markets_are_refused(payload: dict[str, Any]) -> None:
    assert refusal(payload)[0] == "unsupported_market"


def test_reading_keeps_nothing() -> None:
    sample = frame(samples.KLINE)
    assert read_frame(sample) == read_frame(sample)
