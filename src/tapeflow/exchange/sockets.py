"""The WebSocket paths: who connects, what they ask, when they leave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import WSMsgType, web

from tapeflow.exchange.clock import seconds
from tapeflow.exchange.connection import Connection
from tapeflow.exchange.frames import PONG, frame
from tapeflow.exchange.params import Refusal, unit_of
from tapeflow.exchange.requests import STREAM_LIMIT, answer

if TYPE_CHECKING:
    from tapeflow.exchange.server import SimulatedVenue

#: Messages, pings and pongs of a client in a second.
MESSAGE_LIMIT = 5


def routes(venue: SimulatedVenue, app: web.Application) -> None:
    """``/ws``, ``/ws/<stream>/<stream>`` and ``/stream?streams=``."""

    async def raw(request: web.Request) -> web.StreamResponse:
        names = unquote(request.match_info.get("names", "")).split("/")
        return await _serve(venue, request, [name for name in names if name], combined=False)

    async def wrapped(request: web.Request) -> web.StreamResponse:
        names = unquote(request.query.get("streams", "")).split("/")
        return await _serve(venue, request, [name for name in names if name], combined=True)

    app.router.add_get("/ws", raw)
    app.router.add_get("/ws/{names:.*}", raw)
    app.router.add_get("/stream", wrapped)


async def _serve(
    venue: SimulatedVenue, request: web.Request, names: list[str], *, combined: bool
) -> web.StreamResponse:
    transport = request.transport
    if transport is None:
        return web.Response(status=400)
    now = seconds()
    if venue.faults.of("refuse", now):
        if venue.faults.chance.hits(500):
            transport.abort()
        return web.Response(status=503, text="Service Unavailable")
    if not venue.limits.connect(now):
        return web.Response(status=429, text="Too many connections")
    try:
        unit = unit_of(request.query.get("timeUnit"))
    except Refusal as refusal:
        return web.Response(status=400, body=refusal.body, content_type="application/json")
    if len(dict.fromkeys(names)) > STREAM_LIMIT:
        return web.Response(status=400, text=f"at most {STREAM_LIMIT} streams on one connection")
    socket = web.WebSocketResponse(autoping=False, autoclose=False, compress=False, max_msg_size=1 << 20)
    await socket.prepare(request)
    client = Connection(socket, transport, unit, combined=combined)
    client.streams.update(dict.fromkeys(names))
    freeze = venue.faults.of("freeze", now)
    if freeze:
        client.frozen_until = now + freeze.seconds
    venue.connections[client] = None
    venue.accepted += 1
    for name in client.streams:
        venue.broadcast.listen(client, name)
    try:
        await _listen(venue, client)
    finally:
        _forget(venue, client)
        transport.close()
    return socket


async def _listen(venue: SimulatedVenue, client: Connection) -> None:
    """Follow the client's messages until it leaves."""
    while True:
        message = await client.socket.receive()
        if message.type in (WSMsgType.CLOSED, WSMsgType.ERROR, WSMsgType.CLOSING):
            return
        while client.is_frozen:
            await asyncio.sleep(0.05)
        if message.type is WSMsgType.CLOSE:
            client.close(message.data or 1000)
            return
        if not client.count_message(MESSAGE_LIMIT):
            client.close(1008, "Too many requests")
            continue
        if message.type is WSMsgType.PING:
            client.put(frame(message.data, PONG))
        elif message.type is WSMsgType.PONG:
            client.pong(message.data)
        elif message.type is WSMsgType.TEXT:
            _follow(venue, client, message.data.encode())
        else:
            client.close(1003, "Unsupported data")
        client.flush()


def _follow(venue: SimulatedVenue, client: Connection, message: bytes) -> None:
    wish = answer(client, message, flat_errors=venue.flat_errors)
    client.put(frame(wish.answer))
    for name in wish.begin:
        venue.broadcast.listen(client, name)
    for name in wish.end:
        venue.broadcast.leave(client, name)


def _forget(venue: SimulatedVenue, client: Connection) -> None:
    for name in client.streams:
        venue.broadcast.leave(client, name)
    venue.connections.pop(client, None)
    venue.ended_frames += client.frames
    venue.ended_bytes += client.bytes
