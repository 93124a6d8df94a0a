"""Each fault does what it says, leaves the truth alone unless it is of the market, and ends."""

import asyncio
import json
from itertools import pairwise

import aiohttp
import pytest

from integration.venue_client import Ended, against, ended, take
from tapeflow.domain.time import SECOND
from tapeflow.exchange.faults import KINDS, schedule

pytestmark = pytest.mark.slow

TRADES = "/ws/btcusdt@trade?timeUnit=MICROSECOND"


async def truth(client, rows):
    """The ids of the true trades from the first to the last of these."""
    span = {"symbol": "BTCUSDT", "start": rows[0]["T"], "end": rows[-1]["T"] + 1}
    found = [row["id"] for row in await client.rows("/control/truth/trades", **span)]
    return [id for id in found if rows[0]["t"] <= id <= rows[-1]["t"]]


def ids(rows):
    return [row["t"] for row in rows]


def test_frames_are_dropped_doubled_and_swapped():
    async def test(venue, client):
        ws = await client.connect(TRADES)
        await client.fault("drop", permille=500, seconds=60)
        rows = await take(ws, 60)
        true = await truth(client, rows)
        assert set(ids(rows)) < set(true)
        await client.end_faults()
        await client.fault("duplicate", permille=300, seconds=60)
        rows = (await take(ws, 120))[40:]
        assert ids(rows) == sorted(ids(rows))
        assert len(set(ids(rows))) < len(rows)
        await client.end_faults()
        await client.fault("reorder", permille=300, seconds=60)
        rows = (await take(ws, 160))[40:]
        assert ids(rows) != sorted(ids(rows))
        assert len(set(ids(rows))) == len(rows)
        await client.end_faults()
        rows = (await take(ws, 160))[100:]
        assert ids(rows) == await truth(client, rows)

    against(test)


def test_frames_are_late():
    async def test(venue, client):
        ws = await client.connect(TRADES)
        await take(ws, 5)
        await client.fault("delay", ms=400, seconds=60)
        rows = await take(ws, 60)
        assert ids(rows) == list(range(rows[0]["t"], rows[0]["t"] + 60))
        assert venue.clock.now() - rows[-1]["T"] > 150_000

    against(test)


def test_one_stream_falls_silent():
    async def test(venue, client):
        ws = await client.connect("/stream?streams=btcusdt@trade/ethusdt@trade")
        await client.fault("silent", streams=["btcusdt@trade"], seconds=60)
        rows = (await take(ws, 120))[60:]
        assert {row["stream"] for row in rows} == {"ethusdt@trade"}
        await client.end_faults()
        await take(ws, until=lambda row: row["stream"] == "btcusdt@trade")

    against(test)


def test_silence_still_has_pings():
    async def test(venue, client):
        ws = await client.connect(TRADES, autoping=False)
        await client.fault("silent", seconds=60)
        await asyncio.sleep(0.1)
        kinds = [(await asyncio.wait_for(ws.receive(), 10)).type for _ in range(60)]
        assert kinds[-3:] == [aiohttp.WSMsgType.PING] * 3

    against(test, ping_every=0.05)


def test_frames_are_damaged():
    async def test(venue, client):
        ws = await client.connect(TRADES)
        await client.fault("malformed", seconds=60)
        bad = 0
        for _ in range(30):
            message = await asyncio.wait_for(ws.receive(), 10)
            if message.type is not aiohttp.WSMsgType.TEXT:
                bad += 1
                break
            try:
                row = json.loads(message.data)
                bad += "gone" in row or "NaN" in message.data or "-1" in message.data or "wrong" in message.data
                bad += "1e999" in message.data
            except ValueError:
                bad += 1
        assert bad >= 1

    against(test)


def test_a_huge_frame():
    async def test(venue, client):
        ws = await client.connect("/ws", max_msg_size=0)
        await client.fault("huge", bytes=3_000_000)
        message = await asyncio.wait_for(ws.receive(), 10)
        assert len(message.data) == 3_000_000

    against(test)


def test_frozen_and_half_closed_connections():
    async def test(venue, client):
        ws = await client.connect(TRADES)
        await take(ws, 1)
        await client.fault("freeze", seconds=60)
        with pytest.raises(TimeoutError):
            await take(ws, timeout=0.3)
        await client.end_faults()
        await asyncio.sleep(0.1)
        ws = await client.connect(TRADES)
        await take(ws, 3)
        await client.fault("half_close", seconds=1)
        with pytest.raises(Ended):
            await take(ws)

    against(test)


def test_ends_of_connections():
    async def test(venue, client):
        ws = await client.connect(TRADES)
        await client.fault("cut")
        assert await ended(ws) in (None, 1006)
        ws = await client.connect(TRADES)
        await client.fault("close", code=1012)
        assert await ended(ws) == 1012
        ws = await client.connect("/stream?streams=btcusdt@trade")
        await client.fault("shutdown", seconds=0.3)
        rows = await take(ws, until=lambda row: row["stream"] == "!serverShutdown")
        assert rows[-1]["data"]["e"] == "serverShutdown"
        assert await ended(ws) == 1001
        ws = await client.connect(TRADES)
        await client.fault("expire", seconds=0.2)
        assert await ended(ws) == 1001
        await client.end_faults()
        await client.fault("refuse", seconds=60)
        with pytest.raises(aiohttp.ClientError):
            await client.connect(TRADES)
        await client.end_faults()
        ws = await client.connect(TRADES)
        rows = await take(ws, 20)
        assert ids(rows) == await truth(client, rows)

    against(test)


