"""One look at a venue: whether it can be reached, and how far our clocks are apart. Nothing is followed or recorded."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import msgspec

from tapeflow.feed.refused import explain
from tapeflow.venues.wire import Wire

TIMEOUT_S = 5.0


class Seen(msgspec.Struct, frozen=True):
    """What a look found: an HTTP status (0: no answer), milliseconds there and back, our clock less the venue's."""

    address: str
    status: int
    round_trip_ms: float = 0.0
    offset_ms: float | None = None
    problem: str = ""


async def look(rest: str, websocket: str, wire: Wire) -> tuple[Seen, Seen]:
    """REST and WebSocket of a venue, at the same time."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        return await asyncio.gather(_rest(session, rest, wire), _websocket(session, websocket, wire))


async def _rest(session: aiohttp.ClientSession, address: str, wire: Wire) -> Seen:
    """Asks for the time twice: the first answer pays for the connection, the second is measured."""
    try:
        for _ in range(2):
            sent, began = time.time_ns() // 1000, time.monotonic()
            async with session.get(address.rstrip("/") + wire.time_path) as response:
                body = await response.content.read(1 << 16)
            took_ms = (time.monotonic() - began) * 1000
            if response.status != 200:
                break
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return Seen(address, 0, problem=_text(error))
    if response.status != 200:
        return Seen(address, response.status, took_ms, problem=_refusal(response.status, wire, body))
    try:
        theirs = wire.read_time(body)
    except msgspec.DecodeError as error:
        return Seen(address, 200, took_ms, problem=f"the answer is not the venue's time: {error}")
    return Seen(address, 200, round(took_ms, 1), round((sent - theirs) / 1000 + took_ms / 2, 1))


async def _websocket(session: aiohttp.ClientSession, address: str, wire: Wire) -> Seen:
    began = time.monotonic()
    try:
        async with session.ws_connect(address.rstrip("/") + wire.socket_path, max_msg_size=1 << 20):
            return Seen(address, 101, round((time.monotonic() - began) * 1000, 1))
    except aiohttp.WSServerHandshakeError as error:
        return Seen(address, error.status, problem=_refusal(error.status, wire, b""))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return Seen(address, 0, problem=_text(error))


def _refusal(status: int, wire: Wire, body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace").strip()
    return explain(status, wire) or f"answers {status}" + (f": {text}" if text else "")


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
