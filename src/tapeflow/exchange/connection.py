"""One client's WebSocket, from the server's side."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from itertools import count

from aiohttp import web

from tapeflow.exchange.clock import seconds
from tapeflow.exchange.frames import CLOSE, PING, frame

#: A client that has so much unread is cut off.
UNREAD_LIMIT = 32 << 20

_NUMBERS = count(1)


class Connection:
    """Frames are gathered and leave in one write by `flush`; nothing is sent once it is closed or frozen."""

    def __init__(
        self, socket_: web.WebSocketResponse, transport: asyncio.Transport, unit: int, *, combined: bool
    ) -> None:
        self.number = next(_NUMBERS)
        self.socket = socket_
        self.unit = unit
        self.combined = combined
        #: Names of the streams subscribed to, in order.
        self.streams: dict[str, None] = {}
        self.opened = self.answered = self.pinged = seconds()
        self.frozen_until = 0.0
        self.frames = self.bytes = 0
        self._transport = transport
        self._waiting: list[bytes] = []
        self._came: deque[float] = deque(maxlen=64)
        self._pings: deque[bytes] = deque(maxlen=8)
        self._close: asyncio.Task[object] | None = None

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing() and self._close is None

    @property
    def is_frozen(self) -> bool:
        return seconds() < self.frozen_until

    def put(self, data: bytes) -> None:
        """A whole frame to be sent with the next `flush`."""
        self._waiting.append(data)

    def flush(self) -> None:
        """Send what has gathered, in one write; a client that does not read is cut off."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        if not self.is_open or self.is_frozen:
            return
        data = b"".join(waiting)
        self.frames += len(waiting)
        self.bytes += len(data)
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > UNREAD_LIMIT:
            self.reset()

    def ping(self) -> None:
        """Ask the client for a sign of life."""
        self.pinged = seconds()
        payload = str(int(self.pinged * 1000)).encode()
        self._pings.append(payload)
        self.put(frame(payload, PING))

    def pong(self, payload: bytes) -> None:
        """The client's answer: it counts if it copies a ping."""
        if payload in self._pings:
            self.answered = seconds()

    def count_message(self, per_second: int) -> bool:
        """Note a message of the client; False if it is one too many."""
        now = seconds()
        self._came.append(now)
        return sum(1 for came in self._came if now - came < 1.0) <= per_second

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye and hang up when the client has answered or a second has passed."""
        if not self.is_open:
            return
        self.put(frame(code.to_bytes(2, "big") + reason.encode(), CLOSE))
        self.flush()
        self._close = asyncio.ensure_future(self._hang_up())

    def reset(self) -> None:
        """Cut the TCP connection without a word."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def end_sending(self) -> None:
        """Close our direction only, and read no more."""
        self.flush()
        self.frozen_until = float("inf")
        self._transport.pause_reading()
        self._transport.write_eof()

    async def _hang_up(self) -> None:
        await asyncio.sleep(1.0)
        self._transport.close()
