"""Holes in the trades, filled from a venue that answers as Binance does, or given up on the tape."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from feeding import Taped, serving, until
from tapeflow.exchange.server import SimulatedVenue
from tapeflow.feed import rest
from tapeflow.feed.backoff import Backoff
from tapeflow.feed.budget import Budget
from tapeflow.feed.clock import Clock
from tapeflow.feed.refill import Refill
from tapeflow.feed.rest import Rest
from tapeflow.tape.records import Kind
from tapeflow.venues.wire import wire

SECOND = 1_000_000


def put(taped: Taped, symbol: str, rows: list[dict[str, Any]]) -> None:
    """Trades as a connection brings them."""
    for row in rows:
        data = {"e": "trade", "E": row["time"], "s": symbol, "t": row["id"], "p": row["price"], "q": row["qty"]}
        data |= {"T": row["time"], "m": row["isBuyerMaker"], "M": True}
        taped.recorder.frame(
            "c", json.dumps({"stream": f"{symbol.lower()}@trade", "data": data}, separators=(",", ":")).encode()
        )
    taped.spool.flush(10)


def refilling(folder: Path, address: str, test: Callable[[Taped, Refill], Awaitable[None]], **options: Any) -> Any:
    """Run a test while holes are filled from a server."""

    async def work() -> None:
        taped = Taped(folder)
        clock, talk = Clock(), wire("binance")
        rest = Rest(address, talk, Budget(6000, lambda: clock.now()[0] / 1e6), taped.recorder, taped.said.append)
        refill = Refill(
            talk,
            rest,
            taped.recorder,
            taped.said.append,
            holes=taped.holes,
            played=taped.played,
            edges=taped.engine.edges,
            **options,
        )
        task = asyncio.create_task(refill.run())
        try:
            await test(taped, refill)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await rest.close()
            taped.close()

    return work()


#: A moment of the simulated market at which there is enough trade: it has busy and quiet hours.
BUSY = 1_790_032_400_000_000


def notes(taped: Taped) -> list[Any]:
    return [json.loads(head) for head, _ in taped.records(Kind.NOTE)]


@pytest.mark.slow
def test_a_hole_of_many_pages_is_filled_with_what_is_true(tmp_path: Path) -> None:
    async def work() -> None:
        async with SimulatedVenue(symbols=1, rate=300.0, days=1, start_us=BUSY) as venue:
            now = venue.clock.now()
            rows, seconds = [], 25
            while len(rows) <= 3000:  # the market has busy and quiet hours
                rows = venue.truth_trades("BTCUSDT", now - seconds * SECOND, now - SECOND)
                seconds *= 2

            async def test(taped: Taped, refill: Refill) -> None:
                put(taped, "BTCUSDT", rows[:5] + rows[-5:])
                await until(lambda: refill.filled == 1)
                taped.engine.flush()
                taped.results.names = taped.engine.symbols
                trades = [json.loads(line) for line in taped.results.table("trades").json_lines()]
                seen = [
                    id for t in trades for id in range(int(t["first_id"] or t["id"]), int(t["last_id"] or t["id"]) + 1)
                ]
                assert len(seen) == len(set(seen))  # a page may reach beyond the hole
                missing = sorted({row["id"] for row in rows} - set(seen))
                assert not missing, (len(missing), missing[0], missing[-1], rows[0]["id"], rows[-1]["id"], taped.said)
                assert not taped.holes()
                assert not notes(taped)
                assert refill.given_up == 0
                heads = [head for head, _ in taped.records(Kind.ANSWER)]
                assert len(heads) >= 2
                assert all(head.startswith("200 /api/v3/") for head in heads)
                assert "are missing" in taped.said[0]
                assert taped.said[-1] == "BTCUSDT: the hole is filled"

            await refilling(tmp_path, venue.rest, test)

    asyncio.run(work())


@pytest.mark.slow
def test_ids_that_the_venue_never_issued_are_given_up_on_the_tape(tmp_path: Path) -> None:
    async def work() -> None:
        async with SimulatedVenue(symbols=1, rate=1000.0, days=1, start_us=BUSY) as venue:
            start = venue.clock.now()
            await asyncio.sleep(0.5)
            venue.fault("skip_ids", count=5)
            await asyncio.sleep(1.5)
            rows = venue.truth_trades("BTCUSDT", start, venue.clock.now() - SECOND // 10)
            ids = [row["id"] for row in rows]
            (before,) = (id for id, following in itertools.pairwise(ids) if following - id > 1)

            async def test(taped: Taped, refill: Refill) -> None:
                put(taped, "BTCUSDT", rows)
                await until(lambda: refill.given_up == 1)
                (note,) = notes(taped)
                assert note["note"] == "give_up"
                assert (note["symbol"], note["first_id"], note["reason"]) == ("BTCUSDT", before + 1, "not_at_venue")
                await until(lambda: not taped.holes())
                gaps = [row for row in taped.engine.coverage() if row["state"] != "complete"]
                assert [(row["first_id"], row["reason"]) for row in gaps] == [(before + 1, "not_at_venue")]
                paths = [head.split()[1].split("?")[0] for head, _ in taped.records(Kind.ANSWER)]
                assert paths[0] == "/api/v3/aggTrades"  # the cheap way first
                assert paths[1:] == ["/api/v3/historicalTrades"] * 2

            await refilling(tmp_path, venue.rest, test)

    asyncio.run(work())


def row(id: int) -> dict[str, Any]:
    time = 1_700_000_000_000_000 + id * 10_000
    return {
        "id": id,
        "price": "1.5",
        "qty": "2",
        "quoteQty": "3.0",
        "time": time,
        "isBuyerMaker": True,
        "isBestMatch": True,
    }


def given(
    folder: Path, answer: Callable[[web.Request], Awaitable[web.StreamResponse]], test: Any, **options: Any
) -> None:
    async def work() -> None:
        async with serving(answer) as address:
            await refilling(folder, address, test, **options)

    asyncio.run(work())


def test_a_symbol_that_the_venue_does_not_have_is_given_up(tmp_path: Path) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)

    async def test(taped: Taped, refill: Refill) -> None:
        put(taped, "NOSUCH", [row(1), row(5)])
        await until(lambda: refill.given_up == 1)
        (note,) = notes(taped)
        assert (note["first_id"], note["last_id"], note["reason"]) == (2, 4, "not_at_venue")
        assert any("Invalid symbol." in text for text in taped.said)
        assert "cannot be had (not_at_venue); coverage says so" in taped.said[-1]

    given(tmp_path, refuse, test)


@pytest.mark.parametrize("status", [501, 408, 451])
def test_what_the_venue_does_not_answer_for_long_is_given_up(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "Backoff", lambda *_: Backoff(0.001, 0.001))

    async def fail(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    async def test(taped: Taped, refill: Refill) -> None:
        put(taped, "X", [row(1), row(5)])
        await until(lambda: refill.given_up == 1)
        assert [note["reason"] for note in notes(taped)] == ["venue_unreachable"]

    given(tmp_path, fail, test, give_up_s=0.0)


def test_until_then_it_is_asked_again(tmp_path: Path) -> None:
    asked: list[str] = []

    async def fail(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if len(asked) < 4:
            return web.Response(status=501)
        return web.json_response([row(n) for n in (2, 3, 4)])

    async def test(taped: Taped, refill: Refill) -> None:
        put(taped, "X", [row(1), row(5)])
        await until(lambda: refill.filled == 1)
        assert refill.given_up == 0
        assert not taped.holes()

    given(tmp_path, fail, test)
    assert len(asked) == 4
    assert set(asked) == {"/api/v3/aggTrades"}


def test_trades_that_only_come_out_of_order_are_not_asked_for(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.json_response([])

    async def test(taped: Taped, refill: Refill) -> None:
        put(taped, "X", [row(1), row(3)])
        await asyncio.sleep(0.15)
        put(taped, "X", [row(2)])
        await asyncio.sleep(0.4)
        assert (refill.filled, refill.given_up) == (0, 0)

    given(tmp_path, answer, test)
    assert asked == []


def test_after_a_disconnection_what_happened_since_is_asked_for(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(f"{request.path} {request.query['startTime']}")
        return web.json_response([])

    async def test(taped: Taped, refill: Refill) -> None:
        put(taped, "X", [row(1), row(2)])
        taped.played()
        await refill.catch_up(["X", "UNKNOWN"])
        assert taped.holes() == ()

    given(tmp_path, answer, test)
    assert asked == ["/api/v3/aggTrades 1700000000020"]


def test_the_oldest_hole_of_a_symbol_is_filled_first(tmp_path: Path) -> None:
    asked: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("aggTrades"):
            return web.json_response([])
        first = int(request.query["fromId"])
        asked.append(first)
        return web.json_response([row(n) for n in range(first, first + int(request.query["limit"]))])

    async def test(taped: Taped, refill: Refill) -> None:
        put(taped, "X", [row(1), row(5), row(1400), row(1404)])
        await until(lambda: not taped.holes())
        await until(lambda: refill.filled == 2)

    given(tmp_path, answer, test)
    assert asked == [2, 6, 1006]  # the last page takes the last hole along


def test_many_small_holes_are_filled_by_few_pages(tmp_path: Path) -> None:
    """A stream that loses single messages: each page by id takes the holes after the first along."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.path.endswith("aggTrades"):
            return web.json_response([])
        first = int(request.query["fromId"])
        return web.json_response([row(n) for n in range(first, first + int(request.query["limit"]))])

    async def test(taped: Taped, refill: Refill) -> None:
        put(taped, "X", [row(n) for n in range(1, 2000) if n % 3])
        await until(lambda: not taped.holes(), seconds=20)
        assert refill.given_up == 0

    given(tmp_path, answer, test)
    assert len(asked) <= 6


def test_many_ids_never_issued_are_given_up_by_few_pages(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.json_response([])

    async def test(taped: Taped, refill: Refill) -> None:
        put(taped, "X", [row(n) for n in range(1, 101) if n % 3])
        await until(lambda: refill.given_up == 33 and not taped.holes(), seconds=30)

    given(tmp_path, answer, test)
    assert len(asked) <= 5
