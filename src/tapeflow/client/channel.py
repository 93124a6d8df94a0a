"""A channel as an iterator: the WebSocket below it may come and go."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import random
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import msgspec

from tapeflow.domain.errors import InputError, TapeflowError

#: Nothing comes for so long, not even a heartbeat: the connection is dead.
SILENT_S = 20.0
#: The longest wait before another attempt.
WAIT_S = 10.0
#: Messages that wait for a blocking reader; beyond it the socket is not read.
WAITING = 1000

_decode = msgspec.json.Decoder().decode
#: Refusals that are the server's trouble, not of what was asked: another attempt may do better.
_PASSING = ("internal_error", "store_unavailable")
#: What tells the topics of a symbol apart: a subscription has one interval.
_FIELDS = ("name", "window_ms", "slide_ms")

Row = dict[str, Any]
Key = tuple[str, ...]


class MissedRows(TapeflowError):
    """The server cannot give what was missed: too long ago, or its rows were computed anew.

    Fetch the history of that time, and go on with a new `Channel`.
    """


class _Lost(Exception):
    """The connection has ended, or brought what does not follow on what came before."""


class Channel:
    """Rows of a channel as they are made; see `Client.channel`. An iterator is one reader: begin one, not several."""

    def __init__(
        self,
        url: str,
        key: str | None,
        asked: dict[str, Any],
        *,
        snapshot: int,
        is_strict: bool,
        resume: dict[str, Any] | None,
    ) -> None:
        self._url = f"{url}/v1/stream"
        self._key = key
        self._asked = asked
        self._snapshot = snapshot
        self._is_strict = is_strict
        self._cursors: dict[Key, str] = {}
        self._resume = resume
        #: Times that the connection was made again.
        self.reconnects = 0
        #: Times that rows were missed (only with ``on_gap="continue"``).
        self.gaps = 0
        #: Values of a latest-value channel that the server left out because this reader was slow.
        self.conflated = 0
        #: How far the event time of each symbol is known to be complete.
        self.watermarks: dict[str, int] = {}

    @property
    def cursors(self) -> dict[str, Any]:
        """Where the rows given so far end, as of the last message whose rows were all taken: what ``resume`` takes."""
        found = {name: dict(at) if isinstance(at, dict) else at for name, at in (self._resume or {}).items()}
        for key, cursor in self._cursors.items():
            if len(key) == 1:
                found[key[0]] = cursor
            else:
                found.setdefault(key[0], {})[key[1]] = cursor
        return found

    # -- asynchronous --------------------------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[Row]:
        async for message in self._messages():
            for row in message["data"]:
                yield row
            self._cursors[_key(message)] = message["cursor"]

    async def _messages(self) -> AsyncIterator[dict[str, Any]]:
        wait = 0.0
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        async with aiohttp.ClientSession(headers=headers) as session:
            while True:
                try:
                    async for message in self._connected(session):
                        wait = 0.0
                        yield message
                except (_Lost, aiohttp.ClientError, TimeoutError, OSError) as error:
                    if isinstance(error, aiohttp.WSServerHandshakeError) and error.status in (400, 401, 403, 404, 421):
                        raise InputError(f"{self._url} refuses: HTTP {error.status} {error.message}") from error
                self.reconnects += 1
                wait = min(WAIT_S, max(0.1, 2 * wait))
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))

    async def _connected(self, session: aiohttp.ClientSession) -> AsyncIterator[dict[str, Any]]:
        """The messages of one connection, from the subscription on."""
        async with session.ws_connect(self._url, max_msg_size=64 << 20, compress=0) as ws:
            params = self._asked | {"snapshot": self._snapshot if not self.cursors else 0}
            if self.cursors:
                params["resume"] = self.cursors
            await ws.send_json({"method": "subscribe", "params": params, "req_id": 1})
            while True:
                async with asyncio.timeout(SILENT_S):
                    frame = await ws.receive()
                if frame.type != aiohttp.WSMsgType.TEXT:
                    raise _Lost
                message = _decode(frame.data)
                self._check(message)
                if message["type"] in ("snapshot", "update"):
                    self._follow(message)
                    yield message

    def _check(self, message: dict[str, Any]) -> None:
        """Heed what is not rows."""
        match message["type"]:
            case "error":
                if message["error"]["code"] in _PASSING:
                    raise _Lost
                raise InputError(f"{self._url}: {message['error']['message']}")
            case "heartbeat":
                self.watermarks |= message["ts_watermark"]
            case "closing":
                raise _Lost

    def _follow(self, message: dict[str, Any]) -> None:
        """See that a message follows on those before."""
        key = _key(message)
        had = self._cursors.get(key) or (self._resumed(key) if self._resume else None)
        self.conflated += message.get("conflated", 0)
        if had is None or message["cursor"].startswith("l."):
            return
        if message["type"] == "snapshot":
            self._missed(key)
        elif message["prev"] != had:
            raise _Lost

    def _resumed(self, key: Key) -> str | None:
        """The cursor of an earlier life."""
        cursor = (self._resume or {}).get(key[0])
        return cursor.get(key[-1]) if isinstance(cursor, dict) else cursor

    def _missed(self, key: Key) -> None:
        if self._is_strict:
            raise MissedRows(
                f"rows of {' '.join(key)} after the last cursor are not there any more; "
                "fetch the history of that time, or use on_gap='continue'"
            )
        self.gaps += 1

    # -- blocking ------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Row]:
        reader = _Reader(self)
        try:
            yield from reader
        finally:
            reader.stop()


def _key(message: dict[str, Any]) -> Key:
    """The symbol, and what ``resume`` calls the part of it where a symbol has several topics."""
    part = "/".join(str(message[name]) for name in _FIELDS if name in message)
    return (message["symbol"], part) if part else (message["symbol"],)


class _Reader:
    """Runs the asynchronous iterator in a thread of its own."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._rows: queue.Queue[Row | BaseException] = queue.Queue(WAITING)
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._is_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tapeflow-client", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Row]:
        while True:
            found = self._rows.get()
            if isinstance(found, BaseException):
                raise found
            yield found

    def stop(self) -> None:
        self._is_ended.set()
        if self._task is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(5.0)

    def _run(self) -> None:
        self._task = self._loop.create_task(self._read())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _read(self) -> None:
        try:
            async for row in self._channel:
                await self._give(row)
        except Exception as error:  # noqa: BLE001 - it is the reader's
            await self._give(error)

    async def _give(self, row: Row | BaseException) -> None:
        while not self._is_ended.is_set():
            try:
                self._rows.put_nowait(row)
            except queue.Full:
                await asyncio.sleep(0.005)
            else:
                return
