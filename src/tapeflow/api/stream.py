"""The stream: WebSocket clients of the hub. One `Client` is one connection.

Messages are the same bytes to all who follow a topic; those of one turn of the loop leave as one write, because each
write lets other threads have the interpreter, and the next message would wait until it is given back. A client that
reads too slowly for lossless topics is closed with its cursors, and comes again with them; what of newest values it
cannot take is left out, and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from typing import Any

import msgspec
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from tapeflow.api.hub import Hub, Member
from tapeflow.api.topics import Refusal, Topic, Topics
from tapeflow.domain.errors import StoreError

#: Bytes that may wait for a client before it is closed, and below which newest values are sent on.
MOST, FEW = 1 << 20, 1 << 16
#: The longest message of a client.
MESSAGE = 1 << 16
HEARTBEAT_S = 5.0
#: A client that owes a key has so long to show it; one that sends nothing, and answers no ping, is closed after the
#: second of these.
KEY_S, IDLE_S = 10.0, 60.0
#: How long a client that was told of its end has to read that.
FAREWELL_S = 5.0
#: The same when the server ends.
SHUTDOWN_S = 1.0
#: Requests that wait for those before them.
REQUESTS = 100
#: Refusals after which a connection is closed.
ERRORS = 100

TOO_SLOW, SHUTDOWN, UNAUTHORISED, TOO_MANY = 4008, 1012, 4001, 4029

_LOG = logging.getLogger("tapeflow.api")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Rules(msgspec.Struct, frozen=True):
    """What a client may do. ``verify`` gives the scopes of a key, None if it is no good; ``known`` the symbols."""

    topics: Topics
    known: Callable[[], Collection[str]]
    watermarks: Callable[[], dict[str, int]]
    verify: Callable[[str], frozenset[str] | None]
    subscriptions: int = 1000
    messages_per_s: float = 20.0

    def may_read(self, key: str) -> bool:
        """Whether a key is good, and still is."""
        return "read" in (self.verify(key) or ())


class Client(WSListener):
    """A WebSocket connection, from its handshake to its end."""

    def __init__(
        self, hub: Hub, rules: Rules, *, is_allowed: bool, key: str | None, ended: Callable[[Client], None]
    ) -> None:
        self._hub = hub
        self._rules = rules
        self._is_allowed = is_allowed
        self._key = key if is_allowed else None  # which has to stay good
        self._ended = ended
        self._transport: WSTransport | None = None
        self._requests: asyncio.Queue[bytes] = asyncio.Queue(REQUESTS)
        self._cursors: dict[Topic, str] = {}
        self._leaving: list[bytes] = []  # frames of this turn of the loop, head and body
        self._leaving_bytes = 0
        self._waiting: dict[Topic, bytes] = {}
        self._left_out: dict[Topic, int] = {}
        self._drained = asyncio.Event()
        self._drained.set()
        self._allowance = 4 * rules.messages_per_s
        self._allowed_at = time.monotonic()
        self._heard = time.monotonic()
        self._errors = 0
        self._work: asyncio.Task[None] | None = None
        self._is_closing = False

    @property
    def subscriptions(self) -> int:
        """How many topics it follows."""
        return len(self._cursors)

    # -- the connection ------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=FEW, low=FEW // 4)
        self._work = asyncio.create_task(self._serve())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._is_closing = True
        self._transport = None
        self._drained.set()
        if self._work is not None:
            self._work.cancel()
        for topic in self._cursors:
            self._hub.leave(topic, self)
        self._cursors.clear()
        self._ended(self)

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()
        waiting, self._waiting = self._waiting, {}
        for topic, message in waiting.items():
            left_out = self._left_out.pop(topic, 0)
            self._send(message if not left_out else b'{"conflated":%d,' % left_out + message[1:])

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self._heard = time.monotonic()
        if frame.msg_type in (WSMsgType.PING, WSMsgType.PONG):
            return
        if frame.msg_type == WSMsgType.CLOSE:
            self._close(WSCloseCode.OK, "")
            transport.disconnect(graceful=True)
        elif self._is_closing:
            return
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:  # such as of compression, which we did not agree on
            self._close(WSCloseCode.PROTOCOL_ERROR, "no extension was agreed on")
        elif frame.msg_type != WSMsgType.TEXT or not frame.fin:
            self._close(WSCloseCode.UNSUPPORTED_DATA, "send each request as one text message")
        elif len(payload := frame.get_payload_as_bytes()) > MESSAGE:
            self._close(WSCloseCode.MESSAGE_TOO_BIG, f"a request has at most {MESSAGE} bytes")
        elif not self._may_ask():
            self._close(TOO_MANY, f"at most {self._rules.messages_per_s:g} requests a second")
        else:
            self._requests.put_nowait(payload)

    def _may_ask(self) -> bool:
        now = time.monotonic()
        most = 4 * self._rules.messages_per_s
        self._allowance = min(most, self._allowance + (now - self._allowed_at) * self._rules.messages_per_s)
        self._allowed_at = now
        self._allowance -= 1
        return self._allowance >= 0 and not self._requests.full()

    def _close(self, code: WSCloseCode | int, reason: str) -> None:
        """Say good-bye; whoever does not answer within `FAREWELL_S` is cut off."""
        if self._is_closing or self._transport is None:
            return
        self._is_closing = True
        transport = self._transport
        for topic in self._cursors:
            self._hub.leave(topic, self)
        number = code if isinstance(code, int) else int(code.value)
        self._flush()
        transport.send(WSMsgType.CLOSE, number.to_bytes(2, "big") + reason.encode()[:120])
        asyncio.get_running_loop().call_later(FAREWELL_S, self._cut, transport)

    def _cut(self, transport: WSTransport) -> None:
        if self._transport is transport:
            transport.underlying_transport.abort()

    # -- what the hub gives --------------------------------------------------------------------------------

    def push(self, topic: Topic, message: bytes, cursor: str) -> None:
        """A message that must not be left out: a client that cannot take it is closed."""
        if self._is_closing or self._transport is None:
            return
        self._cursors[topic] = cursor
        self._send(message)

    def show(self, topic: Topic, message: bytes) -> None:
        """The newest value; the one before is left out if it could not be sent yet."""
        if self._is_closing or self._transport is None:
            return
        if self._drained.is_set():
            self._send(message)
            return
        if topic in self._waiting:
            self._left_out[topic] = self._left_out.get(topic, 0) + 1
        self._waiting[topic] = message

    async def ready(self) -> None:
        self._flush()
        await self._drained.wait()
        if self._transport is None:
            raise ConnectionError("the client has gone")

    def dismiss(self, reason: str) -> None:
        self._say({"type": "closing", "code": reason, "cursors": self._resume()})
        self._close(SHUTDOWN if reason == "shutdown" else 1013, reason)

    def _too_slow(self) -> None:
        self._hub.too_slow += 1
        self._say({"type": "closing", "code": "too_slow", "cursors": self._resume()})
        self._close(TOO_SLOW, "too slow for lossless channels; resume with the cursors of the last message")

    def _resume(self) -> list[dict[str, Any]]:
        return [
            {"channel": topic.channel, "symbol": topic.symbol, **dict(topic.params), "cursor": cursor}
            for topic, cursor in self._cursors.items()
            if topic.is_lossless and cursor
        ][:200]

    def _send(self, message: bytes) -> None:
        """A text message: it leaves at the end of this turn of the loop, or at once with much before it."""
        if self._transport is None:
            return
        if not self._leaving:
            asyncio.get_running_loop().call_soon(self._flush)
        self._leaving += (_head(len(message)), message)
        self._leaving_bytes += len(message)
        if self._leaving_bytes > FEW:
            self._flush()

    def _flush(self) -> None:
        """Write what is to leave; a client that has not taken much more than that before is closed."""
        if self._transport is None or not self._leaving:
            return
        frames, self._leaving, self._leaving_bytes = b"".join(self._leaving), [], 0
        socket = self._transport.underlying_transport
        socket.write(frames)
        if not self._is_closing and socket.get_write_buffer_size() > MOST:
            self._too_slow()

    def _say(self, message: dict[str, Any]) -> None:
        if not self._is_closing:
            self._send(_encode(message))

    def beat(self, now: float, ts: int, watermarks: dict[str, int]) -> None:
        """A sign of life, with the watermarks of the symbols followed; nobody is kept who gives none."""
        if now - self._heard > IDLE_S:
            self._close(WSCloseCode.GOING_AWAY, "no sign of life")
            return
        if self._key is not None and not self._rules.may_read(self._key):
            self._close(UNAUTHORISED, "the key is no longer good")
            return
        if self._transport is not None and not self._is_closing and self._drained.is_set():
            if now - self._heard > IDLE_S / 2:
                self._transport.send_ping()
            mine = {topic.symbol for topic in self._cursors}
            marks = {symbol: watermarks[symbol] for symbol in mine if symbol in watermarks}
            self._say({"type": "heartbeat", "ts": ts, "ts_watermark": marks})

    # -- requests ------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        if not self._is_allowed:
            asyncio.get_running_loop().call_later(KEY_S, self._check_key)
        while True:
            payload = await self._requests.get()
            if self._is_closing:
                return
            req_id = None
            try:
                request = _read(payload)
                req_id = request.get("req_id")
                await self._answer(request, req_id)
            except Refusal as refusal:
                self._refuse(refusal, req_id)
            except ConnectionError:
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the connection goes on and learns nothing of it
                _LOG.error("a request of the stream failed", exc_info=error)
                self._refuse(Refusal("internal_error", "this request failed here; the server's log says why"), req_id)

    def _check_key(self) -> None:
        if not self._is_allowed:
            self._close(UNAUTHORISED, "no key was shown")

    def _refuse(self, refusal: Refusal, req_id: Any) -> None:
        error = {"code": refusal.code, "message": str(refusal)}
        if refusal.nearest:
            error["nearest"] = refusal.nearest  # type: ignore[assignment]
        self._say({"type": "error", "req_id": req_id, "error": error})
        self._errors += 1
        if self._errors >= ERRORS:
            self._close(TOO_MANY, "too many requests that cannot be met")

    async def _answer(self, request: dict[str, Any], req_id: Any) -> None:
        method, params = request.get("method"), request.get("params", {})
        if not isinstance(params, dict):
            raise Refusal("bad_request", "params is an object")
        if method == "auth":
            self._authorise(params, req_id)
            return
        if not self._is_allowed:
            raise Refusal("unauthorised", 'show a key first: {"method":"auth","params":{"key":"tf_..."}}')
        match method:
            case "subscribe":
                await self._subscribe(params, req_id)
            case "unsubscribe":
                self._unsubscribe(params, req_id)
            case "ping":
                self._say({"type": "pong", "req_id": req_id, "ts": time.time_ns() // 1000})
            case "list":
                topics = [
                    {"channel": t.channel, "symbol": t.symbol, **dict(t.params), "cursor": cursor}
                    for t, cursor in self._cursors.items()
                ]
                self._say({"type": "ack", "req_id": req_id, "result": {"subscriptions": topics}})
            case _:
                methods = "subscribe, unsubscribe, list, ping, auth"
                raise Refusal("unknown_method", f"no method {method!r}; there are {methods}")

    def _authorise(self, params: dict[str, Any], req_id: Any) -> None:
        key = str(params.get("key", ""))
        scopes = self._rules.verify(key)
        if scopes is None or "read" not in scopes:
            raise Refusal("unauthorised", "this key is unknown, has expired or may not read")
        if not self._is_allowed or self._key is not None:
            self._key = key
        self._is_allowed = True
        self._say({"type": "ack", "req_id": req_id, "result": {"scopes": sorted(scopes)}})

    async def _subscribe(self, params: dict[str, Any], req_id: Any) -> None:
        asked = {name: value for name, value in params.items() if name not in ("resume", "snapshot")}
        topics = self._rules.topics.find(asked, self._rules.known())
        resume, rows = _resume_of(params, topics), _snapshot_of(params)
        if len(self._cursors.keys() | set(topics)) > self._rules.subscriptions:
            most = self._rules.subscriptions
            raise Refusal("too_many_subscriptions", f"a connection has at most {most} topics; open another one")
        fresh = [topic for topic in topics if topic not in self._cursors]
        for topic in fresh:
            self._cursors[topic] = resume.get(topic, "")
        left = list(fresh)
        try:
            resumed = {topic: await self._hub.can_resume(topic, resume[topic]) for topic in fresh if topic in resume}
            self._acknowledge(params, topics, resumed, req_id)
            while left and not self._is_closing:
                topic = left[0]
                await self._hub.join(topic, self, cursor=resume[topic] if resumed.get(topic) else None, rows=rows)
                del left[0]
                await asyncio.sleep(0)  # others are served between the topics of one who asks for many
                await self.ready()  # and who reads all that was asked for is not too slow for it
        except StoreError as error:
            _LOG.warning("the stream cannot be joined now: %s", error)
            detail = "the store cannot be read at present; subscribe again in a while"
            raise Refusal("store_unavailable", detail) from error
        finally:
            for topic in left:  # not followed, so that it can be asked for again
                self._hub.leave(topic, self)
                self._cursors.pop(topic, None)

    def _acknowledge(
        self, params: dict[str, Any], topics: list[Topic], resumed: dict[Topic, bool], req_id: Any
    ) -> None:
        symbols = list(dict.fromkeys(topic.symbol for topic in topics))
        result: dict[str, Any] = {"channel": topics[0].channel, "symbols": symbols}
        result |= {name: params[name] for name in ("interval", "name", "window_ms", "slide_ms") if name in params}
        if "resume" in params:
            of_symbol = {symbol: [resumed.get(t, False) for t in topics if t.symbol == symbol] for symbol in symbols}
            result["recovered"] = {symbol: all(of_symbol[symbol]) for symbol in symbols}
        self._say({"type": "ack", "req_id": req_id, "result": result})

    def _unsubscribe(self, params: dict[str, Any], req_id: Any) -> None:
        topics = self._rules.topics.find(params, {topic.symbol for topic in self._cursors} or self._rules.known())
        for topic in topics:
            self._hub.leave(topic, self)
            self._cursors.pop(topic, None)
            self._waiting.pop(topic, None)
        symbols = list(dict.fromkeys(topic.symbol for topic in topics))
        self._say({"type": "ack", "req_id": req_id, "result": {"channel": topics[0].channel, "symbols": symbols}})


def _head(size: int) -> bytes:
    """The head of a text message of a server (RFC 6455, 5.2)."""
    if size < 126:
        return bytes((0x81, size))
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


def _read(payload: bytes) -> dict[str, Any]:
    try:
        request = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("bad_request", f"expected a JSON object: {error}") from None
    if not isinstance(request, dict):
        raise Refusal("bad_request", 'expected a JSON object such as {"method":"ping"}')
    return request


def _snapshot_of(params: dict[str, Any]) -> int:
    rows = params.get("snapshot", 100)
    if not isinstance(rows, int) or isinstance(rows, bool) or not 0 <= rows <= 1000:
        raise Refusal("bad_request", "snapshot is how many rows to begin with: 0 to 1000")
    return rows


def _resume_of(params: dict[str, Any], topics: list[Topic]) -> dict[Topic, str]:
    """The cursor of each topic: by symbol, and by its part below it where a symbol has several."""
    resume = params.get("resume", {})
    if not isinstance(resume, dict):
        raise Refusal("bad_request", 'resume maps symbols to cursors: {"BTCUSDT":"..."}')
    by_symbol = {str(symbol).upper(): cursor for symbol, cursor in resume.items()}
    found = {}
    for topic in topics:
        cursor = by_symbol.get(topic.symbol.upper())
        if isinstance(cursor, dict):
            cursor = cursor.get(topic.part) or cursor.get(_slide(topic, topics))
        if isinstance(cursor, str):
            found[topic] = cursor
    return found


def _slide(topic: Topic, topics: list[Topic]) -> str:
    """The older word for the part of a window, where it means but one."""
    slide = topic.part.rpartition("/")[2]
    return slide if sum(t.symbol == topic.symbol and t.part.endswith(f"/{slide}") for t in topics) == 1 else ""


class Streams:
    """All clients of a server: welcomed, kept alive, and told of the end."""

    def __init__(self, hub: Hub, rules: Rules) -> None:
        self.hub = hub
        self._rules = rules
        self._clients: set[Client] = set()
        #: Members that are no WebSockets, and the key of each that has to stay good.
        self.members: dict[Member, str | None] = {}
        self._beating: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._clients)

    def status(self) -> dict[str, int]:
        """What an operator wants to see."""
        clients = len(self._clients) + len(self.members)
        subscriptions = sum(client.subscriptions for client in list(self._clients)) + len(self.members)
        return {"clients": clients, "subscriptions": subscriptions, **self.hub.status()}

    def find(self, asked: dict[str, Any]) -> list[Topic]:
        """The topics that params mean; raises `Refusal`."""
        return self._rules.topics.find(asked, self._rules.known())

    def welcome(self, is_allowed: bool, key: str | None) -> Client:  # noqa: FBT001 - the first thing to be known
        """The side of a client that has just connected."""
        client = Client(self.hub, self._rules, is_allowed=is_allowed, key=key, ended=self._clients.discard)
        self._clients.add(client)
        return client

    async def begin(self) -> None:
        """From now on rows are taken and given, in this loop."""
        self.hub.attach(asyncio.get_running_loop())
        self._beating = asyncio.create_task(self._beat())

    async def end(self) -> None:
        """Tell every client, and give each a moment to say good-bye too."""
        if self._beating is not None:
            self._beating.cancel()
        for client in [*self._clients, *self.members]:
            client.dismiss("shutdown")
        self.hub.close()
        until = time.monotonic() + SHUTDOWN_S
        while self._clients and time.monotonic() < until:
            await asyncio.sleep(0.01)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            now, ts, watermarks = time.monotonic(), time.time_ns() // 1000, self._rules.watermarks()
            for client in list(self._clients):
                client.beat(now, ts, watermarks)
            for member, key in list(self.members.items()):
                if key is not None and not self._rules.may_read(key):
                    member.dismiss("unauthorised")
