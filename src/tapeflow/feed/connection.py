"""One WebSocket connection: every frame goes to the tape, pings are answered, and it knows how it is doing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from picows import WSCloseCode, WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport, ws_connect

from tapeflow.domain.errors import VenueError
from tapeflow.feed.clock import monotonic_us
from tapeflow.feed.recorder import Recorder
from tapeflow.feed.refused import explain
from tapeflow.feed.rhythm import Rhythms
from tapeflow.venues.wire import Wire

#: A longer message ends the connection: it is damage, or an attack.
FRAME_LIMIT = 16 << 20
#: A connection without a frame or a ping for so long is dead: the venue pings every 20 s.
DEAD_US = 65_000_000
HANDSHAKE_S = 10.0
#: What brings data.
_DATA = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION)
#: A pause between messages of ours that keeps within every venue's limit.
PACE = 1.5


class Connection(WSListener):
    """A connection under a name of its own. `closed` is done when it has ended, with the reason."""

    def __init__(self, name: str, wire: Wire, recorder: Recorder) -> None:
        super().__init__()
        self.name = name
        self.streams: list[str] = []
        self.opened = monotonic_us()
        self.rhythms = Rhythms(self.opened)
        self.heard = self.opened
        self.frames = 0
        self.bytes = 0
        self.acknowledged = 0
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.first_frame: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wire = wire
        self._recorder = recorder
        self._transport: WSTransport | None = None
        self._parts: list[bytes] = []
        self._why = ""
        self._is_paused = False
        self._next_id = 1
        self._sending = asyncio.Lock()

    @classmethod
    async def open(cls, name: str, address: str, wire: Wire, recorder: Recorder) -> Connection:
        """A connection that is open; raises OSError, `VenueError` or a picows error if it cannot be."""
        url = address.rstrip("/") + wire.socket_path
        made = cls(name, wire, recorder)
        try:
            await ws_connect(
                lambda: made,
                url,
                max_frame_size=FRAME_LIMIT,
                websocket_handshake_timeout=HANDSHAKE_S,
                enable_auto_pong=True,
                logger_name="feed",
            )
        except WSHandshakeError as error:
            status = int(error.response.status) if error.response is not None else 0
            explanation = explain(status, wire)
            if not explanation:
                raise
            raise VenueError(f"{address} {explanation}") from error
        recorder.connected(name, url)
        return made

    # -- what the socket tells ---------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind in _DATA:
            self._data(frame.get_payload_as_bytes(), is_last=frame.fin)
            return
        self.heard = monotonic_us()
        if kind == WSMsgType.CLOSE:
            text = (frame.get_close_message() or b"").decode("utf-8", "replace")
            # Answered at once: a venue that keeps to the protocol waits for that before it ends the connection.
            self.end(f"closed by the venue: {frame.get_close_code().value} {text}".rstrip())

    def _data(self, payload: bytes, *, is_last: bool) -> None:
        if self._parts or not is_last:
            payload = self._gather(payload, is_last=is_last)
            if not payload:
                return
        self.heard = at = self._recorder.frame(self.name, payload)
        self.frames += 1
        self.bytes += len(payload)
        name = self._wire.stream_of(payload)
        if name:
            self.rhythms.frame(name, at)
            if not self.first_frame.done():
                self.first_frame.set_result(None)
        elif self._wire.is_acknowledgement(payload):
            self.acknowledged += 1
        if self._recorder.is_full:
            self._pause()

    def _gather(self, part: bytes, *, is_last: bool) -> bytes:
        """A message in several frames; empty until it is whole."""
        self.heard = monotonic_us()
        self._parts.append(part)
        if sum(map(len, self._parts)) > FRAME_LIMIT:
            self.end(f"a message of more than {FRAME_LIMIT} bytes")
            return b""
        if not is_last:
            return b""
        whole, self._parts = b"".join(self._parts), []
        return whole

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        reason = self._why or self._error(transport)
        self._recorder.disconnected(self.name, reason)
        if not self.closed.done():
            self.closed.set_result(reason)
        if not self.first_frame.done():
            self.first_frame.cancel()

    def _error(self, transport: WSTransport) -> str:
        error = getattr(transport, "_disconnect_reason", None)
        return str(error) if error else "the connection was lost"

    # -- a tape that is full -----------------------------------------------------------------------------

    def _pause(self) -> None:
        """Stop reading: what waits stays with the venue, and with the sockets on the way."""
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        """Read again, if it was the full tape that stopped it."""
        if self._is_paused and not self._recorder.is_full and self._transport is not None and not self.closed.done():
            self._is_paused = False
            self._transport.underlying_transport.resume_reading()

    @property
    def is_paused(self) -> bool:
        return self._is_paused

    # -- what we do --------------------------------------------------------------------------------------

    async def subscribe(self, names: Iterable[str]) -> None:
        """Ask for streams, in batches and within the venue's pace."""
        for message in self._wire.subscribe(names, self._next_id):
            await self._send(message.message)

    async def unsubscribe(self, names: Iterable[str]) -> None:
        """Give streams up, in the same way."""
        for message in self._wire.unsubscribe(names, self._next_id):
            await self._send(message.message)

    async def _send(self, message: bytes) -> None:
        async with self._sending:
            if self._transport is None or self.closed.done():
                return
            self._next_id += 1
            self._recorder.sent(self.name, message)
            self._transport.send(WSMsgType.TEXT, message)
            await asyncio.sleep(PACE / self._wire.limits.messages_per_s)

    def is_dead(self, at: int) -> bool:
        """True if not even a ping has come for a long time."""
        return at - self.heard > DEAD_US and not self._is_paused

    def silent(self, at: int) -> list[str]:
        """The streams whose silence is news; none while we are the ones who do not read."""
        return [] if self._is_paused else self.rhythms.silent(at)

    def end(self, why: str) -> None:
        """Close it; `closed` follows."""
        self._why = self._why or why
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()
