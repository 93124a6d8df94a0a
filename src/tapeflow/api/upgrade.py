"""From an HTTP request to a WebSocket of the stream: uvicorn gives the connection up, picows takes it.

A WebSocket of uvicorn costs a task and a queue for each message; picows writes to the socket at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from picows import WSAutoPingStrategy, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from tapeflow.api.guard import KEY, SCOPES, Guard
from tapeflow.api.problem import FAULT, Problem
from tapeflow.api.stream import MESSAGE, Client

PATH = "/v1/stream"

_LOG = logging.getLogger("tapeflow.api")

#: Makes a client's side of a connection; True if it may read without showing a key, and the key it has shown.
Welcome = Callable[[bool, str | None], Client]


class Upgraded(asyncio.Protocol):
    """What is left of the HTTP connection: bytes pass through to picows."""

    def __init__(self, guard: Guard, welcome: Welcome) -> None:
        self._guard = guard
        self._welcome = welcome
        self._client: tuple[str, int] | None = None
        #: Called when the connection has ended.
        self.on_lost: Callable[[], None] | None = None
        self._inner = WSProtocol(
            None, None, False, self._listener, _LOG, True, 10.0, False, 20.0, 20.0,  # noqa: FBT003
            WSAutoPingStrategy.PING_WHEN_IDLE, True, MESSAGE + 1024, None, 16 * 1024,  # noqa: FBT003
        )  # fmt: skip

    def _listener(self, request: WSUpgradeRequest) -> Any:
        try:
            return self._welcome(*self._admit(request))
        except Problem as problem:
            return _refused(problem)
        except Exception as error:  # noqa: BLE001 - whatever it is, a client learns nothing of it
            _LOG.error("a handshake failed", exc_info=error)
            return _refused(FAULT)

    def _admit(self, request: WSUpgradeRequest) -> tuple[bool, str | None]:
        path, _, query = request.path.partition(b"?")
        if path.decode("latin-1") != PATH:
            raise Problem(404, "not_found", f"there is a WebSocket at {PATH} only")
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()]
        scope: dict[str, Any] = {"type": "websocket", "path": PATH, "query_string": query, "headers": headers}
        scope["client"] = self._client
        self._guard.admit(scope)
        return "read" in (scope[SCOPES] or ()), scope[KEY]

    # -- bytes -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client = transport.get_extra_info("peername")
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        while data:
            room = self._inner.get_buffer(len(data))
            size = min(len(room), len(data))
            room[:size] = data[:size]
            self._inner.buffer_updated(size)
            data = data[size:]

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()  # type: ignore[no-any-return]

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


def _refused(problem: Problem) -> WSUpgradeResponseWithListener:
    answer = problem.response()
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}
    body = bytes(answer.body)
    response = WSUpgradeResponse.create_error_response(HTTPStatus(answer.status_code), body, headers)
    return WSUpgradeResponseWithListener(response, None)
