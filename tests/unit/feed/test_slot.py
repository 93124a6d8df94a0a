"""A share of the streams stays connected and is what is wanted, whatever changes while a connection is made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from feeding import Taped, serving, until
from tapeflow.exchange.server import SimulatedVenue
from tapeflow.feed import slot as module
from tapeflow.feed.connection import Connection
from tapeflow.feed.slot import Slot
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.records import Kind
from tapeflow.venues.wire import wire

BTC, ETH = "btcusdt@trade", "ethusdt@trade"


def following(folder: Path, test: Callable[[Slot, Taped, SimulatedVenue], Awaitable[None]]) -> None:
    """Run a test with a slot that follows two streams of a simulated venue."""

    async def work() -> None:
        taped = Taped(folder)
        async with SimulatedVenue(symbols=2, rate=100.0, days=1) as venue:

            async def open(name: str) -> Connection:
                return await Connection.open(name, venue.websocket, wire("binance"), taped.recorder)

            slot = Slot("s", [BTC, ETH], open, lambda _: None, taped.said.append, most_s=3600.0)
            task = asyncio.create_task(slot.run())
            try:
                await until(lambda: slot.current is not None and slot.current.frames > 5)
                await test(slot, taped, venue)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        taped.close()

    asyncio.run(work())


def asked(taped: Taped, connection: str) -> set[str]:
    """The streams that a connection follows, from what was sent on it."""
    followed: set[str] = set()
    for name, body in sent(taped):
        message = json.loads(body)
        if name == connection:
            names = set(message["params"])
            followed = followed | names if message["method"] == "SUBSCRIBE" else followed - names
    return followed


def sent(taped: Taped) -> list[tuple[str, bytes]]:
    taped.spool.flush(10)
    with TapeReader(taped.folder) as reader:
        return [
            (block.names[int(block.connections[i])], block.body(i))
            for block in reader.blocks()
            for i in range(len(block))
            if block.kinds[i] == Kind.SEND
        ]


@pytest.fixture(autouse=True)
def short_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OVERLAP_S", 0.3)


@pytest.mark.slow
def test_what_changes_while_a_connection_is_replaced_counts_for_the_new_one(tmp_path: Path) -> None:
    async def test(slot: Slot, taped: Taped, venue: SimulatedVenue) -> None:
        assert asked(taped, "s-1") == {BTC, ETH}
        slot.renew("to see")
        await until(lambda: asked(taped, "s-2") == {BTC, ETH})
        await slot.change([ETH, "ethusdt@bookTicker"])
        await until(lambda: slot.current is not None and slot.current.name == "s-2")
        assert asked(taped, "s-2") == {ETH, "ethusdt@bookTicker"}
        assert slot.current is not None
        assert slot.current.streams == [ETH, "ethusdt@bookTicker"]

    following(tmp_path, test)


@pytest.mark.slow
def test_after_a_cut_the_next_connection_has_all_streams(tmp_path: Path) -> None:
    async def test(slot: Slot, taped: Taped, venue: SimulatedVenue) -> None:
        venue.fault("cut", seconds=0.2)
        await until(lambda: slot.current is not None and slot.current.name != "s-1" and slot.current.frames > 0)
        assert slot.current is not None
        assert asked(taped, slot.current.name) == {BTC, ETH}
        assert slot.reconnects >= 1
        assert taped.records(Kind.DISCONNECT)

    following(tmp_path, test)


@pytest.mark.slow
def test_a_connection_that_brings_nothing_does_not_replace_one_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.5)

    async def test(slot: Slot, taped: Taped, venue: SimulatedVenue) -> None:
        async def mute(name: str) -> Connection:
            connection = await Connection.open(name, venue.websocket, wire("binance"), taped.recorder)
            monkeypatch.setattr(connection, "subscribe", lambda _: asyncio.sleep(0))
            return connection

        first = slot.current
        assert first is not None
        slot._open = mute
        slot.renew("to see")
        await until(lambda: slot._renewal is not None and slot._renewal.done())
        assert slot.current is first
        assert not first.closed.done()
        assert any("brings nothing" in text for text in taped.said)

    following(tmp_path, test)


def test_a_close_of_the_venue_is_answered_at_once_whatever_its_code(tmp_path: Path) -> None:
    async def closing(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.close(code=4321, message=b"enough")
        return ws

    async def run() -> None:
        taped = Taped(tmp_path)
        async with serving(closing) as address:
            made = await Connection.open("c-1", address.replace("http", "ws"), wire("binance"), taped.recorder)
            assert await asyncio.wait_for(made.closed, 2) == "closed by the venue: 4321 enough"
        assert taped.records(Kind.DISCONNECT) == [("closed by the venue: 4321 enough", b"")]
        taped.close()

    asyncio.run(run())
