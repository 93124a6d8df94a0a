"""The stream by Server-Sent Events: one topic for one request, its cursor as the id of each event.

A browser's ``EventSource`` comes again by itself, with the id of the last event it has: so it goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import StreamingResponse

from tapeflow.api.guard import KEY
from tapeflow.api.hub import Hub
from tapeflow.api.problem import Problem
from tapeflow.api.query import number
from tapeflow.api.stream import HEARTBEAT_S, MOST, Streams
from tapeflow.api.topics import Refusal, Topic

PATH = "/v1/stream"
#: What is a number, and the most it may be.
_NUMBERS = {"window_ms": 10**12, "slide_ms": 10**12, "snapshot": 1000}
_LOG = logging.getLogger("tapeflow.api")
_encode = msgspec.json.Encoder().encode


class Events:
    """A member of the hub whose messages are events of one answer."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: deque[tuple[bytes, bytes]] = deque()  # id and data
        self._bytes = 0
        self._newest: tuple[bytes, bytes] | None = None
        self._left_out = 0
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._end: str | None = None

    def push(self, topic: Topic, message: bytes, cursor: str) -> None:
        self._waiting.append((cursor.encode(), message))
        self._bytes += len(message)
        self._drained.clear()
        if self._bytes > MOST:
            self.dismiss("too_slow")
            self._hub.too_slow += 1
        self._changed.set()

    def show(self, topic: Topic, message: bytes) -> None:
        self._left_out += self._newest is not None
        self._newest = (b"", message)
        self._changed.set()

    async def ready(self) -> None:
        await self._drained.wait()
        if self._end is not None:
            raise ConnectionError("the client has gone")

    def dismiss(self, reason: str) -> None:
        self._end = self._end or reason
        self._changed.set()
        self._drained.set()

    async def events(self) -> AsyncIterator[bytes]:
        """What goes over the wire, until the end."""
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), HEARTBEAT_S)
            except TimeoutError:
                yield b'event: heartbeat\ndata: {"type":"heartbeat","ts":%d}\n\n' % (time.time_ns() // 1000)
                continue
            self._changed.clear()
            while self._waiting and self._end != "too_slow":
                cursor, message = self._waiting.popleft()
                self._bytes -= len(message)
                yield b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor, _kind(message), message)
            if not self._waiting:
                self._drained.set()
            if self._newest is not None:
                (_, message), self._newest, left_out, self._left_out = self._newest, None, self._left_out, 0
                if left_out:
                    message = b'{"conflated":%d,' % left_out + message[1:]
                yield b"event: %b\ndata: %b\n\n" % (_kind(message), message)
            if self._end is not None:
                yield b"event: closing\ndata: %b\n\n" % _encode({"type": "closing", "code": self._end})
                return


def _kind(message: bytes) -> bytes:
    return b"snapshot" if b'"type":"snapshot"' in message[:64] else b"update"


def add(app: FastAPI, streams: Streams) -> None:
    """Add the route."""

    async def endpoint(request: Request) -> StreamingResponse:
        topic, rows = _asked(streams, request.query_params.multi_items())
        cursor = request.headers.get("last-event-id")
        if cursor is not None and not await streams.hub.can_resume(topic, cursor):
            cursor = None  # the snapshot that follows says so
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        events = _serve(streams, topic, cursor, rows, request.scope.get(KEY))
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    app.add_api_route(PATH, endpoint, methods=["GET"], include_in_schema=False, response_model=None)


async def _serve(
    streams: Streams, topic: Topic, cursor: str | None, rows: int, key: str | None
) -> AsyncIterator[bytes]:
    events = Events(streams.hub)
    streams.members[events] = key
    joining = asyncio.create_task(_join(streams.hub, topic, events, cursor, rows))
    try:
        async for event in events.events():
            yield event
    finally:
        events.dismiss("gone")
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        streams.hub.leave(topic, events)
        streams.members.pop(events, None)


async def _join(hub: Hub, topic: Topic, events: Events, cursor: str | None, rows: int) -> None:
    """Have the answer follow the topic, or end: a client that comes again may have more luck."""
    try:
        await hub.join(topic, events, cursor=cursor, rows=rows)
    except ConnectionError:
        pass  # it has gone
    except Exception as error:  # noqa: BLE001 - whatever it is, the client learns nothing of it but the end
        _LOG.error("%s of %s cannot be followed", topic.channel, topic.symbol, exc_info=error)
        events.dismiss("internal_error")


def _asked(streams: Streams, items: list[tuple[str, str]]) -> tuple[Topic, int]:
    given: dict[str, Any] = dict(items)
    if len(given) < len(items):
        raise Problem(400, "repeated_parameter", "each parameter is given once; a WebSocket can follow many symbols")
    for name, most in _NUMBERS.items():
        if name in given:
            given[name] = number(name, given[name], 0, 0, most)
    rows = given.pop("snapshot", 100)
    if "symbols" in given or "symbol" not in given:
        raise Problem(400, "missing_parameter", f"{PATH} needs a symbol; a WebSocket there can follow many at once")
    try:
        topics = streams.find(given)
    except Refusal as refusal:
        status = 404 if refusal.code.startswith("unknown_") else 400
        raise Problem(status, refusal.code, str(refusal), nearest=refusal.nearest) from refusal
    if len(topics) != 1:
        fields = ", ".join(name for name, _ in topics[0].params)
        raise Problem(400, "missing_parameter", f"these are {len(topics)} topics; give all of {fields}")
    return topics[0], rows
