"""``/v1/alerts``: rules made, seen, changed, tried and removed; and the journal of what fired."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tapeflow.api import query
from tapeflow.api.alerts.described import PATH
from tapeflow.api.alerts.desk import Desk, TooMany, UnknownRule
from tapeflow.api.alerts.journal import Entry
from tapeflow.api.alerts.rules import Draft, Rule, about, shown
from tapeflow.api.alerts.targets import Undelivered
from tapeflow.api.formats import JSON
from tapeflow.api.problem import Problem
from tapeflow.api.resources import Param
from tapeflow.api.topics import Refusal
from tapeflow.domain.errors import OutputError, SettingsError

EVENTS = (
    Param("rule", "Only of this rule.", example="9f86d081aa"),
    Param("limit", "At most so many, the newest.", example="100", kind="int"),
)
#: Events given unless more are asked for, and at most.
LIMIT, MOST = 100, 1000


def add(app: FastAPI, desk: Desk) -> None:
    """Add the routes of a desk; they are served in its loop."""

    async def ls(request: Request) -> Response:
        query.words(request.query_params.multi_items(), (), PATH)
        return _answer({"data": [_row(desk, rule) for rule in desk.book.rules.values()], "next": None})

    async def make(request: Request) -> Response:
        draft = await _draft(request)
        with _refusing():
            await desk.look_at_targets(draft, None)
            rule = await desk.add(draft)
        return _answer(_row(desk, rule), 201, {"Location": f"{PATH}/{rule.id}"})

    async def get(request: Request) -> Response:
        return _answer(_row(desk, _rule(desk, request)))

    async def put(request: Request) -> Response:
        draft = await _draft(request)
        with _refusing():
            await desk.look_at_targets(draft, _rule(desk, request))
            return _answer(_row(desk, await desk.put(_id(request), draft)))

    async def remove(request: Request) -> Response:
        with _refusing():
            return _answer(_row(desk, await desk.remove(_id(request))))

    async def test(request: Request) -> Response:
        _check_type(request)
        if (await request.body()).strip() not in (b"", b"{}"):
            raise Problem(400, "bad_body", "a test takes nothing; send {}")
        return _answer({"data": await desk.test(_rule(desk, request)), "next": None})

    async def events(request: Request) -> Response:
        given = query.words(request.query_params.multi_items(), EVENTS, f"{PATH}/events")
        limit = query.number("limit", given.get("limit"), LIMIT, 1, MOST)
        entries = [e for e in desk.journal.entries.values() if given.get("rule", e.event.rule) == e.event.rule]
        return _answer({"data": [_event(entry) for entry in entries[-limit:]], "next": None})

    for path, endpoint, methods in (
        (f"{PATH}/events", events, ["GET", "HEAD"]),
        (PATH, ls, ["GET", "HEAD"]),
        (PATH, make, ["POST"]),
        (f"{PATH}/{{id}}", get, ["GET", "HEAD"]),
        (f"{PATH}/{{id}}", put, ["PUT"]),
        (f"{PATH}/{{id}}", remove, ["DELETE"]),
        (f"{PATH}/{{id}}/test", test, ["POST"]),
    ):
        app.add_api_route(path, endpoint, methods=methods, include_in_schema=False, response_model=None)


def _answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, {"Cache-Control": "no-store", **(headers or {})}, JSON)


def _id(request: Request) -> str:
    return str(request.path_params["id"])


def _rule(desk: Desk, request: Request) -> Rule:
    with _refusing():
        return desk.rule(_id(request))


def _row(desk: Desk, rule: Rule) -> dict[str, Any]:
    row = shown(rule) | {"about": about(rule.when), "state": desk.state(rule)}
    problem = desk.problem(rule)
    return row | ({"problem": problem} if problem else {})


def _event(entry: Entry) -> dict[str, Any]:
    row = {name: getattr(entry.event, name) for name in entry.event.__struct_fields__ if name != "test"}
    row["deliveries"] = [
        {"target": name, **{field: getattr(one, field) for field in one.__struct_fields__}}
        for name, one in entry.deliveries.items()
    ]
    return row


def _check_type(request: Request) -> None:
    """A form of another site's page cannot send JSON without asking first, and then its origin is looked at."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != JSON:
        raise Problem(415, "unsupported_media_type", f"send `Content-Type: {JSON}`, got {media[:60] or 'none'!r}")


async def _draft(request: Request) -> Draft:
    query.words(request.query_params.multi_items(), (), request.url.path)
    _check_type(request)
    try:
        return msgspec.json.decode(await request.body(), type=Draft)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "bad_body", f"{error}; docs/reference/alerts.md has every field") from error


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        kind = refusal.code if refusal.code != "bad_request" else "bad_alert"
        raise Problem(400, kind, str(refusal), nearest=refusal.nearest) from refusal
    except (SettingsError, Undelivered) as error:
        raise Problem(400, "bad_alert", str(error)) from error
    except UnknownRule as error:
        raise Problem(404, "unknown_alert", str(error)) from error
    except TooMany as error:
        raise Problem(409, "too_many_alerts", str(error)) from error
    except OutputError as error:
        raise Problem(503, "not_kept", str(error)) from error
