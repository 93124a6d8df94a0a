"""A venue that refuses a region: told in full, with what to do, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from feeding import Taped, serving
from tapeflow.domain.errors import VenueError
from tapeflow.feed.connection import Connection
from tapeflow.feed.probe import look
from tapeflow.feed.refused import REGION, explain, told_once
from tapeflow.feed.rest import Offset
from tapeflow.venues.wire import wire

BINANCE = wire("binance")


def test_the_explanation_names_every_way_out() -> None:
    text = explain(451, BINANCE)
    for way in (
        "https://data-api.binance.vision",
        "wss://data-stream.binance.vision",
        "binance.us",
        "simulate binance",
    ):
        assert way in text
    assert explain(200, BINANCE) == explain(503, BINANCE) == ""


def test_it_is_said_in_full_once_and_referred_to_after_that() -> None:
    said: list[str] = []
    tell = told_once(said.append, explain(REGION, BINANCE))
    tell("following BTCUSDT")
    tell(f"no candles: https://x {explain(REGION, BINANCE)}")
    tell(f"binance-1: cannot connect: wss://x {explain(REGION, BINANCE)}; again in 1 s")
    assert said[0] == "following BTCUSDT"
    assert "data-api.binance.vision" in said[1]
    assert said[2] == "binance-1: cannot connect: wss://x refuses your region (HTTP 451), see above; again in 1 s"


async def refusing(request: web.Request) -> web.StreamResponse:
    return web.Response(status=451, text='{"code":0,"msg":"Service unavailable from a restricted location"}')


def test_a_connection_that_is_refused_says_so(tmp_path: Path) -> None:
    async def work() -> None:
        taped = Taped(tmp_path)
        async with serving(refusing) as address:
            with pytest.raises(VenueError, match=r"refuses your region \(HTTP 451\); set \[endpoints\]"):
                await Connection.open("b-1", address.replace("http", "ws"), BINANCE, taped.recorder)
        taped.close()

    asyncio.run(work())


def test_a_look_at_a_venue_that_refuses(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(refusing) as address:
            rest, websocket = await look(address, address.replace("http", "ws"), BINANCE)
        assert (rest.status, websocket.status) == (451, 451)
        assert explain(451, BINANCE) in rest.problem
        assert explain(451, BINANCE) in websocket.problem

    asyncio.run(work())


@pytest.mark.parametrize(
    ("low", "high", "least"), [(-1.1, 0.1, 0.0), (-0.2, 0.9, 0.0), (2.5, 3.6, 2.5), (-4.0, -2.9, -2.9)]
)
def test_clocks_are_apart_only_as_far_as_is_certain(low: float, high: float, least: float) -> None:
    assert Offset(low, high).least == least
