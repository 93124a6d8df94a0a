"""`SimulatedVenue`: Binance spot on a port of this machine, from its market to its sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from tapeflow.exchange.broadcast import Broadcast, Topic
from tapeflow.exchange.clock import Clock, epoch, seconds
from tapeflow.exchange.connection import Connection
from tapeflow.exchange.control import routes as control_routes
from tapeflow.exchange.faults import Fault, Faults
from tapeflow.exchange.frames import frame
from tapeflow.exchange.limits import Limits
from tapeflow.exchange.listings import Listings
from tapeflow.exchange.misbehaviour import Misbehaviour
from tapeflow.exchange.playback import Playback
from tapeflow.exchange.rest_server import routes as rest_routes
from tapeflow.exchange.sockets import routes as socket_routes
from tapeflow.exchange.twist import Twist
from tapeflow.sim.answers import trade_rows
from tapeflow.sim.wire import MICRO

#: The events of so much time leave together.
_TICK = 0.01
_CARE = 0.05
#: Blocks are made this long before they begin, one market at a time.
_PREPARED = 20_000_000


class SimulatedVenue:
    """A venue from `start` to `stop`; the same seed, rate and symbols have the same past and the same ids again.

    With ``replay`` it plays that recording instead, its times moved to now unless ``shift`` is false.

    ``port`` 0 takes a free one. ``websocket`` and ``rest`` are the addresses. Times in seconds are ours, not the
    venue's: ``ping_every``, ``pong_within``, ``lifetime``.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        seed: int = 7,
        rate: float = 200.0,
        symbols: int = 20,
        speed: float = 1.0,
        days: int = 7,
        start_us: int | None = None,
        ping_every: float = 20.0,
        pong_within: float = 60.0,
        lifetime: float = 86_400.0,
        flat_errors: bool = False,
        replay: Path | None = None,
        shift: bool = True,
    ) -> None:
        self.host, self.port = host, port
        self.clock = Clock(speed, start_us)
        self.playback = None if replay is None else Playback(replay, self.clock.now(), shift=shift)
        self.listings = Listings(seed, rate, symbols if replay is None else 0, self.clock.now(), days)
        self.limits = Limits(epoch=epoch())
        self.faults = Faults(seed)
        self.twist = Twist(self.faults)
        self.broadcast = Broadcast(self.listings, self.clock.now())
        self.broadcast.warm = self._warm
        self.broadcast.is_told = replay is not None
        self.misbehaviour = Misbehaviour(self)
        self.connections: dict[Connection, None] = {}
        self.requests: Counter[str] = Counter()
        self.ended_frames = self.ended_bytes = self.accepted = 0
        self.ping_every, self.pong_within, self.lifetime = ping_every, pong_within, lifetime
        self.flat_errors = flat_errors
        #: Adds up the past. One thread: two that hand the interpreter's lock to and fro take longer than one.
        self.sums = ThreadPoolExecutor(1, "sums")
        self._is_preparing = False
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Future[object]] = set()

    @property
    def websocket(self) -> str:
        return f"ws://{self.host}:{self.port}"

    @property
    def rest(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen; the addresses are known when this returns."""
        app = web.Application(client_max_size=1 << 20)
        control_routes(self, app)
        socket_routes(self, app)
        rest_routes(self, app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.spawn(self._run())

    async def stop(self) -> None:
        """Say goodbye to every client (1001) and stop listening."""
        for client in list(self.connections):
            client.close(1001, "Going away")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.sums.shutdown(wait=False, cancel_futures=True)

    def fault(self, kind: str, **more: object) -> int:
        """Begin a fault, as ``POST /control/faults`` does; its number."""
        return self.misbehaviour.begin(msgspec.convert({"kind": kind, **more}, Fault))

    def end_faults(self) -> None:
        """End all faults."""
        self.misbehaviour.end()

    def truth_trades(self, symbol: str, start: int, end: int) -> list[dict[str, Any]]:
        """The trades in ``[start, end)`` as they are, whatever was sent of them."""
        edition = self.listings.editions[symbol]
        return [msgspec.json.decode(row) for row in trade_rows(edition, edition.trades(start, end), MICRO)]

    def truth_id(self, symbol: str, at: int) -> int:
        """The id of the last trade before this time."""
        return self.listings.editions[symbol].next_trade(at) - 1

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine until it ends or the venue stops."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[object]) -> None:
        """A part of the venue that breaks must be seen at once: its clients would wait for ever."""
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            context = {"message": "the simulated venue broke", "exception": task.exception(), "task": task}
            task.get_loop().call_exception_handler(context)

    async def _run(self) -> None:
        cared = 0.0
        while True:
            self._tick()
            now = seconds()
            if now - cared >= _CARE:
                cared = now
                self._care(now)
            await asyncio.sleep(_TICK)

    def _tick(self) -> None:
        self.broadcast.twist = self.twist.put if self.faults.on_frames() else None
        if self.playback is None:
            self.broadcast.advance(self.clock.now())
        else:
            self.playback.advance(self.clock.now(), self.broadcast.tell)
        self.twist.release()
        for client in list(self.connections):
            client.flush()
        if self.playback is None:
            self.broadcast.prepare()

    def _care(self, now: float) -> None:
        """Pings, patience, ages, faults that are over, and the next blocks."""
        self.faults.expire(now)
        expire = self.faults.of("expire", now)
        lifetime = min(self.lifetime, expire.seconds) if expire else self.lifetime
        for client in list(self.connections):
            if now - client.opened > lifetime:
                client.close(1001, "Connection lifetime")
            elif now - client.answered > self.pong_within:
                client.close(1008, "Pong timeout")
            elif now - client.pinged >= self.ping_every:
                client.ping()
        if not self._is_preparing:
            self._is_preparing = True
            self.spawn(self._prepare())

    async def _prepare(self) -> None:
        """Make the blocks that are about to begin, one after the other, off the loop."""
        reach = int(_PREPARED * max(1.0, self.clock.speed))
        for symbol in {topic.stream.symbol for topic in self.broadcast.topics.values()}:
            for edition in self.listings.chosen(symbol):
                # The one that begins next, and no other: the blocks between would be left out.
                later = self.clock.now() + min(reach, edition.market.spec.block_us)
                if not edition.market.is_prepared(later):
                    await asyncio.to_thread(edition.market.prepare, later)
        await asyncio.sleep(1.0 / max(1.0, self.clock.speed))
        self._is_preparing = False

    def _warm(self, topic: Topic) -> None:
        self.spawn(self._warm_up(topic))

    async def _warm_up(self, topic: Topic) -> None:
        """Sum up the topic's past off the loop, then let it begin."""
        now = self.clock.now()
        for edition in self.listings.chosen(topic.stream.symbol):
            since = max(edition.listed, now - topic.stream.reach_us)
            await asyncio.get_running_loop().run_in_executor(self.sums, edition.candle, since, now)
        self.broadcast.begin(topic)

    def say_shutdown(self) -> None:
        """Tell every client that the venue is about to go away."""
        for client in self.connections:
            text = f'{{"e":"serverShutdown","E":{self.clock.now() // client.unit}}}'
            if client.combined:
                text = f'{{"stream":"!serverShutdown","data":{text}}}'
            client.put(frame(text.encode()))

    async def __aenter__(self) -> SimulatedVenue:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self.stop()
