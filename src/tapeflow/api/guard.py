"""Who may ask: before any route the Host, the Origin, the rate, the key and the size of a request are looked at.

A page of another site cannot read us, nor reach us under a name of its own (DNS rebinding); a key is never in a URL,
where logs and histories keep it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tapeflow.api.buckets import Buckets
from tapeflow.api.counts import Counts
from tapeflow.api.limits import Limits
from tapeflow.api.problem import FAULT, Problem

#: Where the scopes of a request's key stand in the ASGI scope, and where the key, if one was needed.
SCOPES, KEY = "tapeflow.scopes", "tapeflow.key"
#: Names of this machine, by which it can always be called.
HERE = ("localhost", "127.0.0.1", "::1")
#: Query parameters in which people put keys.
SECRET = frozenset({"key", "api_key", "apikey", "x-api-key", "token", "access_token", "authorization"})

#: Needs a key on this machine too.
_ADMIN = "/v1/admin"

#: A name or an address, and perhaps a port; nobody's name, no path.
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)

#: Of a body that is too large so many times what it may have is still taken, and so long is waited for it.
_HEARD_OUT, _HEARD_OUT_S = 16, 1.0
_LOG = logging.getLogger("tapeflow.api")
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_EXPOSED = "ETag, Retry-After, Tapeflow-Complete, Tapeflow-Gaps, Tapeflow-Guarantee, Tapeflow-Next, Tapeflow-Truncated"


class Keys(Protocol):
    """Whose requests are let in."""

    @property
    def is_required(self) -> bool:
        """True if nobody is let in without a key."""
        ...

    def verify(self, token: str) -> frozenset[str] | None:
        """The scopes of a token (``read``, ``sql``, ``admin``); None if it is no good. Quick."""
        ...


class NoKeys:
    """Everybody on this machine may ask, for what is not an administrator's."""

    is_required = False

    def verify(self, token: str) -> frozenset[str] | None:
        return frozenset({"read", "sql"}) if token else None


class Guard:
    """An ASGI application around another one; also of WebSocket handshakes, whose key may come in a message later."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        keys: Keys,
        *,
        names: tuple[str, ...] = (),
        counts: Counts | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._limits = limits
        self._keys = keys
        self._counts = Counts() if counts is None else counts
        self._hosts = {name.lower().strip("[]") for name in (*HERE, *names, *limits.hosts)}
        self._buckets = Buckets(limits.requests_per_s, max(20.0, 2 * limits.requests_per_s), now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        door = _Door(send, origin if origin in self._limits.origins else None, self._counts)
        bounded = _Bounded(receive, self._limits.body_bytes)
        try:
            self._check(scope, headers)
            if scope["type"] == "http" and scope["method"] == "OPTIONS" and origin:
                await _preflight()(scope, receive, door)
                return
            await self._app(scope, bounded, door)
        except Problem as problem:
            if problem.status == 413:
                await bounded.hear_out()
            await self._refuse(problem, scope, receive, door)
        except ClientDisconnect:
            _LOG.debug("a client has gone before the end of its request")
        except Exception as error:  # noqa: BLE001 - whatever it is, a client learns nothing of it
            _LOG.error("%r failed", scope["path"], exc_info=error)
            await self._refuse(FAULT, scope, receive, door)

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, door: _Door) -> None:
        if door.has_begun:
            return
        if scope["type"] == "websocket":
            await _deny(problem.response(), scope, receive, door)
        else:
            await problem.response()(scope, receive, door)

    def admit(self, scope: Scope) -> None:
        """Check a handshake that does not come by `__call__`, as a WebSocket's of the stream; raises `Problem`."""
        self._check(scope, Headers(scope=scope))

    # -- checks ------------------------------------------------------------------------------------------

    def _check(self, scope: Scope, headers: Headers) -> None:
        self._check_head(scope, headers)
        self._check_host(headers)
        self._check_origin(headers)
        _check_url(scope)
        client = (scope.get("client") or ("?", 0))[0]
        token = _token(headers)
        scopes = self._keys.verify(token) if token else None
        self._take(f"key {token}" if scopes is not None and self._keys.is_required else f"address {client}")
        scope[KEY] = token if self._keys.is_required else None
        scope[SCOPES] = scopes if self._keys.is_required else (scopes or frozenset()) | {"read", "sql"}
        if scope["type"] == "http" and scope["method"] != "OPTIONS":  # a browser asks first, without the key
            self._check_key(scope["method"], scope["path"], token, scopes)
        size = headers.get("content-length", "0")
        if not size.isascii() or not size.isdigit() or int(size) > self._limits.body_bytes:
            raise _too_large(self._limits.body_bytes)

    def _check_head(self, scope: Scope, headers: Headers) -> None:
        """The parser bounds no head that comes at once, and lets chunks count where a length is given too."""
        size = len(scope["path"]) + len(scope.get("query_string", b""))
        size += sum(len(name) + len(value) + 4 for name, value in headers.raw)
        if size > self._limits.head_bytes:
            detail = f"the head of a request has at most {self._limits.head_bytes} bytes; send SQL as a POST"
            raise Problem(431, "head_too_large", detail, headers={"Connection": "close"})
        if "transfer-encoding" in headers and "content-length" in headers:
            detail = "a request has a Content-Length or a Transfer-Encoding, not both"
            raise Problem(400, "two_lengths", detail, headers={"Connection": "close"})

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        name = (urlsplit(f"//{hosts[0]}").hostname or "") if len(hosts) == 1 and _is_host(hosts[0]) else ""
        if name.lower() not in self._hosts:
            shown = hosts[0][:80] if len(hosts) == 1 and _is_host(hosts[0]) else "that"
            detail = f"this server is not called {shown!r}; use its address, or add the name to allowed_hosts of [api]"
            raise Problem(421, "misdirected_request", detail)

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None or origin in self._limits.origins:
            return
        if origin.partition("://")[0] not in ("http", "https") or origin.partition("://")[2] != headers.get("host"):
            detail = f"pages of {origin[:80]!r} may not ask here; add it to allowed_origins of [api]"
            raise Problem(403, "foreign_origin", detail)

    def _take(self, client: str) -> None:
        wait = self._buckets.take(client)
        if wait:
            detail = (
                f"more than {self._limits.requests_per_s:g} requests a second; wait, or use /v1/stream for what is new"
            )
            raise Problem(429, "too_many_requests", detail, headers={"Retry-After": str(max(1, round(wait)))})

    def _check_key(self, method: str, path: str, token: str | None, scopes: frozenset[str] | None) -> None:
        needed = _needed(method, path)
        if needed is None or (not self._keys.is_required and not path.startswith(_ADMIN)):
            return
        if scopes is None:
            what = "this key is not, or no longer, good" if token else "a key is needed"
            detail = f"{what}; send `Authorization: Bearer tf_...`, made by `tapeflow key create`"
            raise Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="tapeflow"'})
        if needed not in scopes:
            detail = f"this key is for {', '.join(sorted(scopes))}; {path} needs one with the scope {needed}"
            raise Problem(403, "forbidden", detail)


