"""The REST paths: limits, faults and headers around the endpoints."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from tapeflow.exchange.clock import seconds
from tapeflow.exchange.limits import too_much
from tapeflow.exchange.params import Params, Refusal, unit_of
from tapeflow.exchange.rest import ENDPOINTS, Asked, Endpoint
from tapeflow.sim.wire import MILLI

if TYPE_CHECKING:
    from tapeflow.exchange.server import SimulatedVenue

#: Answered on the loop; everything else may have to compute a past and is not.
_QUICK = ("ping", "time", "exchangeInfo", "depth", "ticker/price", "ticker/bookTicker")
#: What adds up hours and days of trades, one answer at a time.
_SUMS = ("klines", "uiKlines", "ticker/24hr", "ticker")
_HTML = "<html><head><title>403 Forbidden</title></head><body><h1>403 Forbidden</h1></body></html>"
#: A book that is too old is so old.
_STALE_US = 30_000_000


def routes(venue: SimulatedVenue, app: web.Application) -> None:
    """``/api/v3/...``."""

    async def serve(request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        venue.requests[f"/api/v3/{path}"] += 1
        try:
            endpoint = ENDPOINTS.get(path)
            if endpoint is None:
                return web.Response(status=404, text="Not Found")
            return await _answer(venue, request, path, endpoint)
        except Refusal as refusal:
            headers = _headers(venue) | refusal.headers
            return web.Response(
                status=refusal.status, body=refusal.body, content_type="application/json", headers=headers
            )

    app.router.add_get("/api/v3/{path:.*}", serve)


async def _answer(venue: SimulatedVenue, request: web.Request, path: str, endpoint: Endpoint) -> web.StreamResponse:
    now = seconds()
    broken = await _broken(venue, request, path, now)
    if broken is not None:
        return broken
    params = Params(request.query, endpoint.known)
    venue.limits.take(endpoint.weight(params, len(venue.listings.editions)), now)
    header = request.headers.get("X-MBX-TIME-UNIT")
    unit = unit_of(header) if header else MILLI
    at = venue.clock.now()
    if venue.playback is not None:
        text = venue.playback.answer(path, params, at, unit)
        return web.Response(text=text, content_type="application/json", headers=_headers(venue))
    stale = venue.faults.of("stale_depth", now) if path == "depth" else None
    asked = Asked(venue.listings, params, at, unit, at - (_STALE_US if stale else 0))
    text = endpoint.answer(asked) if path in _QUICK else await _computed(venue, path, endpoint, asked)
    return web.Response(text=text, content_type="application/json", headers=_headers(venue))


async def _computed(venue: SimulatedVenue, path: str, endpoint: Endpoint, asked: Asked) -> str:
    """An answer that may take seconds, off the loop."""
    threads = venue.sums if path in _SUMS else None
    return await asyncio.get_running_loop().run_in_executor(threads, endpoint.answer, asked)


def _headers(venue: SimulatedVenue) -> dict[str, str]:
    used = str(venue.limits.used)
    return {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}


async def _broken(venue: SimulatedVenue, request: web.Request, path: str, now: float) -> web.Response | None:
    """What a fault answers in the place of the endpoint."""
    faults = venue.faults
    while faults.of("freeze", seconds()):
        await asyncio.sleep(0.05)
    slow = faults.of("slow_rest", now)
    if slow:
        await asyncio.sleep(slow.ms / 1000)
    if faults.of("refuse", now):
        if request.transport is not None and faults.chance.hits(500):
            request.transport.abort()
        return web.Response(status=503, text="Service Unavailable")
    banned = faults.of("ban", now)
    if banned:
        venue.limits.ban(max(1.0, banned.retry_after or banned.seconds), now)
        venue.limits.take(0, now)
    limited = faults.of("rate_limit", now)
    if limited:
        raise too_much(venue.limits.weight, limited.retry_after or max(1, int(limited.seconds)))
    if faults.of("html_403", now):
        return web.Response(status=403, text=_HTML, content_type="text/html")
    failing = faults.of("error_5xx", now)
    if failing:
        return web.Response(status=failing.status, text='{"code":-1000,"msg":"Internal error"}')
    if venue.listings.is_halted(venue.clock.now()) and path not in ("exchangeInfo", "time", "ping"):
        raise Refusal(
            -1008, "Server is currently overloaded with other requests. Please try again in a few minutes.", 503
        )
    return None
