"""Candles that the venue could not give at first are asked for again, and its refusals are not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tapeflow.feed import warm as module
from tapeflow.feed.rest import Answer
from tapeflow.feed.warm import Warm
from tapeflow.venues.wire import wire

DOWN, BUSY, GOOD, WRONG = (
    Answer(0, b"", 0, "refused"),
    Answer(503, b"", 0, "busy"),
    Answer(200, b"[]", 0),
    Answer(400, b"", 0),
)
WINDOW = ("BTCUSDT", "1m", 1_700_000_040_000_000, 1_700_000_100_000_000)


def made(answers: list[Answer], asked: list[str], said: list[str], ask: Any = None) -> Warm:
    async def next_of_them(fetch: Any, _: int) -> Answer:
        asked.append(fetch.request)
        return answers.pop(0)

    rest: Any = SimpleNamespace(ask=ask or next_of_them)
    return Warm(wire("binance"), rest, said.append, played=lambda: 1, answered=(), wanted=lambda: (WINDOW,))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.02)
    monkeypatch.setattr(module, "LOOK_S", 0.005)


@pytest.mark.parametrize(("answers", "count"), [([DOWN, BUSY, GOOD], 3), ([DOWN, WRONG], 2), ([GOOD], 1)])
def test_history_is_asked_for_until_there_is_an_answer(answers: list[Answer], count: int) -> None:
    asked: list[str] = []
    said: list[str] = []
    warm = made(answers, asked, said)
    asyncio.run(asyncio.wait_for(warm.history(["BTCUSDT"], ["1m"], 500), 10))
    assert len(asked) == count
    assert len(set(asked)) == 1
    assert warm.waiting == 0
    assert sum("asked for again" in text for text in said) == count - 1


def test_history_that_is_not_to_be_had_holds_nothing_else_up() -> None:
    asked: list[str] = []

    async def ask(fetch: Any, _: int) -> Answer:
        asked.append(fetch.request)
        return GOOD if "SOLUSDT" in fetch.request else DOWN

    async def run() -> None:
        warm = made([], [], [], ask=ask)
        task = asyncio.create_task(warm.history(["BTCUSDT", "ETHUSDT", "XRPUSDT", "SOLUSDT"], ["1m"], 500))
        while warm.waiting != 3:
            await asyncio.sleep(0.005)
        task.cancel()

    asyncio.run(asyncio.wait_for(run(), 10))
    assert sum("SOLUSDT" in request for request in asked) == 1, "it had its turn behind three that fail"


def test_windows_that_lack_candles_are_asked_for_until_there_is_an_answer() -> None:
    asked: list[str] = []

    async def run() -> None:
        task = asyncio.create_task(made([DOWN, BUSY, GOOD], asked, []).run())
        while len(asked) < 3:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)  # and then no more, or there is no answer left to give
        assert not task.done()
        task.cancel()

    asyncio.run(asyncio.wait_for(run(), 10))
    assert len(asked) == 3
