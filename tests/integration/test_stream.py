"""The stream of a live run: each line of the contract, by WebSocket, by SSE and by the client."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import tapeflow as tf
from live.rounds import rounds
from live.serving import Running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="SIGINT ends the run"),
]

SECOND = 1_000_000


STORED = ["trades", "quotes", "book", "tickers", "candles", "moving_average", "indicators", "coverage"]


def running_on_a_port(folder: Path, more: str = "") -> Running:
    """A run whose address is the same after it was started again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = f"[api]\nport = {port}\nrequests_per_s = 10000\n[store]\nchannels = {json.dumps(STORED)}\n{more}"
    return Running(folder, text)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = running_on_a_port(tmp_path_factory.mktemp("stream"))
    yield made
    made.stop()


class Talk:
    """A connection of the stream."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self._id = 0

    async def next(self) -> dict[str, Any]:
        frame = await asyncio.wait_for(self.ws.receive(), 15)
        if frame.type != aiohttp.WSMsgType.TEXT:
            raise EOFError(frame, self.ws.close_code)
        return json.loads(frame.data)  # type: ignore[no-any-return]

    async def until(self, what: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while not what(message := await self.next()):
                pass
        return message

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """A request, and the message that answers it."""
        self._id += 1
        await self.ws.send_json({"method": method, "params": params, "req_id": self._id})
        return await self.until(lambda message: message.get("req_id") == self._id)

    async def refused(self, method: str, **params: Any) -> dict[str, Any]:
        answer = await self.ask(method, **params)
        assert answer["type"] == "error", answer
        return answer["error"]  # type: ignore[no-any-return]


@asynccontextmanager
async def talking(url: str, **options: Any) -> AsyncIterator[Talk]:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/v1/stream", **options) as ws:
        yield Talk(ws)


def talk(running: Running, work: Callable[[Talk], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with talking(running.url, **options) as one:
            await work(one)

    asyncio.run(run())


# -- subscriptions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "params"),
    [
        ("trades", {}),
        ("candles", {"interval": "1s"}),
        ("moving_average", {"window_ms": 3000, "slide_ms": 500}),
        ("indicators", {"interval": "1s", "name": "rsi_14"}),
    ],
)
def test_a_snapshot_and_then_updates_without_a_hole(running: Running, channel: str, params: dict[str, Any]) -> None:
    async def work(one: Talk) -> None:
        ack = await one.ask("subscribe", channel=channel, venue="binance", symbols=[running.symbol], **params)
        assert ack == {
            "type": "ack",
            "req_id": 1,
            "result": {"channel": channel, "symbols": [running.symbol], **params},
        }
        last = await one.next()
        assert last["type"] == "snapshot"
        assert last["data"]
        assert "prev" not in last
        rows = list(last["data"])
        for _ in range(4):
            message = await one.until(lambda m: m["type"] != "heartbeat")
            assert message["type"] == "update"
            assert (message["channel"], message["venue"], message["symbol"]) == (channel, "binance", running.symbol)
            assert params.items() <= message.items()
            assert message["prev"] == last["cursor"]
            rows += message["data"]
            last = message
        route = channel.replace("_", "-")
        await asyncio.sleep(1.5)  # rows are published before they are stored
        kept = await asyncio.to_thread(running.ask.rows, f"/v1/{route}", symbol=running.symbol, limit=1000, **params)
        newest = {key_of(channel, row): row for row in rows}
        stored = {key_of(channel, row): row for row in kept}
        assert all(stored[key] == row for key, row in newest.items())

    talk(running, work)


def key_of(channel: str, row: dict[str, Any]) -> Any:
    return row["id"] if channel == "trades" else row["ts_start"]


def test_how_many_rows_a_snapshot_has_is_asked_for(running: Running) -> None:
    async def work(one: Talk) -> None:
        for rows in (0, 1, 7):
            await one.ask("subscribe", channel="candles", symbols=[running.symbol], interval="1m", snapshot=rows)
            snapshot = await one.until(lambda m: m["type"] == "snapshot")
            assert len(snapshot["data"]) == rows
            starts = [row["ts_start"] for row in snapshot["data"]]
            assert starts == sorted(starts)
            await one.ask("unsubscribe", channel="candles", symbols=[running.symbol], interval="1m")
        for bad in (-1, 1001, "3", None, True, 1.5):
            refused = await one.refused("subscribe", channel="trades", symbols=[running.symbol], snapshot=bad)
            assert refused["code"] == "bad_request"

    talk(running, work)


def test_symbols_in_any_case_and_all_of_them(running: Running) -> None:
    async def work(one: Talk) -> None:
        ack = await one.ask("subscribe", channel="trades", symbols=[running.symbol.lower()])
        assert ack["result"]["symbols"] == [running.symbol]
        ack = await one.ask("subscribe", channel="quotes", symbols=["*"])
        assert ack["result"]["symbols"] == sorted(running.venue.symbols[:3])

    talk(running, work)


def test_resume_gives_what_was_missed_and_nothing_twice(running: Running) -> None:
    async def first(one: Talk) -> tuple[str, list[str]]:
        await one.ask("subscribe", channel="trades", symbols=[running.symbol])
        snapshot = await one.until(lambda m: m["type"] == "snapshot")
        update = await one.until(lambda m: m["type"] == "update")
        assert update["prev"] == snapshot["cursor"]
        return update["cursor"], [row["id"] for row in update["data"]]

    async def again(one: Talk, cursor: str) -> tuple[bool, dict[str, Any]]:
        params = {"channel": "trades", "symbols": [running.symbol], "resume": {running.symbol: cursor}}
        ack = await one.ask("subscribe", **params)
        message = await one.until(lambda m: m["type"] in ("snapshot", "update"))
        return ack["result"]["recovered"][running.symbol], message

    async def run() -> None:
        async with talking(running.url) as one:
            cursor, ids = await first(one)
        await asyncio.sleep(2)
        async with talking(running.url) as one:
            recovered, message = await again(one, cursor)
            assert recovered is True
            assert (message["type"], message["prev"]) == ("update", cursor)
            assert message["data"]
            assert not {row["id"] for row in message["data"]} & set(ids)
        for bad in ("", "x", "1.2.3", cursor.partition(".")[0] + ".99999999", "00000000.5", "l.5"):
            async with talking(running.url) as one:
                recovered, message = await again(one, bad)
                assert recovered is False
                assert message["type"] == "snapshot"

    asyncio.run(run())


def test_newest_values_and_forming_rows(running: Running) -> None:
    async def work(one: Talk) -> None:
        for channel in ("quotes", "book", "tickers"):
            await one.ask("subscribe", channel=channel, symbols=[running.symbol])
            snapshot = await one.until(lambda m: m["type"] == "snapshot")
            update = await one.until(lambda m, channel=channel: m["type"] == "update" and m["channel"] == channel)
            assert (snapshot["channel"], update["symbol"]) == (channel, running.symbol)
            await one.ask("unsubscribe", channel=channel, symbols=[running.symbol])
        await one.ask("subscribe", channel="candles.forming", symbols=[running.symbol], interval="1m")
        update = await one.until(lambda m: m["type"] == "update")
        assert all(row["closed"] is False and row["interval"] == "1m" for row in update["data"])
        ids = {"interval": "1s", "name": "sma_20"}
        await one.ask("subscribe", channel="indicators.forming", symbols=[running.symbol], **ids)
        update = await one.until(lambda m: m["type"] == "update" and m["channel"] == "indicators.forming")
        assert {(row["name"], row["closed"]) for row in update["data"]} == {("sma_20", False)}

    talk(running, work)


def test_a_forming_candle_is_there_within_milliseconds_of_its_trade(running: Running) -> None:
    async def work(one: Talk) -> None:
        await one.ask("subscribe", channel="candles.forming", symbols=[running.symbol], interval="1d")
        delays = []
        for _ in range(20):
            await one.until(lambda m: m["type"] == "update")
            newest = await asyncio.to_thread(running.ask.rows, "/v1/quotes/latest", symbol=running.symbol)
            delays.append(time.time_ns() // 1000 - newest[0]["ts_recv"])
        assert sorted(delays)[10] < SECOND

    talk(running, work)


def test_coverage_is_told_as_it_changes(running: Running) -> None:
    async def work(one: Talk) -> None:
        await one.ask("subscribe", channel="coverage", symbols=[running.symbol])
        snapshot = await one.until(lambda m: m["type"] == "snapshot")
        assert {row["stream"] for row in snapshot["data"]} >= {"trades", "quotes"}
        running.venue.fault("cut", seconds=1)
        update = await one.until(lambda m: m["type"] == "update")
        assert update["prev"] == snapshot["cursor"]

    talk(running, work)


def test_heartbeats_carry_the_watermarks(running: Running) -> None:
    async def work(one: Talk) -> None:
        await one.ask("subscribe", channel="quotes", symbols=[running.symbol])
        beat = await one.until(lambda m: m["type"] == "heartbeat")
        assert abs(beat["ts"] - time.time_ns() // 1000) < 2 * SECOND
        assert beat["ts"] - 60 * SECOND < beat["ts_watermark"][running.symbol] <= beat["ts"]

    talk(running, work)


# -- refusals -----------------------------------------------------------------------------------------------------


def test_what_cannot_be_met_is_told_with_what_is_nearest(running: Running) -> None:
    known = running.symbol

    async def work(one: Talk) -> None:
        cases: list[tuple[dict[str, Any], str, str | None]] = [
            ({"channel": "candels", "symbols": [known]}, "unknown_channel", "candles"),
            ({"channel": "trades", "symbols": [known[:-1]]}, "unknown_symbol", known),
            ({"channel": "candles", "symbols": [known], "interval": "2m"}, "unknown_interval", None),
            ({"channel": "indicators", "symbols": ["*"], "interval": "1s", "name": "rsi"}, "unknown_indicator", None),
            ({"channel": "moving_average", "symbols": [known], "window_ms": 1}, "unknown_window", None),
            ({"channel": "trades", "symbols": [known], "venue": "nyse"}, "unknown_venue", "binance"),
            ({"channel": "candles", "symbols": [known]}, "bad_request", None),
            ({"channel": "trades"}, "bad_request", None),
            ({"channel": "trades", "symbols": known}, "bad_request", None),
            ({"channel": "trades", "symbols": []}, "bad_request", None),
            ({"channel": "trades", "symbols": [3]}, "bad_request", None),
            ({"channel": "trades", "symbols": [known], "speed": 3}, "bad_request", None),
            ({"channel": "trades", "symbols": [known], "resume": "x"}, "bad_request", None),
            ({"channel": ["trades"], "symbols": [known]}, "unknown_channel", None),
        ]  # fmt: skip
        for params, code, nearest in cases:
            error = await one.refused("subscribe", **params)
            assert error["code"] == code, (params, error)
            assert error["message"]
            if nearest is not None:
                assert nearest in error["nearest"]
        assert (await one.refused("dance"))["code"] == "unknown_method"
        assert (await one.ask("ping"))["type"] == "pong"  # it goes on

    talk(running, work)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "3", '{"method":3}', '{"params":[]}', "[" * 5000])
def test_a_request_that_is_none_is_refused(running: Running, text: str) -> None:
    async def work(one: Talk) -> None:
        await one.ws.send_str(text)
        answer = await one.until(lambda m: m["type"] == "error")
        assert answer["error"]["code"] in ("bad_request", "unknown_method")
        assert (await one.ask("ping"))["type"] == "pong"

    talk(running, work)


def closes(running: Running, work: Callable[[Talk], Awaitable[None]]) -> int:
    """The code by which the server closes after this."""
    found = []

    async def run(one: Talk) -> None:
        await work(one)
        with pytest.raises(EOFError) as ended:
            await one.until(lambda _: False)
        found.append(ended.value.args[1])

    talk(running, run)
    return found[0] or 0


def test_messages_of_another_kind_or_too_long_end_the_connection(running: Running) -> None:
    assert closes(running, lambda one: one.ws.send_bytes(b"{}")) == 1003
    assert closes(running, lambda one: one.ws.send_str("x" * 70_000)) == 1009


def test_too_many_requests_end_the_connection(running: Running) -> None:
    async def work(one: Talk) -> None:
        for _ in range(500):
            await one.ws.send_json({"method": "ping"})

    assert closes(running, work) == 4029


def test_subscriptions_are_listed_and_given_up(running: Running) -> None:
    async def work(one: Talk) -> None:
        await one.ask("subscribe", channel="trades", symbols=[running.symbol], snapshot=0)
        listed = (await one.ask("list"))["result"]["subscriptions"]
        assert [(topic["channel"], topic["symbol"]) for topic in listed] == [("trades", running.symbol)]
        await one.ask("unsubscribe", channel="trades", symbols=[running.symbol])
        assert (await one.ask("list"))["result"]["subscriptions"] == []
        await asyncio.sleep(1.5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.until(lambda m: m["type"] == "update"), 2)

    talk(running, work)


# -- SSE ----------------------------------------------------------------------------------------------------------


async def events(running: Running, count: int, cursor: str | None = None, **params: Any) -> list[dict[str, str]]:
    headers = {"Last-Event-ID": cursor} if cursor else {}
    found: list[dict[str, str]] = []
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{running.url}/v1/stream", params=params, headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        event: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    event[name] = value
                elif event:
                    found.append(event)
                    event = {}
                    if len(found) == count:
                        return found
    return found


def test_events_with_their_cursors_and_where_to_go_on(running: Running) -> None:
    params = {"channel": "candles", "venue": "binance", "symbol": running.symbol, "interval": "1s"}

    async def run() -> None:
        found = [e for e in await events(running, 4, **params) if e["event"] != "heartbeat"]
        assert found[0]["event"] == "snapshot"
        assert all(event["id"] == json.loads(event["data"])["cursor"] for event in found)
        await asyncio.sleep(2)
        more = [e for e in await events(running, 2, found[-1]["id"], **params) if e["event"] != "heartbeat"]
        assert more[0]["event"] == "update"
        assert json.loads(more[0]["data"])["prev"] == found[-1]["id"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"channel": "candles", "symbol": "X", "interval": "1s"}, 404),
        ({"channel": "candles", "interval": "1s"}, 400),
        ({"channel": "nothing", "symbol": "BTCUSDT"}, 404),
        ({"channel": "indicators", "symbol": "{known}", "interval": "1s"}, 400),
        ({"channel": "trades", "symbol": "{known}", "snapshot": "x"}, 400),
        ({"channel": "trades", "symbol": "{known}", "snapshot": "1001"}, 400),
    ],
)
def test_events_that_cannot_be_had_are_a_problem(running: Running, params: dict[str, str], status: int) -> None:
    known = {name: value.format(known=running.symbol) for name, value in params.items()}
    answer = running.ask("/v1/stream", **known)
    assert answer.status == status
    assert answer.json["detail"]


# -- the client ---------------------------------------------------------------------------------------------------


def test_the_blocking_client(running: Running) -> None:
    found = []
    for row in tf.connect(running.url).channel("candles", symbol=running.symbol, interval="1s", snapshot=3):
        found.append(row)
        if len(found) == 5:
            break
    assert [row["symbol"] for row in found] == [running.symbol] * 5
    assert len({(row["ts_start"], row["revision"]) for row in found}) == 5


def test_history_in_every_form(running: Running) -> None:
    history = tf.connect(running.url).history("candles", symbol=running.symbol, interval="1m", limit=20)
    assert history.arrow().num_rows == history.polars().height == len(history.pandas()) == len(history.rows()) == 20
    assert history.is_complete is False  # the venue's candles stand in for what was before
    start = history.rows()[0]["ts_start"]
    whole = tf.connect(running.url).history("trades", symbol=running.symbol, start=int(start.timestamp() * 1e6))
    assert whole.arrow().num_rows > 20


def test_what_the_client_is_refused_is_told(running: Running) -> None:
    client = tf.connect(running.url)
    with pytest.raises(tf.InputError, match="is not followed"):
        next(iter(client.channel("trades", symbol="NOPE")))
    with pytest.raises(tf.InputError, match="no symbol"):
        client.history("candles", symbol="NOPE", interval="1m").arrow()
    with pytest.raises(tf.InputError, match="cannot reach"):
        tf.connect("http://127.0.0.1:9").history("candles", symbol="X", interval="1m").arrow()
    with pytest.raises(tf.InputError, match="expected an address"):
        tf.connect("127.0.0.1:8600")


def test_clients_are_told_of_the_end_and_resume_after_it(tmp_path: Path) -> None:
    running = running_on_a_port(tmp_path)

    async def run() -> None:
        async with talking(running.url) as one:
            await one.ask("subscribe", channel="trades", symbols=[running.symbol])
            await one.until(lambda m: m["type"] == "update")
            stopping = asyncio.create_task(asyncio.to_thread(running.live.stop))
            closing = await one.until(lambda m: m["type"] == "closing")
            assert closing["code"] == "shutdown"
            (topic,) = closing["cursors"]
            with pytest.raises(EOFError) as ended:
                await one.until(lambda _: False)
            assert ended.value.args[1] == 1012
            assert await stopping == 0
        running.live.start()
        await asyncio.to_thread(running.live.until_whole)
        await asyncio.to_thread(running.live.until, lambda s: s["api"])
        async with talking(running.url) as one:
            resume = {topic["symbol"]: topic["cursor"]}
            ack = await one.ask("subscribe", channel="trades", symbols=[running.symbol], resume=resume)
            assert ack["result"]["recovered"] == {running.symbol: True}
            update = await one.until(lambda m: m["type"] == "update")
            assert update["prev"] == topic["cursor"]

    try:
        asyncio.run(run())
    finally:
        running.stop()


def test_a_client_that_does_not_read_is_closed_and_others_go_on(tmp_path: Path) -> None:
    running = running_on_a_port(tmp_path, more="")
    try:
        asyncio.run(_slow_reader(running))
    finally:
        running.stop()


async def _slow_reader(running: Running) -> None:
    request = {"method": "subscribe", "params": {"channel": "trades", "symbols": ["*"], "snapshot": 1000}}
    reader, writer = await raw(running.url)
    for number in range(400):
        send(writer, json.dumps(request | {"req_id": number}).encode())
        send(writer, json.dumps(request | {"method": "unsubscribe", "req_id": number}).encode())
        await asyncio.sleep(0.06)
        if number % 20 == 19 and await asyncio.to_thread(clients, running) == 0:
            break  # cut off while it never read a byte
    assert await asyncio.to_thread(clients, running) == 0
    writer.close()
    del reader
    async with talking(running.url) as one:
        await one.ask("subscribe", channel="trades", symbols=["*"], snapshot=0)
        await one.until(lambda m: m["type"] == "update")


def clients(running: Running) -> int:
    return int(running.live.status()["stream"]["clients"])


async def raw(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket that nobody reads from, with as little room in between as there can be."""
    host, port = url.removeprefix("http://").split(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    head = f"GET /v1/stream HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(f"{head}Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    assert b"101" in await reader.readline()
    return reader, writer


def send(writer: asyncio.StreamWriter, payload: bytes) -> None:
    """A masked text frame."""
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    writer.write(b"\x81" + size + b"\0\0\0\0" + payload)


def test_rounds_of_accidents(tmp_path: Path) -> None:
    found = asyncio.run(rounds(tmp_path, 8, seed=5))
    assert found["wrong"] == []
    assert found["rows"] > 1000
    assert found["server_kills"]
