"""The routes: each reads its parameters, has the work done in a thread, and gives the form that was asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tapeflow import indicators
from tapeflow.api import examples, health, metrics, openapi, page, query, reading, studies, symbols, welcome
from tapeflow.api.formats import JSON, choose
from tapeflow.api.limits import Limits
from tapeflow.api.problem import Problem
from tapeflow.api.reading import Answer
from tapeflow.api.resources import BOOK, DEPTH, FORMAT, LATEST_QUOTE, RESOURCES, SYMBOL, VENUE, Param, Q, Resource
from tapeflow.api.respond import respond, tag
from tapeflow.api.source import Source
from tapeflow.api.turns import Turns

Work = Callable[[dict[str, str]], Answer]

METHODS = ("GET", "HEAD")


def add(
    app: FastAPI,
    source: Source,
    limits: Limits,
    roster: symbols.Roster | None = None,
    http: Callable[[], metrics.Http] = metrics.Http,
) -> None:
    """Add every route of REST."""
    reads = Turns(limits.reads, limits.turn_s)
    for resource in RESOURCES:
        _add(app, resource.path, resource.params, reads, _range(source, limits, resource))
    _add(app, LATEST_QUOTE.path, LATEST, reads, _latest(source, LATEST_QUOTE))
    _add(app, BOOK.path, BOOK_PARAMS, reads, _latest(source, BOOK))
    _add(app, "/v1/symbols", (VENUE, SYMBOL_ALONE, FORMAT), reads, _symbols(source))
    if roster is not None:
        symbols.add(app, source, roster, reads)
    _add_sql(app, source, limits)
    _add_plain(app, source, limits, reads)
    app.include_router(health.router(source.status), include_in_schema=False)
    app.include_router(metrics.router(source.status, http), include_in_schema=False)


SYMBOL_ALONE = Param("symbol", SYMBOL.description, example=SYMBOL.example)
SYMBOL_NEEDED = Param("symbol", SYMBOL.description, example=SYMBOL.example, is_required=True)
LATEST = (VENUE, SYMBOL_NEEDED, FORMAT)
BOOK_PARAMS = (VENUE, SYMBOL_NEEDED, DEPTH, FORMAT)


# -- channels --------------------------------------------------------------------------------------------


def _add(app: FastAPI, path: str, params: tuple[Param, ...], turns: Turns, work: Work) -> None:
    async def endpoint(request: Request) -> Response:
        given = query.words(request.query_params.multi_items(), params, path)
        media = choose(request.headers.get("accept"), given.get("format"))
        return await turns.run(lambda: respond(work(given), media, request.headers))

    app.add_api_route(path, endpoint, methods=list(METHODS), include_in_schema=False, response_model=None)


def _range(source: Source, limits: Limits, resource: Resource) -> Work:
    return lambda given: reading.read(source, resource, query.read(source, limits, resource, given))


def _latest(source: Source, resource: Resource) -> Work:
    def work(given: dict[str, str]) -> Answer:
        query.venue(source, given)
        depth = query.number("depth", given.get("depth"), 20, 1, 5000) if resource is BOOK else None
        return reading.latest(source, resource.channel, query.symbol(source, given["symbol"]), depth)

    return work


def _symbols(source: Source) -> Work:
    def work(given: dict[str, str]) -> Answer:
        query.venue(source, given)
        return reading.symbols(source, query.symbol(source, given["symbol"]) if given.get("symbol") else None)

    return work


# -- SQL -------------------------------------------------------------------------------------------------


def _add_sql(app: FastAPI, source: Source, limits: Limits) -> None:
    turns = Turns(limits.statements, limits.turn_s)

    async def answer(request: Request, statement: str, given: Mapping[str, str]) -> Response:
        if not limits.has_sql:
            detail = (
                "SQL is switched off; set `sql = true` in [api] of the run's settings, "
                "of a gateway `reader` in [postgres] too, or ask the other paths"
            )
            raise Problem(404, "not_kept", detail)
        media = choose(request.headers.get("accept"), given.get("format"))
        return await turns.run(lambda: respond(_selected(source, statement), media, request.headers))

    async def get(request: Request) -> Response:
        given = query.words(request.query_params.multi_items(), (Q, FORMAT), "/v1/sql")
        return await answer(request, given["q"], given)

    async def post(request: Request) -> Response:
        given = query.words(request.query_params.multi_items(), (FORMAT,), "/v1/sql")
        try:
            statement = (await request.body()).decode()
        except UnicodeDecodeError as error:
            raise Problem(400, "bad_statement", "the body is not UTF-8; send the statement as text") from error
        return await answer(request, statement, given)

    app.add_api_route("/v1/sql", get, methods=list(METHODS), include_in_schema=False, response_model=None)
    app.add_api_route("/v1/sql", post, methods=["POST"], include_in_schema=False, response_model=None)


def _selected(source: Source, statement: str) -> Answer:
    found = source.select(statement)
    return Answer(found.rows, has_frame=False, is_truncated=found.is_truncated)


# -- the rest --------------------------------------------------------------------------------------------


def _add_plain(app: FastAPI, source: Source, limits: Limits, reads: Turns) -> None:
    async def described(request: Request) -> Response:
        return tag(openapi.document(limits), JSON, request.headers)

    built = page.Built()

    async def welcomed(request: Request) -> Response:
        at = examples.address(request)
        made = await reads.run(lambda: welcome.page(source, limits, at))
        return Response(made, 200, welcome.HEADERS, "text/html; charset=utf-8")

    async def first(request: Request) -> Response:
        return built.index(request.headers, needs_key=limits.needs_key) or await welcomed(request)

    async def asset(request: Request) -> Response:
        found = built.asset(request.path_params["name"], request.headers)
        if found is None:
            raise Problem(404, "not_found", "no such file of the page; the page is at /")
        return found

    async def about(request: Request) -> Response:
        query.words(request.query_params.multi_items(), (), "/v1/about")
        return tag(msgspec.json.encode(page.about(source, limits)), JSON, request.headers)

    async def catalogue(request: Request) -> Response:
        query.words(request.query_params.multi_items(), (), "/v1/catalogue")
        return tag(msgspec.json.encode(studies.Catalogue(indicators.catalogue())), JSON, request.headers)

    async def shown(request: Request) -> Response:
        query.words(request.query_params.multi_items(), (), "/v1/examples")
        at = examples.address(request)
        made = await reads.run(lambda: msgspec.json.encode(examples.examples(source, limits, at)))
        return tag(made, JSON, request.headers)

    plain: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/openapi.json": described,
        "/": first,
        "/assets/{name}": asset,
        "/welcome": welcomed,
        "/v1/about": about,
        "/v1/catalogue": catalogue,
        "/v1/examples": shown,
    }
    for path, endpoint in plain.items():
        app.add_api_route(path, endpoint, methods=list(METHODS), include_in_schema=False, response_model=None)
