"""What is followed, changed while a run goes on: ``POST /v1/symbols`` and ``DELETE /v1/symbols/{symbol}``.

What could be followed is searched at ``GET /v1/symbols/listed``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tapeflow.api import query, reading
from tapeflow.api.formats import JSON
from tapeflow.api.problem import Problem
from tapeflow.api.resources import VENUE, Param
from tapeflow.api.respond import respond, tag
from tapeflow.api.source import Source
from tapeflow.api.turns import Turns

PATH = "/v1/symbols/listed"
#: Names in an answer, unless more or less are asked for.
LIMIT = 50
MOST = 1000
SEARCH = Param("search", "Names with this text in them, in any case; those that begin with it first.", example="sol")
PARAMS = (
    VENUE,
    SEARCH,
    Param("limit", f"Names at most: {LIMIT} unless given, {MOST:,} at most.", "int", "8"),
)


class Roster(Protocol):
    """Who follows symbols; every name is in the venue's own spelling, and all raise `Problem`."""

    async def follow(self, symbol: str) -> str: ...

    async def unfollow(self, symbol: str) -> str: ...

    async def listed(self) -> dict[str, str]:
        """Every symbol that the venue lists, with its status."""
        ...


class Listed(msgspec.Struct, frozen=True):
    """A symbol that the venue lists."""

    venue: str
    symbol: str
    status: str
    is_followed: bool


class Listing(msgspec.Struct, frozen=True):
    """Those that a search finds."""

    data: list[Listed]
    next: None = None


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of the POST."""

    symbol: str
    venue: str | None = None


def add(app: FastAPI, source: Source, roster: Roster, turns: Turns) -> None:
    """Add the routes that change what is followed, and that of what could be."""

    async def follow(request: Request) -> Response:
        query.words(request.query_params.multi_items(), (), request.url.path)
        wanted = _wanted(await request.body())
        query.venue(source, {} if wanted.venue is None else {"venue": wanted.venue})
        name = await roster.follow(wanted.symbol)
        return await turns.run(lambda: respond(reading.symbols(source, name), JSON, {}))

    async def unfollow(request: Request) -> Response:
        given = query.words(request.query_params.multi_items(), (VENUE,), request.url.path)
        query.venue(source, given)
        name = await roster.unfollow(request.path_params["symbol"])
        return await turns.run(lambda: respond(reading.symbols(source, name), JSON, {}))

    async def listed(request: Request) -> Response:
        given = query.words(request.query_params.multi_items(), PARAMS, PATH)
        query.venue(source, given)
        limit = query.number("limit", given.get("limit"), LIMIT, 1, MOST)
        known = await roster.listed()
        names = search(known, given.get("search", ""))[:limit]
        body = await turns.run(lambda: msgspec.json.encode(_listing(source, {name: known[name] for name in names})))
        return tag(body, JSON, request.headers)

    for path, methods, endpoint in (
        (PATH, ["GET", "HEAD"], listed),
        ("/v1/symbols", ["POST"], follow),
        ("/v1/symbols/{symbol}", ["DELETE"], unfollow),
    ):
        app.add_api_route(path, endpoint, methods=methods, include_in_schema=False, response_model=None)


def search(names: Iterable[str], text: str) -> list[str]:
    """The names with the text in them, in any case: those that begin with it first, each kind by the alphabet.

    >>> search(["WSOLUSDT", "SOLUSDT", "BTCUSDT", "SOLBTC"], "sol")
    ['SOLBTC', 'SOLUSDT', 'WSOLUSDT']
    """
    wanted = text.strip().upper()
    found = [name for name in names if wanted in name.upper()]
    return sorted(found, key=lambda name: (not name.upper().startswith(wanted), name))


def _listing(source: Source, found: dict[str, str]) -> Listing:
    followed = {row["symbol"] for row in source.symbols() if row["status"] != "not_followed"}
    return Listing([Listed(source.venue, name, status, name in followed) for name, status in found.items()])


def _wanted(body: bytes) -> Wanted:
    try:
        wanted = msgspec.json.decode(body, type=Wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "bad_body", f'{error}; send JSON such as {{"symbol": "SOLUSDT"}}') from error
    if not wanted.symbol.strip():
        raise Problem(400, "bad_symbol", 'symbol is empty; send JSON such as {"symbol": "SOLUSDT"}')
    return msgspec.structs.replace(wanted, symbol=wanted.symbol.strip())
