"""The control routes, which no venue has: faults, schedules, the truth and counts. They cost no weight."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from tapeflow.exchange.clock import seconds
from tapeflow.exchange.faults import KINDS, Fault, schedule
from tapeflow.sim import answers
from tapeflow.sim.bars import INTERVALS
from tapeflow.sim.edition import Edition
from tapeflow.sim.wire import MICRO

if TYPE_CHECKING:
    from tapeflow.exchange.server import SimulatedVenue

#: Rows of an answer of the truth.
_MOST_ROWS = 2_000_000


def routes(venue: SimulatedVenue, app: web.Application) -> None:
    """``/control/...``."""

    async def begin(request: web.Request) -> web.Response:
        return _json({"id": venue.misbehaviour.begin(_fault(await request.read()))})

    async def listed(request: web.Request) -> web.Response:
        return _json(venue.faults.rows(seconds()))

    async def end(request: web.Request) -> web.Response:
        venue.misbehaviour.end()
        return _json([])

    async def planned(request: web.Request) -> web.Response:
        wish = await request.json()
        return _json(venue.misbehaviour.run(schedule(int(wish["seed"]), float(wish["seconds"]))))

    async def trades(request: web.Request) -> web.Response:
        start, end = _range(venue, request)
        if venue.playback is not None:
            return _json(venue.playback.trade_rows(request.query.get("symbol", ""), MICRO, start, end))
        edition = _edition(venue, request)
        runs = edition.trades(start, end)
        rows = await asyncio.to_thread(lambda: ",".join(islice(answers.trade_rows(edition, runs, MICRO), _MOST_ROWS)))
        return web.Response(text=f"[{rows}]", content_type="application/json")

    async def klines(request: web.Request) -> web.Response:
        edition, (start, end) = _edition(venue, request), _range(venue, request)
        interval = request.query.get("interval", "1m")
        if interval not in INTERVALS:
            raise _bad(f"expected an interval such as 1m, got {interval!r}")
        now = venue.clock.now()
        starts = answers.bar_starts(interval, start, end, _MOST_ROWS, edition.listed, 0)
        rows = await asyncio.to_thread(lambda: [answers.kline_row(edition, interval, at, now, MICRO) for at in starts])
        return web.Response(text=f"[{','.join(row for row in rows if row)}]", content_type="application/json")

    async def ids(request: web.Request) -> web.Response:
        edition, at = _edition(venue, request), int(request.query.get("at", venue.clock.now()))
        body = {"trade": edition.next_trade(at) - 1, "aggregate": edition.next_aggregate(at) - 1, "at": at}
        slot = edition.market.slot_at(at)
        return _json(body | {"update": edition.market.update_id(slot)})

    async def stats(request: web.Request) -> web.Response:
        return _json(counts(venue))

    app.router.add_post("/control/faults", begin)
    app.router.add_get("/control/faults", listed)
    app.router.add_delete("/control/faults", end)
    app.router.add_post("/control/schedule", planned)
    app.router.add_get("/control/truth/trades", trades)
    app.router.add_get("/control/truth/klines", klines)
    app.router.add_get("/control/truth/ids", ids)
    app.router.add_get("/control/stats", stats)


def counts(venue: SimulatedVenue) -> dict[str, Any]:
    """What was sent and asked so far."""
    return {
        "connections": len(venue.connections),
        "accepted": venue.accepted,
        "streams": len(venue.broadcast.topics),
        "frames": venue.ended_frames + sum(client.frames for client in venue.connections),
        "bytes": venue.ended_bytes + sum(client.bytes for client in venue.connections),
        "requests": dict(venue.requests),
        "weight": venue.limits.used,
        "faults": venue.faults.rows(seconds()),
        "now": venue.clock.now(),
    }


def _fault(body: bytes) -> Fault:
    try:
        fault = msgspec.json.decode(body, type=Fault)
    except msgspec.DecodeError as error:
        raise _bad(f'expected a fault such as {{"kind": "drop", "seconds": 5}}, got {body[:200]!r}: {error}') from None
    if fault.kind not in KINDS:
        raise _bad(f"expected a kind of {', '.join(KINDS)}, got {fault.kind!r}")
    if fault.kind == "delist" and not fault.symbol:
        raise _bad("expected a symbol to delist, got none: name one, such as BTCUSDT")
    return fault


def _edition(venue: SimulatedVenue, request: web.Request) -> Edition:
    symbol = request.query.get("symbol", "")
    edition = venue.listings.get(symbol)
    if edition is None:
        raise _bad(f"expected a symbol of the venue, got {symbol!r}: see /api/v3/exchangeInfo")
    return edition


def _range(venue: SimulatedVenue, request: web.Request) -> tuple[int, int]:
    """``[start, end)`` in microseconds, at most until now."""
    now = venue.clock.now()
    end = min(int(request.query.get("end", now)), now)
    return int(request.query.get("start", end - 60_000_000)), end


def _json(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def _bad(text: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=msgspec.json.encode({"error": text}).decode(), content_type="application/json")
