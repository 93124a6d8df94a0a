"""Symbols by REST: who may change them, and what is said of what cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving import Client, Said, serving, source
from tapeflow.api.app import create
from tapeflow.api.guard import NoKeys
from tapeflow.api.limits import Limits
from tapeflow.api.problem import unknown
from tapeflow.api.server import Server

LIMITS = Limits(requests_per_s=10_000)


class Roster:
    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    async def follow(self, symbol: str) -> str:
        if symbol == "BTCUSDX":
            raise unknown(404, "symbol", symbol, ["BTCUSDT"], "; the venue does not list it")
        self.done.append(("follow", symbol))
        return symbol.upper()

    async def unfollow(self, symbol: str) -> str:
        self.done.append(("unfollow", symbol))
        return symbol.upper()


class Keys:
    is_required = True

    def verify(self, token: str) -> frozenset[str] | None:
        return {"r": frozenset({"read"}), "a": frozenset({"read", "admin"})}.get(token)


class Serving:
    def __init__(self, kept: Any, keys: Any) -> None:
        self.roster = Roster()
        self._server = Server(create(source(*kept), LIMITS, self.roster), "127.0.0.1", 0, limits=LIMITS, keys=keys)

    def __enter__(self) -> Serving:
        self._server.start()
        self.ask = Client(self._server.address)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def post(self, body: Any, **headers: str) -> Said:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("/v1/symbols", headers, "POST", sent)


def test_follow_and_unfollow(kept: Any) -> None:
    with Serving(kept, NoKeys()) as served:
        said = served.post({"symbol": " btcusdt ", "venue": "binance"})
        assert (said.status, [row["symbol"] for row in said.json["data"]]) == (200, ["BTCUSDT"])
        assert served.ask("/v1/symbols/ETHUSDT?venue=binance", method="DELETE").status == 200
        assert served.roster.done == [("follow", "btcusdt"), ("unfollow", "ETHUSDT")]


@pytest.mark.parametrize(
    ("body", "status", "kind", "said"),
    [
        ({"symbol": "BTCUSDX"}, 404, "unknown_symbol", "did you mean BTCUSDT?; the venue does not list it"),
        ({"symbol": " "}, 400, "bad_symbol", '{"symbol": "SOLUSDT"}'),
        ({"symbol": 3}, 400, "bad_body", "Expected `str`, got `int`"),
        ({"symbols": ["A"]}, 400, "bad_body", '{"symbol": "SOLUSDT"}'),
        (b"", 400, "bad_body", '{"symbol": "SOLUSDT"}'),
        (b'{"symbol": "\xff"}', 400, "bad_body", '{"symbol": "SOLUSDT"}'),
        ({"symbol": "BTCUSDT", "venue": "binanse"}, 404, "unknown_venue", "did you mean binance?"),
    ],
)
def test_problems_say_what_to_do(kept: Any, body: Any, status: int, kind: str, said: str) -> None:
    with Serving(kept, NoKeys()) as served:
        answer = served.post(body)
        assert (answer.status, answer.json["type"]) == (status, f"urn:tapeflow:problem:{kind}")
        assert said in answer.json["detail"]
        assert served.roster.done == []


def test_pages_of_others_may_not_change_anything(kept: Any) -> None:
    with Serving(kept, NoKeys()) as served:
        assert served.post({"symbol": "BTCUSDT"}, Origin="https://evil.example").status == 403
        assert served.post({"symbol": "BTCUSDT"}, Host="evil.example").status == 421
        assert served.roster.done == []


def test_where_keys_are_needed_it_needs_admin(kept: Any) -> None:
    with Serving(kept, Keys()) as served:
        assert served.post({"symbol": "BTCUSDT"}).status == 401
        said = served.post({"symbol": "BTCUSDT"}, Authorization="Bearer r")
        assert (said.status, "scope admin" in said.json["detail"]) == (403, True)
        assert served.ask("/v1/symbols/BTCUSDT", {"X-API-Key": "r"}, "DELETE").status == 403
        assert served.ask("/v1/symbols", {"X-API-Key": "r"}).status == 200
        assert served.roster.done == []
        assert served.post({"symbol": "BTCUSDT"}, Authorization="Bearer a").status == 200


def test_without_a_roster_nothing_can_be_changed(kept: Any) -> None:
    with serving(source(*kept)) as ask:
        assert ask("/v1/symbols", method="POST", body=b'{"symbol": "A"}').status == 405
        assert ask("/v1/symbols/BTCUSDT", method="DELETE").status == 404
