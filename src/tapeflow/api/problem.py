"""Errors as RFC 9457 problems: a machine's word for it, and a sentence that says what to do."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from tapeflow.domain.errors import SlowError, StoreError
from tapeflow.stores.sql import SqlError

MEDIA = "application/problem+json"

_LOG = logging.getLogger("tapeflow.api")
_TODO = {
    404: "there is no such path; /openapi.json lists those there are",
    405: "this path is not for {method}; use {allow}",
}


class Problem(Exception):
    """A request that is not answered as asked; ``kind`` is stable, ``nearest`` are names that were perhaps meant."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        nearest: Iterable[str] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.nearest = list(nearest)
        self.headers = headers or {}

    def response(self) -> Response:
        body: dict[str, Any] = {
            "type": f"urn:tapeflow:problem:{self.kind}",
            "title": self.kind.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
        }
        if self.nearest:
            body["nearest"] = self.nearest
        headers = {"Cache-Control": "no-store"} | self.headers
        return Response(msgspec.json.encode(body), self.status, headers, MEDIA)


def unknown(status: int, what: str, got: str, known: Iterable[str], where: str = "") -> Problem:
    """A name that is not known, with the nearest ones that are."""
    names = sorted(known)
    folded = {name.upper(): name for name in names}
    near = [folded[name] for name in difflib.get_close_matches(got.upper(), folded, 3, 0.6)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names[:20]) or 'none yet'}"
    kind = f"unknown_{what.replace(' ', '_')}"
    return Problem(status, kind, f"no {what} {got[:60]!r}; {hint}{where}", nearest=near)


async def on_problem(_: Request, error: Exception) -> Response:
    """What we refuse."""
    assert isinstance(error, Problem)
    return error.response()


async def on_store(_: Request, error: Exception) -> Response:
    """A statement that may not be asked is the client's fault, a store that fails is ours; a slow one says so."""
    if isinstance(error, SqlError):
        return Problem(400, "bad_statement", str(error)).response()
    if isinstance(error, SlowError):
        _LOG.warning("%s", error)
        return Problem(503, "too_slow", f"{error}, such as a shorter range or a lower limit").response()
    _LOG.error("the store cannot be read: %s", error)
    detail = "the store cannot be read at present; try again, and look at the server's log"
    return Problem(503, "store_unavailable", detail, headers={"Retry-After": "1"}).response()


def _methods(request: Request) -> list[str]:
    """The methods of all routes of a request's path: of one that is named, not of those that take any name there."""
    matching = [
        route
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] != Match.NONE
    ]
    path = min((route.path for route in matching), key=lambda path: path.count("{"), default="")
    return sorted({method for route in matching if route.path == path for method in route.methods or ()})


async def on_http(request: Request, error: Exception) -> Response:
    """What the framework refuses."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    allow = headers.get("Allow") or headers.get("allow") or "GET"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # the framework tells of the first route of the path only
        headers = {name: value for name, value in headers.items() if name.lower() != "allow"}
        headers["Allow"] = allow = ", ".join(_methods(request)) or allow
    detail = _TODO.get(error.status_code, str(error.detail)).format(method=request.method, allow=allow)
    kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return Problem(error.status_code, kind, detail, headers=headers).response()


async def on_fault(_: Request, __: Exception) -> Response:
    """A fault of ours: what happened is in the log, which `tapeflow.api.guard` writes, and nowhere else."""
    return FAULT.response()


#: A fault of ours.
FAULT = Problem(500, "internal_error", "the server failed at this request; what happened is in its log")

#: Handlers by exception, for the application.
BY_ERROR = {Problem: on_problem, StoreError: on_store, HTTPException: on_http, Exception: on_fault}
