"""Symbols by REST: who may change them, and what is said of what cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving import Client, Said, serving, source
from tapeflow.api.app import create
from tapeflow.api.guard import NoKeys
from tapeflow.api.limits import Limits
from tapeflow.api.problem import Problem, unknown
from tapeflow.api.server import Server

LIMITS = Limits(requests_per_s=10_000)


LISTED = dict.fromkeys(("WBTCUSDT", "ETHBTC", "BTCUSDT", "ETHUSDT", "SOLUSDT"), "TRADING") | {"BTCEUR": "BREAK"}


class Roster:
    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.problem: Problem | None = None

    async def listed(self) -> dict[str, str]:
        if self.problem is not None:
            raise self.problem
        return LISTED

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


def found(served: Serving, **given: Any) -> list[str]:
    said = served.ask("/v1/symbols/listed", **given)
    assert (said.status, said.json["next"]) == (200, None), said.body
    return [row["symbol"] for row in said.json["data"]]


def test_what_the_venue_lists_is_searched(kept: Any) -> None:
    with Serving(kept, NoKeys()) as served:
        assert found(served, search="btc") == ["BTCEUR", "BTCUSDT", "ETHBTC", "WBTCUSDT"]
        assert found(served, search=" bTcU ", venue="Binance") == ["BTCUSDT", "WBTCUSDT"]
        assert found(served, search="btc", limit=3) == ["BTCEUR", "BTCUSDT", "ETHBTC"]
        assert found(served, search="xyz") == []
        assert found(served) == found(served, search="") == sorted(LISTED)
        rows = served.ask("/v1/symbols/listed", search="btc", limit=2).json["data"]
        assert rows == [
            {"venue": "binance", "symbol": "BTCEUR", "status": "BREAK", "is_followed": False},
            {"venue": "binance", "symbol": "BTCUSDT", "status": "TRADING", "is_followed": True},
        ]
        assert found(served, search="ethusdt") == ["ETHUSDT"]
        (left,) = served.ask("/v1/symbols/listed", search="ethusdt").json["data"]
        assert not left["is_followed"]  # there are rows of it, but it is followed no more


def test_a_search_names_so_many_unless_told_otherwise(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.LISTED", {f"A{number:04}": "TRADING" for number in range(2000)})
    with Serving(kept, NoKeys()) as served:
        assert found(served, search="a") == [f"A{number:04}" for number in range(50)]
        assert len(found(served, limit=1000)) == 1000


@pytest.mark.parametrize(
    ("given", "status", "kind", "said"),
    [
        ({"limit": 0}, 400, "bad_limit", "from 1 to 1000"),
        ({"limit": 1001}, 400, "bad_limit", "from 1 to 1000"),
        ({"limit": "many"}, 400, "bad_limit", "a whole number"),
        ({"serch": "btc"}, 400, "unknown_parameter", "did you mean search?; /v1/symbols/listed knows"),
        ({"venue": "binanse"}, 404, "unknown_venue", "did you mean binance?"),
    ],
)
def test_a_search_that_cannot_be_is_refused(kept: Any, given: Any, status: int, kind: str, said: str) -> None:
    with Serving(kept, NoKeys()) as served:
        answer = served.ask("/v1/symbols/listed", **given)
        assert (answer.status, answer.json["type"]) == (status, f"urn:tapeflow:problem:{kind}")
        assert said in answer.json["detail"]


def test_a_search_has_a_head_a_tag_and_the_methods_of_its_own(kept: Any) -> None:
    with Serving(kept, NoKeys()) as served:
        said = served.ask("/v1/symbols/listed", method="HEAD", search="btc")
        assert (said.status, said.body) == (200, b"")
        again = served.ask("/v1/symbols/listed", {"If-None-Match": said.headers["ETag"]}, search="btc")
        assert (again.status, again.body) == (304, b"")
        posted = served.ask("/v1/symbols/listed", method="POST", body=b"{}")
        assert (posted.status, posted.headers["Allow"]) == (405, "GET, HEAD")
        assert served.roster.done == []


def test_what_the_venue_does_not_tell_is_no_empty_list(kept: Any) -> None:
    with Serving(kept, NoKeys()) as served:
        served.roster.problem = Problem(503, "venue_unreachable", "away", headers={"Retry-After": "10"})
        said = served.ask("/v1/symbols/listed", search="btc")
        assert (said.status, said.headers["Retry-After"]) == (503, "10")


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
        assert served.ask("/v1/symbols/listed").status == 401
        assert served.ask("/v1/symbols/listed", {"X-API-Key": "r"}).status == 200
        assert served.roster.done == []
        assert served.post({"symbol": "BTCUSDT"}, Authorization="Bearer a").status == 200


def test_without_a_roster_nothing_can_be_changed(kept: Any) -> None:
    with serving(source(*kept)) as ask:
        assert ask("/v1/symbols", method="POST", body=b'{"symbol": "A"}').status == 405
        assert ask("/v1/symbols/BTCUSDT", method="DELETE").status == 404
        assert ask("/v1/symbols/listed").status == 404
