"""What is followed: the settings' symbols and the changes since, kept before they are made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from tapeflow.api.problem import Problem
from tapeflow.app.roster import Changes, Reach, Roster, read
from tapeflow.domain.errors import BusError, InputError, OwnerError, VenueError
from tapeflow.feed.feed import Feed

LISTED = dict.fromkeys(("BTCUSDT", "ETHUSDT", "SOLUSDT", "LINKUSDT"), "TRADING")


class FakeFeed:
    def __init__(self, problem: str = "") -> None:
        self.followed: list[list[str]] = []
        self.problem = problem

    async def listed(self, symbol: str) -> dict[str, str]:
        if self.problem:
            raise VenueError(self.problem)
        return LISTED

    async def listing(self) -> dict[str, str]:
        return await self.listed("")

    async def follow(self, symbols: Sequence[str]) -> None:
        await asyncio.sleep(0)
        self.followed.append(list(symbols))


async def free(symbols: Sequence[str]) -> None:
    """Nobody else has them."""


def made(folder: Path, *start: str, problem: str = "", own: Any = free) -> tuple[Roster, Any]:
    return Roster(folder / "symbols.json", start or ("BTCUSDT", "ETHUSDT"), own), FakeFeed(problem)


def test_changes_are_made_and_kept(tmp_path: Path) -> None:
    async def work() -> None:
        roster, feed = made(tmp_path)
        assert await roster.follow(feed, "solusdt") == "SOLUSDT"
        assert await roster.follow(feed, "SOLUSDT") == "SOLUSDT"
        assert await roster.unfollow(feed, "ethUSDT") == "ETHUSDT"
        assert feed.followed == [["BTCUSDT", "ETHUSDT", "SOLUSDT"], ["BTCUSDT", "SOLUSDT"]]

    asyncio.run(work())
    assert made(tmp_path)[0].symbols == ["BTCUSDT", "SOLUSDT"]
    assert made(tmp_path, "BTCUSDT", "LINKUSDT", "ETHUSDT")[0].symbols == ["BTCUSDT", "LINKUSDT", "SOLUSDT"]


def test_what_was_removed_can_be_added_again(tmp_path: Path) -> None:
    async def work() -> None:
        roster, feed = made(tmp_path)
        await roster.unfollow(feed, "ETHUSDT")
        await roster.follow(feed, "ETHUSDT")
        await roster.follow(feed, "LINKUSDT")
        await roster.unfollow(feed, "LINKUSDT")

    asyncio.run(work())
    assert read(tmp_path / "symbols.json") == Changes()


def test_other_settings_keep_the_changes_and_never_leave_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        roster, feed = made(tmp_path)
        await roster.unfollow(feed, "ETHUSDT")
        assert await roster.restart(feed, ["LINKUSDT", "ETHUSDT"]) == ["LINKUSDT"]
        assert await roster.restart(feed, ["ETHUSDT"]) == ["ETHUSDT"]

    asyncio.run(work())


def problem_of(work: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        asyncio.run(work)
    return caught.value


def test_what_cannot_be_is_refused_with_the_reason(tmp_path: Path) -> None:
    roster, feed = made(tmp_path, "BTCUSDT")
    refused = problem_of(roster.follow(feed, "LINKUSDX"))
    assert (refused.status, refused.kind, refused.nearest[0]) == (404, "unknown_symbol", "LINKUSDT")
    assert problem_of(roster.unfollow(feed, "SOLUSDT")).status == 404
    assert problem_of(roster.unfollow(feed, "BTCUSDT")).kind == "last_symbol"
    away = problem_of(roster.follow(cast("Feed", FakeFeed("the venue is away")), "SOLUSDT"))
    assert (away.status, away.kind) == (503, "venue_unreachable")
    away = problem_of(roster.listed(cast("Feed", FakeFeed("the venue is away"))))
    assert (away.status, away.kind, away.headers) == (503, "venue_unreachable", {"Retry-After": "10"})
    assert away.detail == "the venue is away; what it lists cannot be known now: ask again in a while"
    (tmp_path / ".symbols.json.new").mkdir()
    kept = problem_of(roster.follow(feed, "SOLUSDT"))
    assert (kept.kind, feed.followed, roster.symbols) == ("cannot_keep", [], ["BTCUSDT"])


def test_what_another_has_is_not_followed(tmp_path: Path) -> None:
    asked: list[str] = []

    async def own(symbols: Sequence[str]) -> None:
        asked.extend(symbols)
        if "SOLUSDT" in symbols:
            raise OwnerError("collected already: binance:SOLUSDT by other")
        if "LINKUSDT" in symbols:
            raise BusError("Kafka does not answer")

    roster, feed = made(tmp_path, "BTCUSDT", own=own)
    refused = problem_of(roster.follow(feed, "solusdt"))
    assert (refused.status, refused.kind) == (409, "owned")
    assert "by other" in refused.detail
    away = problem_of(roster.follow(feed, "LINKUSDT"))
    assert (away.status, away.kind, away.headers) == (503, "bus_unreachable", {"Retry-After": "10"})
    assert (feed.followed, roster.symbols) == ([], ["BTCUSDT"])
    asyncio.run(roster.follow(feed, "ETHUSDT"))
    asyncio.run(roster.follow(feed, "BTCUSDT"))
    assert asked == ["SOLUSDT", "LINKUSDT", "ETHUSDT"], "what is followed is owned"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "symbols.json").write_text('{"added": 3}')
    with pytest.raises(InputError, match=r"symbols\.json is damaged"):
        made(tmp_path)


def test_two_changes_at_once_from_another_loop_are_made_one_after_the_other(tmp_path: Path) -> None:
    roster, feed = made(tmp_path)

    async def work() -> None:
        reach = Reach(roster, feed, asyncio.get_running_loop())

        def other() -> None:
            async def ask() -> None:
                await asyncio.gather(reach.follow("SOLUSDT"), reach.follow("LINKUSDT"), reach.unfollow("ETHUSDT"))

            asyncio.run(ask())

        await asyncio.to_thread(other)

    asyncio.run(work())
    assert sorted(roster.symbols) == ["BTCUSDT", "LINKUSDT", "SOLUSDT"]
    assert feed.followed[-1] == roster.symbols


def test_what_the_venue_lists_is_told_to_another_loop_and_waits_for_no_change(tmp_path: Path) -> None:
    roster, feed = made(tmp_path)

    async def work() -> None:
        reach = Reach(roster, feed, asyncio.get_running_loop())
        async with roster._turn:
            assert await asyncio.to_thread(lambda: asyncio.run(reach.listed())) == LISTED

    asyncio.run(work())
