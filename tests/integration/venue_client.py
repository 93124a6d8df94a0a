"""A plain client of the simulated venue, and a way to run a test against one."""

import asyncio
import json

import aiohttp

from tapeflow.exchange.server import SimulatedVenue

#: A busy time of the market, so that no test depends on when it is run.
BUSY = 1_795_273_958_000_000


def against(test, **options):
    """Run ``test(venue, client)`` against a venue of its own."""

    async def run():
        async with (
            SimulatedVenue(**{"symbols": 4, "rate": 400.0, "start_us": BUSY, **options}) as venue,
            aiohttp.ClientSession() as session,
        ):
            await asyncio.wait_for(test(venue, Client(venue, session)), 30)

    asyncio.run(run())


class Client:
    def __init__(self, venue, session):
        self.venue, self.session = venue, session

    async def get(self, path, headers=None, **params):
        """Status, body and headers of an answer."""
        address = path if path.startswith("/") else f"/api/v3/{path}"
        async with self.session.get(self.venue.rest + address, params=params, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text[:1] in "[{" else text, answer.headers

    async def rows(self, path, **params):
        status, body, _ = await self.get(path, **params)
        assert status == 200, body
        return body

    async def connect(self, path, **options):
        return await self.session.ws_connect(self.venue.rest + path, **options)

    async def fault(self, kind, **more):
        async with self.session.post(f"{self.venue.rest}/control/faults", json={"kind": kind, **more}) as answer:
            assert answer.status == 200, await answer.text()
            return (await answer.json())["id"]

    async def end_faults(self):
        async with self.session.delete(f"{self.venue.rest}/control/faults") as answer:
            assert answer.status == 200


async def take(ws, count=None, until=None, timeout=20):
    """Messages decoded, up to a number of them or the first that fits."""
    found = []
    while count is None or len(found) < count:
        message = await asyncio.wait_for(ws.receive(), timeout)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise Ended(message, found)
        found.append(json.loads(message.data))
        if until is not None and until(found[-1]):
            break
    return found


async def ended(ws, timeout=20):
    """The code with which the server closes, None for a cut."""
    while True:
        message = await asyncio.wait_for(ws.receive(), timeout)
        if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
            return ws.close_code if message.type is aiohttp.WSMsgType.CLOSED else message.data
        if message.type is aiohttp.WSMsgType.CLOSING:
            return message.data


async def ask(ws, request):
    """The answer to a control message."""
    await ws.send_str(request if isinstance(request, str) else json.dumps(request))
    found = await take(ws, until=lambda message: "e" not in message and "stream" not in message)
    return found[-1]


class Ended(Exception):
    def __init__(self, message, found):
        super().__init__(str(message))
        self.found = found
