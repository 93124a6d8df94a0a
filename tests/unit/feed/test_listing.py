"""What a venue lists: asked for when it is not known well enough, once for all who wait."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from feeding import feeding
from tapeflow.domain.errors import VenueError
from tapeflow.feed.feed import LISTED_S, SEARCHED_S, Feed

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
