"""Books that are asked for: once, however long the question waits for its turn."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from feeding import feeding, until
from tapeflow.domain.events import Fetch
from tapeflow.feed.feed import Feed


def book(symbol: str) -> Fetch:
    return Fetch("/api/v3/depth", {"symbol": symbol, "limit": "5000"}, "start", symbol, weight=250, stream="book")


def test_a_question_that_waits_for_its_turn_is_not_asked_twice(tmp_path: Path) -> None:
    """A book asks again after 10 s without an answer; the weight of a minute may be used up for much longer."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["symbol"])
        return web.json_response({})

    async def test(feed: Feed) -> None:
        feed.rest.budget.refuse(3600.0)  # nothing is sent for a while
        for _ in range(3):
            for symbol in ("A", "B"):
                feed.act(book(symbol))
            await asyncio.sleep(0.05)
        feed.rest.budget._blocked_until = 0.0
        await until(lambda: len(asked) == 2)
        feed.act(book("A"))  # an answer has come: this is a new question
        await until(lambda: len(asked) == 3)
        await asyncio.sleep(0.1)
        assert sorted(asked) == ["A", "A", "B"]

    feeding(tmp_path, answer, test)
