"""Turns: so many pieces of slow work at once, in threads; who waits too long for one is told to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread

from tapeflow.api.problem import Problem

T = TypeVar("T")


class Turns:
    """At most ``most`` at once; the next waits ``wait_s`` at most."""

    def __init__(self, most: int, wait_s: float) -> None:
        self._room = asyncio.Semaphore(most)
        self._wait_s = wait_s

    async def run(self, work: Callable[[], T]) -> T:
        """The result of the work, done in a thread; raises `Problem` if there is no turn, and what the work raises."""
        try:
            async with asyncio.timeout(self._wait_s):
                await self._room.acquire()
        except TimeoutError:
            detail = "the server is busy with other reads; ask again in a second, or for less at once"
            raise Problem(503, "busy", detail, headers={"Retry-After": "1"}) from None
        try:
            return await anyio.to_thread.run_sync(work)
        finally:
            self._room.release()