def test_rest_misbehaves():
    async def test(venue, client):
        for kind, status in (("rate_limit", 429), ("ban", 418), ("error_5xx", 503), ("html_403", 403)):
            await client.fault(kind, seconds=60, retry_after=7)
            got, body, headers = await client.get("time")
            assert got == status
            if status in (418, 429):
                assert 0 < int(headers["Retry-After"]) <= 8
            if status == 403:
                assert "<html>" in body
            await client.end_faults()
            assert (await client.get("time"))[0] == 200
        loop = asyncio.get_running_loop()
        await client.fault("slow_rest", ms=300, seconds=60)
        began = loop.time()
        await client.rows("time")
        assert loop.time() - began >= 0.3
        await client.end_faults()
        fresh = await client.rows("depth", symbol="BTCUSDT", limit=5)
        await client.fault("stale_depth", seconds=60)
        assert (await client.rows("depth", symbol="BTCUSDT", limit=5))["lastUpdateId"] < fresh["lastUpdateId"]

    against(test)


def test_ids_that_are_never_issued():
    async def test(venue, client):
        ws = await client.connect(TRADES)
        before = await take(ws, 10)
        await client.fault("skip_ids", count=4, symbol="BTCUSDT")
        rows = before + await take(ws, 200)
        steps = [after - row for row, after in pairwise(ids(rows))]
        assert sorted(set(steps)) == [1, 5]
        assert ids(rows) == await truth(client, rows)
        history = await client.rows("historicalTrades", symbol="BTCUSDT", fromId=rows[0]["t"], limit=len(rows))
        assert [row["id"] for row in history] == ids(rows)
        latest = await client.rows("trades", symbol="BTCUSDT", limit=300)
        assert len(latest) == 300

    against(test)


def test_a_maintenance_is_true():
    async def test(venue, client):
        ws = await client.connect(TRADES)
        before = await take(ws, 5)
        await client.fault("maintenance", seconds=60)
        info = await client.rows("exchangeInfo")
        assert {row["status"] for row in info["symbols"]} == {"BREAK"}
        assert (await client.get("depth", symbol="BTCUSDT"))[0] == 503
        await asyncio.sleep(0.3)
        began = venue.clock.now()
        await client.end_faults()
        rows = before + await take(ws, 100)
        assert ids(rows) == list(range(rows[0]["t"], rows[0]["t"] + len(rows)))
        assert ids(rows) == await truth(client, rows)
        quiet = await client.rows("/control/truth/trades", symbol="BTCUSDT", start=began - 200_000, end=began)
        assert quiet == []

    against(test)


def test_symbols_come_and_go():
    async def test(venue, client):
        await client.fault("list")
        names = [row["symbol"] for row in (await client.rows("exchangeInfo"))["symbols"]]
        assert len(names) == 5
        ws = await client.connect(f"/ws/{names[-1].lower()}@trade")
        assert (await take(ws, 1, timeout=40))[0]["s"] == names[-1]
        ws = await client.connect("/stream?streams=ethusdt@trade/btcusdt@trade")
        await client.fault("delist", symbol="ETHUSDT")
        await asyncio.sleep(0.3)
        rows = (await take(ws, 150))[100:]
        assert {row["stream"] for row in rows} == {"btcusdt@trade"}
        assert "ETHUSDT" not in [row["symbol"] for row in (await client.rows("exchangeInfo"))["symbols"]]

    against(test)


def test_faults_change_no_truth():
    async def test(venue, client):
        start = venue.clock.now() - 5 * SECOND
        span = {"symbol": "BTCUSDT", "start": start, "end": start + 5 * SECOND}
        wanted = await client.rows("/control/truth/trades", **span)
        for kind in KINDS:
            if kind not in ("skip_ids", "maintenance", "list", "delist"):
                await client.fault(kind, seconds=0.1)
                assert await client.rows("/control/truth/trades", **span) == wanted
        assert venue.truth_trades("BTCUSDT", start, start + 5 * SECOND) == wanted
        assert venue.truth_id("BTCUSDT", start + 5 * SECOND) == wanted[-1]["id"]

    against(test)


def test_schedules_repeat():
    assert schedule(5, 100.0) != schedule(6, 100.0)

    async def test(venue, client):
        address = f"{venue.rest}/control/schedule"
        async with client.session.post(address, json={"seed": 5, "seconds": 100}) as answer:
            rows = await answer.json()
        assert len(rows) == len(schedule(5, 100.0)) > 3
        assert {row["kind"] for row in rows} <= set(KINDS)
        async with client.session.post(f"{venue.rest}/control/faults", json={"kind": "sulk"}) as answer:
            assert answer.status == 400
            assert "sulk" in await answer.text()
        number = venue.fault("drop", seconds=5)
        assert [row["id"] for row in await client.rows("/control/faults")] == [number]
        venue.end_faults()
        assert await client.rows("/control/faults") == []

    against(test)
