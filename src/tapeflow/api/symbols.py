"""What is followed, changed while a run goes on: ``POST /v1/symbols`` and ``DELETE /v1/symbols/{symbol}``."""

from __future__ import annotations

from typing import Protocol

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tapeflow.api import query, reading
from tapeflow.api.formats import JSON
from tapeflow.api.problem import Problem
from tapeflow.api.resources import VENUE
from tapeflow.api.respond import respond
from tapeflow.api.source import Source
from tapeflow.api.turns import Turns


class Roster(Protocol):
    """Who follows symbols; both give the venue's own spelling and raise `Problem`."""

    async def follow(self, symbol: str) -> str: ...

    async def unfollow(self, symbol: str) -> str: ...


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of the POST."""

    symbol: str
    venue: str | None = None


def add(app: FastAPI, source: Source, roster: Roster, turns: Turns) -> None:
    """Add the routes that change what is followed."""

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

    for path, method, endpoint in (("/v1/symbols", "POST", follow), ("/v1/symbols/{symbol}", "DELETE", unfollow)):
        app.add_api_route(path, endpoint, methods=[method], include_in_schema=False, response_model=None)


def _wanted(body: bytes) -> Wanted:
    try:
        wanted = msgspec.json.decode(body, type=Wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "bad_body", f'{error}; send JSON such as {{"symbol": "SOLUSDT"}}') from error
    if not wanted.symbol.strip():
        raise Problem(400, "bad_symbol", 'symbol is empty; send JSON such as {"symbol": "SOLUSDT"}')
    return msgspec.structs.replace(wanted, symbol=wanted.symbol.strip())
