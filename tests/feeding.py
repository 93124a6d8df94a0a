"""The parts below a feed, real ones, for tests: a tape, what an engine makes of it, and a server with given answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from tapeflow import venues
from tapeflow.domain.events import Gap
from tapeflow.engine.embedded import Engine
from tapeflow.feed.clock import Clock
from tapeflow.feed.feed import Feed, FeedSettings
from tapeflow.feed.recorder import Recorder
from tapeflow.flow import catalogue
from tapeflow.stores.results import Results
from tapeflow.tape.playback import play
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.records import Kind
from tapeflow.tape.spool import Spool
from tapeflow.tape.writer import TapeWriter
from tapeflow.venues.wire import wire

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Taped:
    """A tape that is written to, and an engine that plays it as it grows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer = TapeWriter(folder)
        self.spool = Spool(self.writer, commit_ms=1)
        self.recorder = Recorder(self.spool, Clock(), self.writer.position)
        self.said: list[str] = []
        flow = catalogue.default(["1s"], ["trades", "candles"])
        self.results = Results(flow, "binance", ("trades", "candles"), price_scale=8, size_scale=8)
        self.engine = Engine(flow, venues.create("binance"), self.results, patience=0, of_tape=True)
        self._reader = TapeReader(folder)
        self._played = 0

    def played(self) -> int:
        """The position up to which the tape was played; plays what is new."""
        while (block := self._reader.read()) is not None:
            play(block, self.engine)
            self._played = block.next
        return self._played

    def holes(self) -> tuple[Gap, ...]:
        self.played()
        return tuple(self.engine.holes())

    def records(self, kind: Kind) -> list[tuple[str, bytes]]:
        """Head and body of the records of a kind, in order."""
        self.spool.flush(10)
        with TapeReader(self.folder) as reader:
            return [
                (block.head(i), block.body(i))
                for block in reader.blocks()
                for i in range(len(block))
                if block.kinds[i] == kind
            ]

    def close(self) -> None:
        self.spool.stop()
        self.writer.close()
        self._reader.close()


@contextlib.asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """The address of a server of this machine that answers every request so."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until(what: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something is so; fails after a long time."""
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.01)


def feeding(folder: Path, answer: Answer, test: Callable[[Feed], Awaitable[Any]]) -> None:
    """Do a test with a feed of trades whose REST server answers so, and whose streams nobody serves."""

    async def work() -> None:
        taped = Taped(folder)
        async with serving(answer) as address:
            feed = Feed(
                FeedSettings("ws://127.0.0.1:1", address, frozenset({"trades"}), ("1s",)),
                wire("binance"),
                taped.recorder,
                Clock(),
                taped.said.append,
                holes=taped.holes,
                played=taped.played,
                edges=dict,
                answered=(),
                wanted=tuple,
            )
            try:
                await test(feed)
            finally:
                await feed.rest.close()
                taped.close()

    asyncio.run(work())
