"""Answers of the REST API: the request names the symbol, the body gives the events."""

from __future__ import annotations

from typing import Any

import pytest

from tapeflow.domain.errors import Unreadable
from tapeflow.domain.events import BookSnapshot, Status, Trade
from tapeflow.domain.instrument import Instrument
from tapeflow.domain.time import WEEK
from tapeflow.venues.binance.rest import exchange_info, read_answer
from unit.venues.binance import samples
from unit.venues.binance.samples import changed, frame, without


def refusal(request: str, payload: Any) -> tuple[str, str]:
    with pytest.raises(Unreadable) as fault:
        read_answer(request, frame(payload))
    return fault.value.reason, fault.value.detail


@pytest.mark.parametrize("path", ["trades", "historicalTrades"])
def test_trades(path: str) -> None:
    reading = read_answer(f"/api/v3/{path}?symbol=LTCBTC&limit=1", frame([samples.REST_TRADE | {"new": 1}]))
    trade = Trade("LTCBTC", 28457, 400_000_100, 12 * 10**8, "sell", 1499865549590_000, 1000, 28457, 28457)
    assert reading.events == (trade,)
    assert reading.unknown_fields == 1


def test_aggregates() -> None:
    url = "https://api.binance.com/api/v1/aggTrades?symbol=LTCBTC"
    (trade,) = read_answer(url, frame([samples.REST_AGG_TRADE])).events
    assert isinstance(trade, Trade)
    assert (trade.symbol, trade.id, trade.first_id, trade.is_aggregate) == ("LTCBTC", 26129, 27781, True)
    assert refusal(url, [without(samples.REST_AGG_TRADE, "M")])[0] == "unsupported_market"


def test_klines_are_closed_but_for_the_last() -> None:
    second = [samples.REST_KLINE[0] + WEEK // 1000, *samples.REST_KLINE[1:6], samples.REST_KLINE[6] + WEEK // 1000]
    rows = [samples.REST_KLINE, [*second, *samples.REST_KLINE[7:], "thirteenth"]]
    reading = read_answer("/api/v3/klines?symbol=LTCBTC&interval=1w", frame(rows))
    first, last = reading.events
    assert (first.symbol, first.interval, first.closed, first.ts_event) == ("LTCBTC", "1w", True, None)
    assert (first.count, first.ts_end - first.ts_start) == (308, WEEK)
    assert not last.closed
    assert reading.unknown_fields == 1


def test_depth() -> None:
    reading = read_answer("https://www.binance.com/api/v1/depth?symbol=BNBBTC&limit=1000", frame(samples.DEPTH))
    assert reading.events == (BookSnapshot("BNBBTC", 160, ((240_000, 10**9),), ((260_000, 10**10),)),)


def test_errors() -> None:
    body = {"code": -1121, "msg": "Invalid symbol."}
    assert read_answer("/api/v3/depth?symbol=X", frame(body)).events == (
        Status("rest_error", "X", "-1121: Invalid symbol."),
    )
    assert refusal("/api/v3/depth?symbol=X", changed(body, "code", "x")) == ("bad_type", "code")


def test_exchange_info() -> None:
    body = frame(samples.EXCHANGE_INFO)
    listed = Instrument(
        venue="binance", symbol="ETHBTC", base="ETH", quote="BTC", price_scale=8, size_scale=8, tick="0.000001",
        step="0.001", size_unit="ETH", status="TRADING", valid_from=1565246363776_000,
    )  # fmt: skip
    assert exchange_info(body) == [listed]
    reading = read_answer("/api/v3/exchangeInfo", body)
    assert reading.events == (Status("instruments", detail="1", ts_event=1565246363776_000),)
    assert reading.instruments == (listed,)


def test_exchange_info_without_increments() -> None:
    (listed,) = exchange_info(frame(changed(samples.EXCHANGE_INFO, "symbols", [bare_symbol()])))
    assert (listed.tick, listed.step) == (None, None)


def bare_symbol() -> dict[str, Any]:
    off = {"filterType": "PRICE_FILTER", "tickSize": "0.00000000"}
    return {"symbol": "A", "status": "BREAK", "baseAsset": "B", "quoteAsset": "C", "filters": [off]}


@pytest.mark.parametrize(
    ("symbols", "reason", "detail"),
    [
        ([bare_symbol(), bare_symbol()], "impossible_value", "symbols"),
        ([without(bare_symbol(), "status")], "missing_field", "status"),
        ([bare_symbol() | {"filters": [{}]}], "missing_field", "filterType"),
        ([bare_symbol() | {"contractType": "PERPETUAL"}], "unsupported_market", "a symbol with contractType"),
        (["A"], "bad_type", "symbols"),
    ],
)
def test_exchange_info_that_cannot_be(symbols: list[Any], reason: str, detail: str) -> None:
    said = refusal("/api/v3/exchangeInfo", changed(samples.EXCHANGE_INFO, "symbols", symbols))
    assert said[0] == reason
    assert said[1].startswith(detail)


@pytest.mark.parametrize(
    ("request_", "payload", "reason"),
    [
        ("/fapi/v1/depth?symbol=BTCUSDT", samples.DEPTH, "unsupported_market"),
        ("/dapi/v1/klines?symbol=BTCUSD_PERP&interval=1m", [samples.REST_KLINE], "unsupported_market"),
        ("/api/v3/trades?symbol=X", [samples.REST_TRADE | {"baseQty": "1"}], "unsupported_market"),
        ("/api/v3/trades", [samples.REST_TRADE], "unattributable"),
        ("/api/v3/klines?symbol=X", [samples.REST_KLINE], "unattributable"),
        ("/api/v3/klines?symbol=X&interval=1w", [samples.REST_KLINE[:10]], "missing_field"),
        ("/api/v3/klines?symbol=X&interval=1w", [1], "bad_type"),
        ("/api/v3/klines?symbol=X&interval=9w", [samples.REST_KLINE], "impossible_value"),
        ("/api/v3/trades?symbol=X", [1], "bad_type"),
        ("/api/v3/trades?symbol=X", [{"x": 1}], "unknown_event"),
        ("/api/v3/trades?symbol=X", [without(samples.REST_TRADE, "price")], "missing_field"),
        ("/api/v3/trades?symbol=X", {}, "bad_type"),
        ("/api/v3/depth?symbol=X", [], "bad_type"),
        ("/api/v3/depth?symbol=X", {}, "missing_field"),
        ("/api/v3/account", {}, "unknown_event"),
        ("http://[", {}, "unknown_event"),
    ],
)
def test_answers_that_cannot_be(request_: str, payload: Any, reason: str) -> None:
    assert refusal(request_, payload)[0] == reason


def test_an_html_page_is_not_json() -> None:
    with pytest.raises(Unreadable, match="not_json"):
        read_answer("/api/v3/depth?symbol=X", b"<html>403 Forbidden</html>")


def test_an_empty_answer_says_nothing() -> None:
    assert read_answer("/api/v3/historicalTrades?symbol=X", b"[]").events == ()
