"""HTTP connections with limits that uvicorn has not: how long a request may take to come, how many one address has."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from tapeflow.api.limits import Limits
from tapeflow.api.upgrade import Upgraded

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
)
_BODY = (
    b'{"type":"urn:tapeflow:problem:too_many_connections","title":"Too many connections","status":503,'
    b'"detail":"%s has too many connections; close some, or keep one alive"}'
)


def bounded(limits: Limits, connections: int) -> type[H11Protocol]:
    """The protocol of one server, whose connections are counted together; at most ``connections``, streams among them.

    They are bounded here, where a stream still counts after uvicorn has given it up.
    """
    addresses: Counter[str] = Counter()

    class Bounded(H11Protocol):
        """A connection that is closed when its request is not there in time."""

        _deadline: asyncio.TimerHandle | None = None
        _address: str | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            address = self.client[0] if self.client else "?"
            full = b"this address" if addresses[address] >= limits.connections_per_address else b""
            if full or addresses.total() >= connections:
                body = _BODY % (full or b"this server")
                transport.write(_FULL % (len(body), body))
                transport.close()
                return
            self._address = address
            addresses[address] += 1
            self._expect()

        def connection_lost(self, exc: Exception | None) -> None:
            self._relax()
            self._leave()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
                self._expect()  # the next request of a connection kept alive
            super().data_received(data)
            if self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete:
                self._relax()

        def handle_websocket_upgrade(self, event: Any) -> None:
            self._relax()
            super().handle_websocket_upgrade(event)
            protocol = self.transport.get_protocol()
            if isinstance(protocol, Upgraded):
                protocol.on_lost = self._leave  # it is this one that still counts

        def _expect(self) -> None:
            self._deadline = self.loop.call_later(limits.request_s, self.transport.close)

        def _relax(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _leave(self) -> None:
            if self._address is not None:
                addresses[self._address] -= 1
                if addresses[self._address] <= 0:
                    del addresses[self._address]
                self._address = None

    return Bounded
