"""What a venue lists: asked for when it is not known well enough, once for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from feeding import Taped, serving
from tapeflow.domain.errors import VenueError
from tapeflow.feed.clock import Clock
from tapeflow.feed.feed import LISTED_S, SEARCHED_S, Feed, FeedSettings
from tapeflow.venues.wire import wire

LISTED = {"BTCUSDT": "TRADING", "LUNAUSDT": "BREAK"}


class Venue:
    """Answers with `LISTED` unless it is away; how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_away = False

    async def __call__(self, _: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.is_away:
            return web.json_response({}, status=404)
        return web.json_response({"symbols": [{"symbol": name, "status": LISTED[name]} for name in LISTED]})


def feeding(folder: Path, venue: Venue, test: Callable[[Feed], Awaitable[Any]]) -> None:
    async def work() -> None:
        taped = Taped(folder)
        async with serving(venue) as address:
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


def aged(feed: Feed, seconds: float) -> None:
    feed._listed_at -= seconds


def test_all_who_wait_share_one_answer_and_it_is_good_for_a_while(tmp_path: Path) -> None:
    venue = Venue()

    async def test(feed: Feed) -> None:
        told = await asyncio.gather(feed.listing(), feed.listing(), feed.listed("NOTHING"))
        assert told == [LISTED] * 3
        aged(feed, SEARCHED_S - 5)
        assert await feed.listing() == LISTED
        assert venue.asked == 1
        assert await feed.listed("lunausdt") == LISTED
        assert venue.asked == 1
        assert await feed.listed("NEWUSDT") == LISTED  # too old to say that there is no such symbol
        assert venue.asked == 2
        aged(feed, LISTED_S - 5)
        assert await feed.listed("NEWUSDT") == LISTED
        assert venue.asked == 2
        aged(feed, SEARCHED_S)
        await feed.listing()
        assert venue.asked == 3

    feeding(tmp_path, venue, test)


def test_what_cannot_be_asked_is_no_answer_and_asked_again(tmp_path: Path) -> None:
    venue = Venue()
    venue.is_away = True

    async def test(feed: Feed) -> None:
        told = await asyncio.gather(feed.listing(), feed.listing(), return_exceptions=True)
        assert [type(one) for one in told] == [VenueError] * 2
        assert venue.asked == 1
        with pytest.raises(VenueError, match="cannot ask for the instruments"):
            await feed.listing()
        venue.is_away = False
        assert await feed.listing() == LISTED
        aged(feed, SEARCHED_S + 5)
        venue.is_away = True
        with pytest.raises(VenueError):
            await feed.listing()

    feeding(tmp_path, venue, test)


def test_who_gives_up_waiting_takes_the_answer_from_nobody(tmp_path: Path) -> None:
    venue = Venue()

    async def test(feed: Feed) -> None:
        first = asyncio.create_task(feed.listing())
        other = asyncio.create_task(feed.listing())
        await asyncio.sleep(0)
        first.cancel()
        assert await other == LISTED
        assert venue.asked == 1

    feeding(tmp_path, venue, test)
