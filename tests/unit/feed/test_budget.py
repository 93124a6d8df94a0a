"""One weight budget for a host: minutes, urgency, the venue's word. The tests hold the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tapeflow.feed.budget import BOOK, CANDLES, HISTORY, HOLE, Budget


class Hands:
    """A clock that a test moves, in seconds of UTC."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def at(second: float, limit: int, test: Callable[[Budget, Hands], Awaitable[None]]) -> None:
    """Run a test with a budget of so much a minute, begun at this second."""

    async def work() -> None:
        now = Hands(second)
        budget = Budget(limit, now, share=1.0)
        try:
            await test(budget, now)
        finally:
            budget.close()

    asyncio.run(work())


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def test_a_share_of_the_limit_is_used() -> None:
    assert Budget(6000, Hands(0.0)).limit == 5400
    assert Budget(6000, Hands(0.0), 0.5).limit == 3000


def test_weight_beyond_the_limit_waits_for_the_next_minute() -> None:
    async def test(budget: Budget, now: Hands) -> None:
        await budget.take(60, HOLE)
        second = asyncio.create_task(budget.take(60, HOLE))
        await turns()
        assert (second.done(), budget.used) == (False, 60)
        now.at = 60.0
        await second
        assert (budget.used, budget.asked) == (60, 2)

    at(59.96, 100, test)


def test_the_most_urgent_goes_first_and_equals_in_their_order() -> None:
    async def test(budget: Budget, now: Hands) -> None:
        await budget.take(100, HOLE)
        order: list[str] = []

        async def ask(name: str, urgency: int) -> None:
            await budget.take(10, urgency)
            order.append(name)

        wishes = [("history", HISTORY), ("candles", CANDLES), ("hole 1", HOLE), ("book", BOOK), ("hole 2", HOLE)]
        tasks = [asyncio.create_task(ask(*wish)) for wish in wishes]
        await turns()
        assert order == []
        now.at = 60.0
        await asyncio.gather(*tasks)
        assert order == ["hole 1", "hole 2", "candles", "book", "history"]

    at(59.96, 100, test)


def test_a_request_heavier_than_the_whole_budget_goes_alone() -> None:
    async def test(budget: Budget, now: Hands) -> None:
        await budget.take(500, HOLE)
        following = asyncio.create_task(budget.take(1, HOLE))
        await turns()
        assert not following.done()
        now.at = 60.0
        await following
        assert budget.used == 1

    at(59.96, 100, test)


def test_what_the_most_urgent_leaves_of_a_minute_goes_to_whom_it_is_enough_for() -> None:
    async def test(budget: Budget, now: Hands) -> None:
        await budget.take(80, BOOK)
        heavy = asyncio.create_task(budget.take(50, BOOK))
        await turns()
        await budget.take(15, HISTORY)  # asked for while the other waits
        later = asyncio.create_task(budget.take(60, HISTORY))
        await turns()
        assert (heavy.done(), later.done(), budget.used) == (False, False, 95)
        now.at = 60.0
        await heavy
        assert budget.used == 50, "in the next minute the most urgent is the first again"
        assert not later.done()

    at(59.96, 100, test)


def test_books_leave_something_of_each_minute_to_holes_and_candles() -> None:
    async def test(budget: Budget, now: Hands) -> None:
        books = [asyncio.create_task(budget.take(250, BOOK)) for _ in range(6)]
        await turns()
        assert (sum(task.done() for task in books), budget.used) == (3, 750)
        await budget.take(200, HISTORY)
        await budget.take(50, CANDLES)
        now.at = 60.0
        await asyncio.gather(*books)
        assert budget.used == 750

    at(59.96, 1000, test)


def test_a_heavy_request_is_not_passed_by_light_ones_for_ever() -> None:
    async def test(budget: Budget, now: Hands) -> None:
        async def candles() -> None:
            while True:
                await budget.take(2, CANDLES)

        await budget.take(1, HOLE)
        asking = [asyncio.create_task(candles()) for _ in range(2)]
        book = asyncio.create_task(budget.take(250, BOOK))
        await turns()
        assert not book.done()
        now.at = 60.0
        await asyncio.wait_for(book, 5)
        for task in asking:
            task.cancel()

    at(59.96, 240, test)


def test_light_requests_take_nothing_from_the_part_of_heavy_ones() -> None:
    async def test(budget: Budget, now: Hands) -> None:
        await budget.take(150, CANDLES)
        books = [asyncio.create_task(budget.take(250, BOOK)) for _ in range(6)]
        await turns()
        assert (sum(task.done() for task in books), budget.used) == (3, 900)
        for task in books:
            task.cancel()

    at(10.0, 1000, test)


def test_who_gives_up_waiting_costs_nothing_and_holds_up_nobody() -> None:
    async def test(budget: Budget, now: Hands) -> None:
        await budget.take(100, HOLE)
        gone = asyncio.create_task(budget.take(90, HOLE))
        other = asyncio.create_task(budget.take(50, HISTORY))
        await turns()
        gone.cancel()
        await turns()
        now.at = 60.0
        await other
        assert (budget.used, budget.asked) == (50, 2)

    at(59.96, 100, test)


def test_after_a_refusal_nothing_is_asked_until_it_is_over() -> None:
    async def test(budget: Budget, now: Hands) -> None:
        budget.refuse(0.05)
        budget.refuse(0.01)  # a shorter one does not cut it
        waiting = asyncio.create_task(budget.take(1, HOLE))
        await turns()
        assert (waiting.done(), budget.refused) == (False, 2)
        assert budget.blocked_s == pytest.approx(0.05)
        now.at += 0.049
        await turns()
        assert not waiting.done()
        now.at += 0.002
        await waiting
        assert budget.blocked_s == 0.0

    at(10.0, 100, test)


def test_what_the_venue_counts_is_believed_if_it_is_more() -> None:
    async def test(budget: Budget, now: Hands) -> None:
        await budget.take(10, HOLE)
        budget.counted(95, budget.minute)
        assert budget.used == 95
        budget.counted(20, budget.minute)  # an answer that was overtaken
        assert budget.used == 95
        waiting = asyncio.create_task(budget.take(10, HOLE))
        await turns()
        assert not waiting.done()
        asked, now.at = budget.minute, 60.0
        budget.counted(99, asked)  # of the minute before
        await waiting
        budget.counted(99, asked)
        assert budget.used == 10

    at(59.96, 100, test)


def test_the_estimate_is_the_rest_of_this_work() -> None:
    async def test(budget: Budget, now: Hands) -> None:
        assert budget.seconds_for(100) == 0.0
        await budget.take(40, HOLE)
        assert budget.seconds_for(60) == 0.0
        assert budget.seconds_for(61) == pytest.approx(20.0)  # the rest fits the next minute
        assert budget.seconds_for(161) == pytest.approx(80.0)
        budget.refuse(5)
        assert budget.seconds_for(1) == pytest.approx(5.0)
        now.at = 100.0  # nobody has asked since
        assert budget.seconds_for(100) == 0.0

    at(40.0, 100, test)
