"""Each line of the contract's section on REST, over a store of known rows."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import zstandard

from serving import CHANNELS, SECOND, START, Client, serving, source
from tapeflow.api.resources import RESOURCES
from tapeflow.stores.duckdb import DuckStore

PATHS = [resource for resource in RESOURCES if resource.channel in CHANNELS]


def query(path: str) -> dict[str, str]:
    return {"symbol": "BTCUSDT"} | ({"interval": "1s"} if path == "/v1/candles" else {})


@pytest.mark.parametrize("resource", PATHS, ids=lambda resource: resource.path)
def test_every_channel_has_the_one_shape(ask: Client, resource: Any) -> None:
    said = ask(resource.path, **query(resource.path))
    assert said.status == 200, said.body
    assert list(said.json) == ["data", "next", "coverage", "ts_watermark"]
    assert list(said.json["coverage"]) == ["complete", "gaps", "guarantee"]
    assert isinstance(said.json["data"], list)
    assert said.headers["Content-Type"] == "application/json"
    assert said.json["ts_watermark"] == START + 38 * SECOND
    assert all({"venue", "symbol"} <= row.keys() for row in said.json["data"])


def test_a_candle_is_as_the_contract_writes_it(ask: Client) -> None:
    (row,) = ask.rows("/v1/candles", symbol="BTCUSDT", interval="1s", start=START + 5 * SECOND, limit=1)
    assert row == {
        "venue": "binance", "symbol": "BTCUSDT", "interval": "1s", "ts_start": START + 5 * SECOND,
        "ts_end": START + 6 * SECOND, "open": "64003.06", "high": "64010.07", "low": "64003.06", "close": "64004.08",
        "volume": "1.5", "quote_volume": "96008.605", "taker_buy_volume": "0.5", "count": 3,
        "vwap": 96008.605 / 1.5, "source": "trades", "closed": True, "revision": 0,
    }  # fmt: skip


def test_ranges_are_half_open_and_take_both_forms_of_time(ask: Client) -> None:
    span = {"symbol": "BTCUSDT", "interval": "1s"}
    numbers = ask.rows("/v1/candles", start=START + SECOND, end=START + 3 * SECOND, **span)
    texts = ask.rows("/v1/candles", start="2023-11-14T22:13:21Z", end="2023-11-14T23:13:23+01:00", **span)
    assert [row["ts_start"] - START for row in numbers] == [SECOND, 2 * SECOND]
    assert texts == numbers
    bare = ask("/v1/candles?symbol=BTCUSDT&interval=1s&start=2023-11-14T23:13:21+01:00&end=2023-11-14T23:13:23+01:00")
    assert bare.json["data"] == numbers
    trades = ask.rows("/v1/trades", symbol="BTCUSDT", start=START + SECOND, end=START + 3 * SECOND)
    assert [row["ts_event"] - START for row in trades] == [SECOND, 2 * SECOND]


def test_without_start_the_last_rows_ascending(ask: Client) -> None:
    said = ask("/v1/trades", symbol="BTCUSDT", limit=3).json
    assert [row["id"] for row in said["data"]] == ["38", "39", "40"]
    assert said["next"] is None
    assert [row["id"] for row in ask.rows("/v1/trades", symbol="BTCUSDT", end=START + 3 * SECOND, limit=2)] == [
        "2",
        "3",
    ]


def test_the_limit_is_10000_at_most(ask: Client) -> None:
    assert ask("/v1/trades", symbol="BTCUSDT", limit=10_000).status == 200
    for limit in ("10001", "0", "-1", "x", "1.5", ""):
        said = ask("/v1/trades", symbol="BTCUSDT", limit=limit)
        assert said.status == 400
        assert "from 1 to 10000" in said.json["detail"]


def test_symbols_are_matched_without_regard_to_case(ask: Client) -> None:
    assert ask.rows("/v1/trades", symbol="btcUSDT", venue="BINANCE", limit=1)[0]["symbol"] == "BTCUSDT"


@pytest.mark.parametrize(
    ("path", "given", "status", "kind", "said"),
    [
        ("/v1/trades", {"symbol": "BTCUSD"}, 404, "unknown_symbol", "did you mean BTCUSDT"),
        ("/v1/trades", {"symbol": "btcu\u017fdt"}, 404, "unknown_symbol", "/v1/symbols lists"),
        ("/v1/trades", {"symbol": "BTCUSDT", "venue": "binanse"}, 404, "unknown_venue", "did you mean binance?"),
        ("/v1/candles", {"symbol": "BTCUSDT", "interval": "11s"}, 400, "unknown_interval", "did you mean 1s?"),
        ("/v1/candles", {"symbol": "BTCUSDT"}, 400, "missing_parameter", "needs interval (such as 1s)"),
        ("/v1/trades", {}, 400, "missing_parameter", "needs symbol (such as BTCUSDT)"),
        ("/v1/trades", {"symbol": "BTCUSDT", "strat": "1"}, 400, "unknown_parameter", "did you mean start?"),
        ("/v1/trades", {"symbol": "BTCUSDT", "start": "soon"}, 400, "bad_start", "RFC 3339"),
        ("/v1/trades", {"symbol": "BTCUSDT", "end": "2024-01-01"}, 400, "bad_end", "with a zone"),
        ("/v1/trades", {"symbol": "BTCUSDT", "start": 2, "end": 1}, 400, "bad_range", "start is later than end"),
        ("/v1/trades", {"symbol": "BTCUSDT", "format": "xml"}, 400, "bad_format", "json, ndjson, csv, arrow, parquet"),
        ("/v1/candles", {"symbol": "BTCUSDT", "interval": "1s", "forming": "yes"}, 400, "bad_forming", "true or false"),
        ("/v1/candles", {"symbol": "BTCUSDT", "interval": "1s", "fill": "0"}, 400, "bad_fill", "previous"),
        ("/v1/moving-average", {"symbol": "BTCUSDT", "window_ms": "3s"}, 400, "bad_window_ms", "whole number"),
        ("/v1/klines", {"symbol": "BTCUSDT"}, 404, "not_kept", "add 'klines' to `channels` of [store]"),
        ("/v1/book", {"symbol": "BTCUSDT", "depth": "0"}, 400, "bad_depth", "from 1 to 5000"),
        ("/v1/nothing", {}, 404, "not_found", "/openapi.json lists"),
        ("/v1/sql", {}, 400, "missing_parameter", "needs q"),
    ],
)
def test_problems_say_what_to_do(
    ask: Client, path: str, given: dict[str, Any], status: int, kind: str, said: str
) -> None:
    answer = ask(path, **given)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    problem = answer.json
    assert problem["type"] == f"urn:tapeflow:problem:{kind}"
    assert problem["status"] == status
    assert problem["title"]
    assert said in problem["detail"]


def test_a_parameter_given_twice_and_a_method_that_is_not_there(ask: Client) -> None:
    assert ask("/v1/trades?symbol=BTCUSDT&symbol=ETHUSDT").json["type"].endswith("repeated_parameter")
    said = ask("/v1/trades", method="DELETE")
    assert (said.status, said.headers["Content-Type"]) == (405, "application/problem+json")
    assert "GET" in said.headers["Allow"]


def test_coverage_tells_complete_ranges_from_those_with_holes(ask: Client) -> None:
    def coverage(start: int, end: int | None = None, path: str = "/v1/candles", **more: Any) -> Any:
        bounds = {"start": START + start * SECOND} | ({} if end is None else {"end": START + end * SECOND})
        given = {"symbol": "BTCUSDT"} | ({"interval": "1s"} if path == "/v1/candles" else {})
        return ask(path, **given, **bounds, **more).json["coverage"]

    assert coverage(0, 25) == {"complete": True, "gaps": [], "guarantee": "sequence"}
    hole = {"ts_start": START + 30 * SECOND, "ts_end": START + 33 * SECOND, "reason": "missing_ids"}
    assert coverage(0, 38) == {"complete": False, "gaps": [hole], "guarantee": "sequence"}
    assert coverage(0, path="/v1/trades")["gaps"] == [hole]
    assert coverage(34)["complete"] is True  # up to the watermark
    assert coverage(-10, 5)["gaps"] == [{"ts_start": START - 10 * SECOND, "ts_end": START, "reason": "not_captured"}]
    assert coverage(-10, 5)["complete"] is False
    assert coverage(100, 200)["complete"] is False
    assert coverage(0, 25, path="/v1/quotes")["guarantee"] == "none"


def test_a_quiet_symbol_is_complete_up_to_its_newest_trade(kept: tuple[DuckStore, Any]) -> None:
    later = {"BTCUSDT": (40, START + 100 * SECOND)}  # time went on, and nothing came
    with serving(source(kept[0], later)) as ask:
        given = {"symbol": "BTCUSDT", "start": START + 34 * SECOND}
        assert ask("/v1/trades", **given).json["coverage"]["complete"] is True
        bounded = ask("/v1/trades", **given, end=START + 60 * SECOND).json["coverage"]
    tail = {"ts_start": START + 40 * SECOND, "ts_end": START + 60 * SECOND, "reason": "not_seen_yet"}
    assert bounded == {"complete": False, "gaps": [tail], "guarantee": "sequence"}


def test_windows_without_trades_are_left_out_or_filled(ask: Client) -> None:
    span = {"symbol": "BTCUSDT", "interval": "1s", "start": START + 18 * SECOND, "end": START + 27 * SECOND}
    bare = ask.rows("/v1/candles", **span)
    filled = ask.rows("/v1/candles", **span, fill="previous")
    assert [row["ts_start"] for row in filled] == [START + at * SECOND for at in range(18, 27)]
    assert [row for row in filled if row["source"] == "trades"] == bare
    empty = filled[2]
    before = next(row["close"] for row in bare if row["ts_start"] == START + 19 * SECOND)
    assert (empty["open"], empty["high"], empty["low"], empty["close"]) == (before,) * 4
    assert (empty["count"], empty["volume"], empty["quote_volume"], empty["vwap"]) == (0, "0", "0", None)
    assert (empty["source"], empty["closed"], empty["ts_end"]) == ("previous", True, empty["ts_start"] + SECOND)
    within = ask.rows("/v1/candles", **(span | {"start": START + 21 * SECOND}), fill="previous")
    assert within == filled[3:]
    last = ask.rows("/v1/candles", symbol="BTCUSDT", interval="1s", fill="previous", limit=20)
    assert [row["ts_start"] for row in last] == [START + at * SECOND for at in range(18, 38)]
    paged, cursor = [], None
    while True:
        said = ask("/v1/candles", **span, fill="previous", limit=2, **({"cursor": cursor} if cursor else {})).json
        paged += said["data"]
        cursor = said["next"]
        if cursor is None:
            break
    assert paged == filled


def test_forming_windows_only_on_request(ask: Client) -> None:
    rows = ask.rows("/v1/candles", symbol="BTCUSDT", interval="1s", forming="false")
    assert all(row["closed"] for row in rows)
    assert ask("/v1/candles", symbol="BTCUSDT", interval="1s", forming="true").status == 200


def test_the_latest_quote_and_the_book(ask: Client) -> None:
    (row,) = ask.rows("/v1/quotes/latest", symbol="btcusdt")
    assert (row["id"], row["bid"]) == ("29", "99.5")
    assert ask.rows("/v1/book", symbol="BTCUSDT", depth=2) == []


def test_symbols(ask: Client) -> None:
    rows = ask.rows("/v1/symbols")
    assert [(row["symbol"], row["status"]) for row in rows] == [("BTCUSDT", "unknown"), ("ETHUSDT", "not_followed")]
    assert {"size_unit", "tick", "lot", "multiplier", "valid_from"} <= rows[0].keys()
    assert len(ask.rows("/v1/symbols", symbol="ethusdt")) == 1


def test_health_openapi_page_and_metrics(ask: Client) -> None:
    assert ask("/healthz").json["checks"]
    assert ask("/readyz").status == 200
    assert ask("/metrics").status == 200
    page = ask("/welcome")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    document = ask("/openapi.json").json
    assert document["openapi"] == "3.1.0"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert any("example" in one for one in operation["responses"]["200"]["content"].values()), path
            given = {
                one["name"]: one["example"] for one in operation.get("parameters", ()) if one.get("required", False)
            }
            if method == "get" and path not in ("/v1/tickers", "/v1/klines", "/v1/symbols/listed", "/healthz"):
                assert ask(path, **given).status == 200, path
    assert {resource.path for resource in RESOURCES} <= document["paths"].keys()


def test_head_is_get_without_a_body(ask: Client) -> None:
    said = ask("/v1/trades", method="HEAD", symbol="BTCUSDT")
    assert (said.status, said.body) == (200, b"")
    assert said.headers["ETag"]


def test_a_tag_saves_the_body(ask: Client) -> None:
    for format in ("json", "ndjson", "csv", "arrow", "parquet"):
        first = ask("/v1/trades", symbol="BTCUSDT", format=format)
        assert first.headers["Cache-Control"] == "no-cache"
        again = ask("/v1/trades", {"If-None-Match": first.headers["ETag"]}, symbol="BTCUSDT", format=format)
        assert (again.status, again.body) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        other = ask("/v1/trades", {"If-None-Match": first.headers["ETag"]}, symbol="BTCUSDT", format=format, limit=1)
        assert other.status == 200


def test_bodies_are_compressed_where_that_is_accepted(ask: Client) -> None:
    plain = ask("/v1/trades", symbol="BTCUSDT")
    zipped = ask("/v1/trades", {"Accept-Encoding": "gzip"}, symbol="BTCUSDT")
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.body
    packed = ask("/v1/trades", {"Accept-Encoding": "gzip, zstd"}, symbol="BTCUSDT")
    assert zstandard.decompress(packed.body) == plain.body
    assert len({plain.headers["ETag"], zipped.headers["ETag"], packed.headers["ETag"]}) == 3
    small = ask("/v1/trades", {"Accept-Encoding": "gzip"}, symbol="BTCUSDT", limit=1)
    assert "Content-Encoding" not in small.headers
    json.loads(small.body)
