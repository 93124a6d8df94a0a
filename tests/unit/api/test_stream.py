"""Clients of the stream, by WebSocket and by SSE, over a store that fails now and then."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI
from websockets.frames import Frame, Opcode

from feeding import until
from tapeflow.api import sse, stream
from tapeflow.api.guard import Keys, NoKeys
from tapeflow.api.hub import Hub
from tapeflow.api.limits import Limits
from tapeflow.api.problem import BY_ERROR
from tapeflow.api.server import Server
from tapeflow.api.stream import Rules, Streams, _head, _resume_of
from tapeflow.api.topics import Topic, Topics
from tapeflow.client import channel
from tapeflow.client.connect import connect
from tapeflow.domain.errors import StoreError
from tapeflow.flow import catalogue

ROW = b'{"n":%d,"text":"' + b"x" * 300 + b'"}'


class Past:
    """A store with so many rows of each topic; it fails so many times first."""

    def __init__(self, rows: int, failures: int = 0) -> None:
        self.rows = rows
        self.failures = failures

    def epoch(self, _: Topic) -> str:
        return "e"

    async def ready(self) -> None: ...

    async def since(self, topic: Topic, first: int, limit: int) -> list[tuple[int, bytes]]:
        if self.failures:
            self.failures -= 1
            raise StoreError("/secret/place cannot be read")
        return [(number, ROW % number) for number in range(first, min(first + limit, self.rows + 1))]

    async def number(self, topic: Topic) -> int:
        return self.rows

    async def forming_rows(self, topic: Topic) -> list[bytes]:
        return []


@contextmanager
def served(
    past: Past, symbols: int = 1, keys: Keys | None = None, hub: Hub | None = None, limits: Limits | None = None
) -> Iterator[str]:
    topics = Topics(catalogue.default(["1s"], ["trades", "candles"]), "binance")
    names = [f"S{number}" for number in range(symbols)]
    keys = keys or NoKeys()
    rules = Rules(topics, known=lambda: names, watermarks=dict, verify=keys.verify)
    streams = Streams(hub or Hub("binance", past, lambda _: None), rules)
    app = FastAPI(exception_handlers=BY_ERROR)
    sse.add(app, streams)
    server = Server(app, "127.0.0.1", 0, limits=limits or Limits(), keys=keys, streams=streams)
    server.start()
    try:
        yield server.address
    finally:
        server.stop()


def talk(address: str, work: Callable[[aiohttp.ClientWebSocketResponse], Awaitable[None]]) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}/v1/stream", max_msg_size=0) as ws:
            await work(ws)

    asyncio.run(run())


async def following(ws: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    frame = await ws.receive(5)
    assert frame.type == aiohttp.WSMsgType.TEXT, frame
    return json.loads(frame.data)  # type: ignore[no-any-return]


def test_what_could_not_be_joined_can_be_asked_for_again() -> None:
    params = {"channel": "candles", "symbols": ["S0"], "interval": "1s"}

    async def work(ws: aiohttp.ClientWebSocketResponse) -> None:
        await ws.send_json({"method": "subscribe", "params": params, "req_id": 7})
        assert (await following(ws))["type"] == "ack"
        refused = await following(ws)
        assert (refused["req_id"], refused["error"]["code"]) == (7, "store_unavailable")
        assert "secret" not in str(refused)
        await ws.send_json({"method": "list", "req_id": 8})
        assert (await following(ws))["result"]["subscriptions"] == []
        await ws.send_json({"method": "subscribe", "params": params, "req_id": 9})
        assert (await following(ws))["type"] == "ack"
        snapshot = await following(ws)
        assert [row["n"] for row in snapshot["data"]] == [1, 2, 3]

    with served(Past(3, failures=1)) as address:
        talk(address, work)


def test_who_reads_all_that_was_asked_for_is_not_too_slow_for_it() -> None:
    params = {"channel": "candles", "symbols": ["*"], "interval": "1s", "snapshot": 1000}

    async def work(ws: aiohttp.ClientWebSocketResponse) -> None:
        await ws.send_json({"method": "subscribe", "params": params, "req_id": 1})
        assert (await following(ws))["type"] == "ack"
        for number in range(60):  # 300 kB each, much more than may wait for a client
            assert (await following(ws))["type"] == "snapshot", number
            await asyncio.sleep(0.01)

    with served(Past(1000), symbols=60) as address:
        talk(address, work)


def test_an_answer_of_events_that_cannot_be_gone_on_with_ends() -> None:
    with served(Past(3, failures=1)) as address:
        asked = f"{address}/v1/stream?channel=candles&symbol=S0&interval=1s"
        with urllib.request.urlopen(asked, timeout=4) as answer:
            text = answer.read().decode()
        assert text.startswith("event: closing")
        assert "internal_error" in text
        with urllib.request.urlopen(asked, timeout=4) as answer:
            assert answer.readline() == b"id: e.3\n"


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "1e3", "²", "1001"])
def test_a_number_of_any_form_is_refused_as_what_it_is(number: str) -> None:
    with served(Past(3)) as address:
        asked = f"{address}/v1/stream?channel=candles&symbol=S0&interval=1s&snapshot={urllib.parse.quote(number)}"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked, timeout=4)
        with refused.value as answer:
            assert answer.code == 400
            assert json.loads(answer.read())["type"].endswith("bad_snapshot")


def test_cursors_of_a_client_are_those_of_the_topics_they_came_from() -> None:
    for channel_name, many in (
        ("moving_average", [(("window_ms", size), ("slide_ms", slide)) for size, slide in ((3, 1), (5, 1), (5, 2))]),
        ("indicators", [(("interval", "1s"), ("name", name)) for name in ("rsi_14", "sma_20")]),
        ("candles", [(("interval", "1s"),)]),
        ("trades", [()]),
    ):
        topics = [Topic(channel_name, symbol, params) for symbol in "AB" for params in many]
        reader, given = connect().channel(channel_name), {}
        for number, topic in enumerate(topics):
            given[topic] = f"e.{number}"
            message = {"symbol": topic.symbol, **dict(topic.params), "type": "update", "cursor": given[topic]}
            reader._follow(message | {"prev": None})
            reader._cursors[channel._key(message)] = given[topic]
        assert _resume_of({"resume": reader.cursors}, topics) == given


def test_the_older_word_of_a_window_counts_where_it_means_but_one() -> None:
    def topic(window: int, slide: int) -> Topic:
        return Topic("moving_average", "A", (("window_ms", window), ("slide_ms", slide)))

    resume = {"resume": {"A": {"1": "e.1", "2": "e.2"}}}
    assert _resume_of(resume, [topic(3, 1), topic(5, 1), topic(5, 2)]) == {topic(5, 2): "e.2"}


def test_who_has_a_key_that_was_revoked_is_told_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.2)
    good = {"tf_a": frozenset({"read"}), "tf_b": frozenset({"read"}), "tf_c": frozenset({"read"})}

    class Needed:
        is_required = True

        def verify(self, token: str) -> frozenset[str] | None:
            return good.get(token)

    async def run(address: str) -> None:
        url = f"{address}/v1/stream"
        first, third = ({"Authorization": f"Bearer {key}"} for key in ("tf_a", "tf_c"))
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, headers=first) as by_header,
            session.ws_connect(url) as by_message,
            session.get(f"{url}?channel=candles&symbol=S0&interval=1s", headers=third) as events,
        ):
            await by_message.send_json({"method": "auth", "params": {"key": "tf_b"}})
            assert (await following(by_message))["type"] == "ack"
            for ws in (by_header, by_message):
                assert (await following(ws))["type"] == "heartbeat"
            good.clear()
            for ws in (by_header, by_message):
                while (await ws.receive(5)).type == aiohttp.WSMsgType.TEXT:
                    pass
                assert ws.close_code == stream.UNAUTHORISED
            assert b"unauthorised" in await asyncio.wait_for(events.read(), 5)

    with served(Past(3), keys=Needed()) as address:
        asyncio.run(run(address))


def test_who_does_not_read_is_closed_and_others_miss_nothing() -> None:
    past = Past(0)
    hub = Hub("binance", past, lambda _: None)
    asked = {"method": "subscribe", "params": {"channel": "candles", "symbols": ["S0"], "interval": "1s"}}
    row = b'{"text":"' + b"x" * 10_000 + b'"}'

    async def work(ws: aiohttp.ClientWebSocketResponse) -> None:
        await ws.send_json(asked)
        assert [(await following(ws))["type"] for _ in range(2)] == ["ack", "snapshot"]
        (line,) = hub._lines.values()
        assert hub._loop is not None
        await until(lambda: len(line.members) == 2)
        number, prev = 0, "e.0"
        while hub.too_slow == 0:
            for _ in range(20):
                number += 1
                hub._loop.call_soon_threadsafe(hub._update, line, [(number, row)])
            for _ in range(20):
                update = await following(ws)
                assert update["prev"] == prev
                prev = update["cursor"]
            assert number < 5000  # 50 MB that nobody reads
        await until(lambda: len(line.members) == 1)
        assert prev == f"e.{number}"

    with served(past, hub=hub) as address, unread(address, json.dumps(asked).encode()):
        talk(address, work)


def test_streams_count_among_the_connections_of_all() -> None:
    with served(Past(3), limits=Limits(connections=2)) as address:
        with unread(address, b"{}"), unread(address, b"{}"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"{address}/v1/stream?channel=nope", timeout=4)
            with caught.value as refused:
                assert refused.code == 503
                assert json.loads(refused.read())["detail"].startswith("this server has too many connections")
        time.sleep(0.2)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{address}/v1/stream?channel=nope", timeout=4)
        assert caught.value.code == 400
        caught.value.close()


@contextmanager
def unread(address: str, request: bytes) -> Iterator[None]:
    """A WebSocket that asks and then reads nothing, with as little room in between as there can be."""
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect((host, int(port)))
        head = f"GET /v1/stream HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        raw.sendall(f"{head}Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        assert b"101" in raw.recv(100)
        raw.sendall(b"\x81" + bytes([0x80 | len(request)]) + b"\0\0\0\0" + request)
        yield


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 1 << 20])
def test_a_message_is_framed_as_another_library_frames_it(size: int) -> None:
    message = b"x" * size
    assert _head(size) + message == Frame(Opcode.TEXT, message).serialize(mask=False)