def _needed(method: str, path: str) -> str | None:
    """The scope that a path needs; None for those of everybody."""
    if path.startswith("/v1/sql"):
        return "sql"
    is_written = path.startswith(("/v1/symbols", "/v1/alerts")) and method not in ("GET", "HEAD")
    if path.startswith(_ADMIN) or is_written:
        return "admin"
    return "read" if path.startswith("/v1/") or path == "/metrics" else None


def _is_host(text: str) -> bool:
    try:
        return _HOST.fullmatch(text) is not None and urlsplit(f"//{text}").port != 0
    except ValueError:
        return False


def _check_url(scope: Scope) -> None:
    query = scope.get("query_string", b"").decode("latin-1")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.lower() in SECRET or (value.startswith("tf_") and len(value) > 20):
            detail = "a key in a URL ends in logs; send it as `Authorization: Bearer tf_...`, and make a new one"
            raise Problem(400, "key_in_url", detail)


def _token(headers: Headers) -> str | None:
    kind, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" and value.strip() else headers.get("x-api-key")


def _too_large(most: int) -> Problem:
    return Problem(
        413, "too_large", f"a request's body has at most {most} bytes; send less", headers={"Connection": "close"}
    )


def _preflight() -> Response:
    headers = {
        "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE",
        "Access-Control-Allow-Headers": "Authorization, X-API-Key, Content-Type, If-None-Match, Last-Event-ID",
        "Access-Control-Max-Age": "600",
    }
    return Response(status_code=204, headers=headers)


async def _deny(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a handshake: with the problem where the server can, else by closing."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await response(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008})


class _Bounded:
    """The body of a request, up to a size."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._size = 0
        self._has_more = True

    async def __call__(self) -> Message:
        message = await self._take()
        if self._size > self._most:
            await self.hear_out()
            raise _too_large(self._most)
        return message

    async def hear_out(self) -> None:
        """Take what a client still sends, within reason: one that is cut off while it sends does not read why."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HEARD_OUT_S):
                while self._has_more and self._size < _HEARD_OUT * self._most:
                    await self._take()

    async def _take(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        self._has_more = message.get("more_body", False)
        return message


class _Door:
    """What goes out: with the headers that keep a browser careful."""

    def __init__(self, send: Send, origin: str | None, counts: Counts) -> None:
        self._send = send
        self._counts = counts
        self._origin = origin
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            self.has_begun = True
        if message["type"] == "http.response.start":
            self._counts.answered(message["status"])
            headers = MutableHeaders(scope=message)
            for name, value in _SAFE.items():
                headers.setdefault(name, value)
            if self._origin is not None:
                headers["Access-Control-Allow-Origin"] = self._origin
                headers["Access-Control-Expose-Headers"] = _EXPOSED
                headers["Cross-Origin-Resource-Policy"] = "cross-origin"
                headers.setdefault("Vary", "Origin")
        await self._send(message)
