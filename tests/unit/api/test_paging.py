"""Cursors: every row once, in order, also rows of one time; and what is no cursor of a query."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from serving import START, Client


def pages(ask: Client, path: str, limit: int, **query: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        said = ask(path, **query, limit=limit, **cursor)
        assert said.status == 200, said.body
        rows += said.json["data"]
        assert len(said.json["data"]) <= limit
        if said.json["next"] is None:
            return rows
        assert len(said.json["data"]) == limit
        cursor = {"cursor": said.json["next"]}


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/trades", {"symbol": "BTCUSDT"}),
        ("/v1/candles", {"symbol": "BTCUSDT", "interval": "1s"}),
        ("/v1/indicators", {"symbol": "BTCUSDT"}),
        ("/v1/moving-average", {"symbol": "BTCUSDT"}),
        ("/v1/quotes", {"symbol": "BTCUSDT"}),
        ("/v1/coverage", {}),
        ("/v1/quarantine", {}),
    ],
)
def test_pages_are_the_whole_once(ask: Client, path: str, more: dict[str, Any], limit: int) -> None:
    whole = ask.rows(path, **more, start=START - 1, limit=10_000)
    assert whole
    assert pages(ask, path, limit, start=START - 1, **more) == whole


def test_trades_of_one_time_are_paged_by_id(ask: Client) -> None:
    rows = pages(ask, "/v1/trades", 1, symbol="BTCUSDT", start=START)
    assert [int(row["id"]) for row in rows] == [n for n in range(1, 41) if n not in (31, 32)]


def forged(mark: str, position: list[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode([mark, position])).decode()


def test_what_is_no_cursor_of_this_query_is_told(ask: Client) -> None:
    good = ask("/v1/trades", symbol="BTCUSDT", start=START, limit=1).json["next"]
    mark = msgspec.msgpack.decode(base64.urlsafe_b64decode(good + "=" * (-len(good) % 4)))[0]
    bad = ["", "x", "!!!", good[:-3], good + "AAAA", "A" * 5000, forged("00000000", [1, "a", "b", 1])]
    bad += [
        forged(mark, position)
        for position in ([], [1], ["1", "a", "b", 1], [1 << 63, "a", "b", 1], [10**18, "", "", 1])
    ]
    for cursor in bad:
        said = ask("/v1/trades", symbol="BTCUSDT", cursor=cursor)
        assert said.status == 400, cursor
        assert said.json["type"].endswith("bad_cursor")
    assert ask("/v1/trades", symbol="ETHUSDT", cursor=good).status == 400
    assert ask("/v1/quotes", symbol="BTCUSDT", cursor=good).status == 400
    assert ask("/v1/trades", symbol="btcusdt", cursor=good, limit=1).json["data"][0]["id"] == "2"
