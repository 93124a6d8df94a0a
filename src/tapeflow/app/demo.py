"""A demonstration in one folder: a simulated venue in a process of its own, and a run against it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from tapeflow import indicators
from tapeflow.api.port import taken
from tapeflow.app.run import Run
from tapeflow.app.served import Served
from tapeflow.domain.errors import SettingsError, VenueError
from tapeflow.exchange.child import Child
from tapeflow.feed.recorder import Say
from tapeflow.flow.catalogue import INDICATORS
from tapeflow.settings import (
    STORED,
    ApiSettings,
    BookSettings,
    CandlesSettings,
    EndpointSettings,
    FeedFileSettings,
    FlowSettings,
    MovingAverageSettings,
    RunSettings,
    StoreSettings,
    TapeSettings,
)

HOST = "127.0.0.1"
PORT = 8600
#: Ports that are tried after `PORT` where that is taken.
_PORTS = 100
_LOOK_S = 0.5


class Demo(msgspec.Struct, frozen=True):
    """What is asked for; without ``port`` the first free one from `PORT` on."""

    data: Path
    port: int | None
    symbols: int
    own_indicators: Path | None = None


def run(demo: Demo, venue: Child, say: Say, serving: Callable[[str], None]) -> None:
    """Run it against its venue until Ctrl-C; ``serving`` is told the address. Raises `TapeflowError`s."""
    port = _free_port() if demo.port is None else _wanted(demo.port)
    told = venue.wait()
    settings = _settings(demo, port, told.symbols[: demo.symbols], EndpointSettings(told.websocket, told.rest))
    asyncio.run(_work(Run(settings, say, serving=serving), venue))


async def _work(run: Run, venue: Child) -> None:
    # While the store is opened. Elsewhere capture comes first, here the page.
    asyncio.get_running_loop().run_in_executor(None, Served.load)
    watch = asyncio.create_task(_watch(run, venue))
    try:
        await run.run()
    finally:
        watch.cancel()
    if not venue.is_alive:
        raise VenueError("the simulated venue has ended by itself; what it said stands above. Start the demo again")


async def _watch(run: Run, venue: Child) -> None:
    """Without its venue a demo shows nothing."""
    while venue.is_alive:
        await asyncio.sleep(_LOOK_S)
    run.stop()


def _settings(demo: Demo, port: int, symbols: list[str], endpoints: EndpointSettings) -> RunSettings:
    """What a run file would say; a demo that is left running does not fill the disk."""
    keep = {"trades": "2d", "quotes": "6h", "tickers": "1d", "moving_average": "2d", "indicators": "30d"}
    return RunSettings(
        symbols=tuple(symbols),
        data=str(demo.data),
        endpoints=endpoints,
        feed=FeedFileSettings(history=1000),
        tape=TapeSettings(keep="1d", keep_bytes=2 << 30),
        store=StoreSettings(channels=(*STORED, "tickers"), keep=keep),
        api=ApiSettings(host=HOST, port=port),
        flow=_flow(demo.own_indicators),
    )


def _flow(own: Path | None) -> FlowSettings:
    """The flow, with the indicators of a folder at their defaults."""
    if own is None:
        return _FLOW
    folder = str(own.resolve())
    names = tuple(indicators.create(kind).name for kind in indicators.add_folder(folder))
    candles = CandlesSettings(indicators=(*INDICATORS, *names))
    return msgspec.structs.replace(_FLOW, own_indicators=folder, candles=candles)


#: The default flow, and the order book for the page: streamed, not stored.
_FLOW = FlowSettings(
    name="demo",
    candles=CandlesSettings(),
    moving_average=(MovingAverageSettings(),),
    book=BookSettings(),
    quotes=True,
    klines=True,
    tickers=True,
)


def _wanted(port: int) -> int:
    why = taken(HOST, port)
    if why:
        raise SettingsError(f"cannot serve on {HOST}:{port}: {why}; choose another --port, or leave it out")
    return port


def _free_port() -> int:
    for port in range(PORT, PORT + _PORTS):
        if not taken(HOST, port):
            return port
    raise SettingsError(f"every port from {PORT} to {PORT + _PORTS - 1} is taken; choose one with --port")
