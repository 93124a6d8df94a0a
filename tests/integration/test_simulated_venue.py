"""The simulated venue on real sockets: its paths, messages, errors and limits."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request

import aiohttp
import pytest

from integration.venue_client import against, ask, ended, take
from tapeflow.cli.simulate import simulate
from tapeflow.domain.errors import SettingsError
from tapeflow.domain.events import Quarantine, Trade
from tapeflow.domain.time import HOUR, MINUTE, SECOND
from tapeflow.exchange.server import SimulatedVenue
from tapeflow.venues.binance.codec import Binance

pytestmark = pytest.mark.slow

PLAIN = ("trade", "aggTrade", "bookTicker", "depth", "depth@100ms", "depth5", "kline_1s", "kline_1m", "avgPrice")
DAILY = ("miniTicker", "ticker", "ticker_1h")


def test_every_stream_is_read_by_our_codec():
    async def test(venue, client):
        names = [f"btcusdt@{kind}" for kind in PLAIN + DAILY] + ["!miniTicker@arr", "!ticker_1h@arr"]
        ws = await client.connect(f"/stream?streams={'/'.join(names)}&timeUnit=MICROSECOND")
        codec, missing = Binance(), set(names)
        while missing:
            message = await asyncio.wait_for(ws.receive(), 30)
            missing.discard(json.loads(message.data)["stream"])
            outputs = codec.receive(message.data.encode(), venue.clock.now())
            assert not [output for output in outputs if isinstance(output, Quarantine)]
        assert codec.unknown_fields == 0
        await ws.close()

    against(test, rate=40.0)


def test_raw_paths_units_and_frames():
    async def test(venue, client):
        ws = await client.connect("/ws/btcusdt@trade/ethusdt%40trade")
        rows = await take(ws, until=lambda row: row["s"] == "ETHUSDT")
        assert len(str(rows[0]["T"])) == 13
        await ws.close()
        ws = await client.connect("/ws/btcusdt@trade?timeUnit=microsecond")
        assert len(str((await take(ws, 1))[0]["T"])) == 16
        assert await ask(ws, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5}) == {
            "result": None,
            "id": 5,
        }
        assert (await take(ws, 1))[0]["stream"] == "btcusdt@trade"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.connect("/ws/btcusdt@trade?timeUnit=days")

    against(test)


def test_control_messages():
    async def test(venue, client):
        ws = await client.connect("/stream")
        assert await ask(ws, {"method": "SUBSCRIBE", "params": ["btcusdt@depth5", "nope@trade"], "id": "a-1"}) == {
            "result": None,
            "id": "a-1",
        }
        assert (await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": 3}))["result"] == ["btcusdt@depth5", "nope@trade"]
        assert (await ask(ws, {"method": "GET_PROPERTY", "params": ["combined"], "id": -2}))["result"] is True
        assert await ask(ws, {"method": "UNSUBSCRIBE", "params": ["btcusdt@depth5"], "id": None}) == {
            "result": None,
            "id": None,
        }
        await asyncio.sleep(1.05)
        for request, code in (
            ({"method": "SET_PROPERTY", "params": ["colour", True], "id": 1}, 0),
            ({"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}, 1),
            ({"method": "SET_PROPERTY", "params": [], "id": 1}, 2),
            ({"method": "SUBSCRIBE", "params": ["x"], "id": {}}, 2),
        ):
            assert (await ask(ws, request))["error"]["code"] == code
        await asyncio.sleep(1.05)
        for text, code in (('{"method":"DANCE","id":1}', 2), ('{"id":1}', 2), ("{", 3)):
            assert (await ask(ws, text))["error"]["code"] == code
        error = await ask(ws, {"method": "SUBSCRIBE", "params": 3, "id": 5000001})
        assert error == {"error": {"code": 2, "msg": "Invalid request: streams must be an array"}, "id": 5000001}

    against(test)


def test_errors_can_be_flat():
    async def test(venue, client):
        ws = await client.connect("/ws")
        assert await ask(ws, "nonsense") == {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}

    against(test, flat_errors=True)


def test_too_many_messages_streams_and_connections():
    async def test(venue, client):
        ws = await client.connect("/ws")
        for number in range(7):
            await ws.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
        assert await ended(ws) == 1008
        ws = await client.connect("/ws")
        names = [f"s{number}@trade" for number in range(1025)]
        assert "error" in await ask(ws, {"method": "SUBSCRIBE", "params": names, "id": 1})
        assert (await ask(ws, {"method": "SUBSCRIBE", "params": names[:1024], "id": 1}))["result"] is None
        venue.limits.connections = venue.accepted
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.connect("/ws")

    against(test)


def test_pings_need_pongs_and_connections_have_an_age():
    async def test(venue, client):
        silent = await client.connect("/ws/btcusdt@trade", autoping=False)
        kinds = set()
        while aiohttp.WSMsgType.CLOSE not in kinds:
            kinds.add((await asyncio.wait_for(silent.receive(), 10)).type)
        assert aiohttp.WSMsgType.PING in kinds
        polite = await client.connect("/ws/btcusdt@trade")
        await take(polite, 60)
        venue.lifetime = 0.0
        assert await ended(polite) == 1001

    against(test, ping_every=0.2, pong_within=0.7)


def test_book_of_snapshot_and_deltas_is_the_quoted_one():
    async def test(venue, client):
        ws = await client.connect("/stream?streams=ethusdt@bookTicker/ethusdt@depth@100ms")
        first = await take(ws, until=lambda row: "depth" in row["stream"])
        book = await client.rows("depth", symbol="ETHUSDT", limit=5000)
        rest = await take(ws, 150)
        bids, asks, compared = dict(book["bids"]), dict(book["asks"]), 0
        quotes = {row["data"]["u"]: row["data"] for row in first + rest if "book" in row["stream"]}
        at = book["lastUpdateId"]
        for delta in (row["data"] for row in first + rest if "depth" in row["stream"]):
            if delta["u"] <= at:
                continue
            assert delta["U"] <= at + 1
            at = delta["u"]
            for side, changed in ((bids, delta["b"]), (asks, delta["a"])):
                side.update(changed)
                for price in [price for price, size in side.items() if not float(size)]:
                    del side[price]
            quote, bid, ask_ = quotes[at], max(bids, key=float), min(asks, key=float)
            assert (quote["b"], quote["B"], quote["a"], quote["A"]) == (bid, bids[bid], ask_, asks[ask_])
            compared += 1
        assert compared > 3

    against(test, rate=200.0)


def test_trades_streamed_are_the_truth_and_the_history():
    async def test(venue, client):
        ws = await client.connect("/ws/btcusdt@trade?timeUnit=MICROSECOND")
        rows = await take(ws, 300)
        ids = [row["t"] for row in rows]
        assert ids == list(range(ids[0], ids[0] + 300))
        span = {"symbol": "BTCUSDT", "start": rows[0]["T"], "end": rows[-1]["T"] + 1}
        truth = {row["id"]: row for row in await client.rows("/control/truth/trades", **span)}
        wanted = {"symbol": "BTCUSDT", "fromId": ids[0], "limit": 300}
        history = await client.get("historicalTrades", headers={"X-MBX-TIME-UNIT": "MICROSECOND"}, **wanted)
        assert history[1] == [truth[id] for id in ids]
        assert [(row["p"], row["q"], row["T"], row["m"]) for row in rows] == [
            (row["price"], row["qty"], row["time"], row["isBuyerMaker"]) for row in history[1]
        ]
        last = await client.rows("/control/truth/ids", symbol="BTCUSDT", at=rows[-1]["T"] + 1)
        assert last["trade"] >= ids[-1]
        latest = await client.rows("trades", symbol="BTCUSDT", limit=5)
        assert latest[-1]["id"] >= ids[-1]
        assert len(latest) == 5

    against(test)


def test_aggregates_by_id_and_by_time():
    async def test(venue, client):
        latest = await client.rows("aggTrades", symbol="BTCUSDT", limit=40)
        assert [row["a"] for row in latest] == list(range(latest[0]["a"], latest[0]["a"] + 40))
        again = await client.rows("aggTrades", symbol="BTCUSDT", fromId=latest[0]["a"], limit=40)
        assert again == latest
        start, end = latest[5]["T"], latest[30]["T"]
        between = await client.rows("aggTrades", symbol="BTCUSDT", startTime=start, endTime=end)
        assert between == [row for row in latest if start <= row["T"] <= end]
        forward = await client.rows("aggTrades", symbol="BTCUSDT", startTime=start * 1000, limit=3)
        assert forward == between[:3]
        back = await client.rows("aggTrades", symbol="BTCUSDT", endTime=end, limit=3)
        assert back == between[-3:]
        status, body, _ = await client.get("aggTrades", symbol="BTCUSDT", fromId=1, startTime=1)
        assert (status, body["code"]) == (400, -1128)

    against(test)


def test_klines_page_by_page():
    async def test(venue, client):
        end = venue.clock.now() // MINUTE * MINUTE
        start = end - 3 * HOUR
        whole = await client.rows("klines", symbol="BTCUSDT", interval="1m", startTime=start // 1000, limit=1000)
        assert len(whole) in (180, 181)
        assert [row[0] for row in whole] == list(range(start // 1000, start // 1000 + 60_000 * len(whole), 60_000))
        page = await client.rows(
            "klines", symbol="BTCUSDT", interval="1m", startTime=whole[10][0], endTime=whole[19][0]
        )
        assert page == whole[10:20]
        hour = await client.rows("klines", symbol="BTCUSDT", interval="1h", startTime=start // 1000, limit=1)
        inside = [row for row in whole if hour[0][0] <= row[0] < hour[0][0] + 3_600_000]
        assert sum(row[8] for row in inside) == hour[0][8]
        truth = await client.rows("/control/truth/klines", symbol="BTCUSDT", interval="1m", start=start, end=end)
        assert [row[1:6] for row in truth] == [row[1:6] for row in whole[:180]]
        shifted = await client.rows("uiKlines", symbol="BTCUSDT", interval="1d", timeZone="8", limit=2)
        assert shifted[0][0] % 86_400_000 == 16 * 3_600_000
        forming = await client.rows("klines", symbol="BTCUSDT", interval="1h", limit=1)
        assert forming[0][6] * 1000 > venue.clock.now()

    against(test)


def test_tickers_and_prices():
    async def test(venue, client):
        one = await client.rows("ticker/24hr", symbol="BTCUSDT")
        assert one["count"] == one["lastId"] - one["firstId"] + 1
        two = await client.rows("ticker/24hr", symbols='["BTCUSDT","ETHUSDT"]', type="MINI")
        assert [row["symbol"] for row in two] == ["BTCUSDT", "ETHUSDT"]
        assert len(await client.rows("ticker/price")) == 4
        assert float((await client.rows("ticker/bookTicker", symbol="BTCUSDT"))["askPrice"]) > 0
        assert (await client.rows("avgPrice", symbol="BTCUSDT"))["mins"] == 5
        assert (await client.rows("ticker", symbol="BTCUSDT", windowSize="2h"))["count"] > 0

    against(test, rate=40.0)


def test_exchange_info_is_read_by_our_codec():
    async def test(venue, client):
        _, body, headers = await client.get("exchangeInfo")
        assert headers["X-MBX-USED-WEIGHT-1M"] == "20"
        codec = Binance()
        codec.receive(json.dumps(body).encode(), 0, "/api/v3/exchangeInfo")
        assert codec.unknown_fields == 0
        assert set(codec.instruments.symbols()) == set(venue.listings.editions)
        answer = await client.rows("historicalTrades", symbol="BTCUSDT", limit=5)
        request = "/api/v3/historicalTrades?symbol=BTCUSDT"
        assert [type(event) for event in codec.receive(json.dumps(answer).encode(), 0, request)] == [Trade] * 5

    against(test)


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("depth", {}, -1102),
        ("depth", {"symbol": "NOPE"}, -1121),
        ("depth", {"symbol": ""}, -1105),
        ("depth", {"symbol": "BTC USDT"}, -1100),
        ("depth", {"symbol": "BTCUSDT", "limit": "ten"}, -1100),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("klines", {"symbol": "BTCUSDT"}, -1102),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "timeZone": "15"}, -1130),
        ("trades", {"symbol": "BTCUSDT", "colour": "red"}, -1104),
        ("exchangeInfo", {"symbol": "NOPE"}, -1121),
        ("exchangeInfo", {"symbols": '["BTCUSDT","BTCUSDT"]'}, -1151),
        ("ticker/24hr", {"symbol": "BTCUSDT", "type": "TALL"}, -1139),
        ("ticker/price", {"symbol": "BTCUSDT", "symbols": "[]"}, -1128),
    ],
)
def test_errors_of_rest(path, params, code):
    async def test(venue, client):
        status, body, _ = await client.get(path, **params)
        assert (status, body["code"]) == (400, code)
        status, body, _ = await client.get("time", headers={"X-MBX-TIME-UNIT": "HOUR"})
        assert body["code"] == -1194

    against(test)


def test_weight_429_and_418():
    async def test(venue, client):
        venue.limits.weight = 300
        assert (await client.get("depth", symbol="BTCUSDT", limit=5000))[2]["X-MBX-USED-WEIGHT-1M"] == "250"
        status, body, headers = await client.get("depth", symbol="BTCUSDT", limit=1000)
        assert status == 200
        status, body, headers = await client.get("depth", symbol="BTCUSDT", limit=500)
        assert (status, body["code"]) == (429, -1003)
        assert 0 < int(headers["Retry-After"]) <= 61
        statuses = [(await client.get("ping"))[0] for _ in range(25)]
        assert statuses[0] == 429
        assert statuses[-1] == 418
        until = int((await client.get("ping"))[1]["msg"].split("until ")[1].split(".")[0])
        assert abs(until / 1000 - time.time() - 120) < 30
        assert (await client.get("/control/stats"))[0] == 200

    against(test)


def test_a_restart_has_the_same_past():
    found = []

    async def test(venue, client):
        start = 1_795_000_000 * SECOND
        found.append(await client.rows("/control/truth/trades", symbol="ETHUSDT", start=start, end=start + MINUTE))

    for _ in range(2):
        against(test, start_us=1_795_100_000 * SECOND)
    assert found[0]
    assert found[0] == found[1]


def test_the_clock_can_run_faster():
    async def test(venue, client):
        before, began = await client.rows("time"), asyncio.get_running_loop().time()
        await asyncio.sleep(0.2)
        after = await client.rows("time")
        assert after["serverTime"] - before["serverTime"] > 40 * 200
        assert asyncio.get_running_loop().time() > began

    against(test, speed=60.0)


def test_a_client_that_does_not_read_is_cut_off(monkeypatch):
    monkeypatch.setattr("tapeflow.exchange.connection.UNREAD_LIMIT", 10_000)

    async def test(venue, client):
        reader, writer = await asyncio.open_connection("127.0.0.1", venue.port, limit=1024)
        writer.write(
            b"GET /ws/btcusdt@depth@100ms HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await reader.readline()
        while not venue.connections:
            await asyncio.sleep(0.01)
        venue.fault("huge", bytes=30_000_000)
        while venue.connections:
            await asyncio.sleep(0.01)
        with pytest.raises(ConnectionError):  # reset: what was not read is lost, and the client knows
            await reader.read()
        writer.close()

    against(test)


def test_the_command():
    code = "from tapeflow.cli.simulate import simulate; simulate('binance', port=0, symbols=2)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        where = json.loads(process.stdout.readline())
        with urllib.request.urlopen(f"{where['rest']}/api/v3/ping") as answer:
            assert answer.read() == b"{}"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, b"", b"")
    finally:
        process.kill()
        process.wait()


def test_wrong_options():
    with pytest.raises(SettingsError, match="expected the venue binance"):
        simulate("nasdaq")
    with pytest.raises(SettingsError, match=r"127\.0\.0\.1"):
        simulate("binance", host="0.0.0.0")


def test_stop_says_goodbye():
    async def run():
        venue = SimulatedVenue(symbols=2)
        await venue.start()
        async with aiohttp.ClientSession() as session:
            ws = await session.ws_connect(f"{venue.rest}/ws/btcusdt@trade")
            await take(ws, 1)
            await venue.stop()
            assert await ended(ws) == 1001
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"{venue.rest}/api/v3/ping")

    asyncio.run(run())
