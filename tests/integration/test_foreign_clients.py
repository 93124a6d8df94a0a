"""Clients that others wrote for the venue work against the simulated one: only the address is another."""

import asyncio
import json
import time

import ccxt
import ccxt.pro
import pytest
from unicorn_binance_websocket_api import BinanceWebSocketApiManager

from integration.venue_client import against

pytestmark = pytest.mark.slow


def pointed(exchange, venue):
    """The exchange of ccxt, at this address."""
    exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], f"{venue.rest}/api/v3")
    exchange.urls["api"]["ws"] = dict.fromkeys(
        ("spot", "margin", "future", "delivery", "ws-api"), f"{venue.websocket}/ws"
    )
    exchange.options["fetchMarkets"] = {"types": ["spot"]}
    exchange.options["fetchCurrencies"] = False
    exchange.options["fetchMargins"] = False
    return exchange


def test_ccxt_rest():
    async def test(venue, client):
        await asyncio.to_thread(ask, venue)

    def ask(venue):
        exchange = pointed(ccxt.binance({"enableRateLimit": False}), venue)
        markets = exchange.load_markets()
        assert set(markets) == {"BTC/USDT", "ETH/USDT", "SOL/USDT", "BNB/USDT"}
        candles = exchange.fetch_ohlcv("BTC/USDT", "1m", limit=50)
        assert len(candles) == 50
        assert all(low <= min(open_, close) <= max(open_, close) <= high for _, open_, high, low, close, _ in candles)
        trades = exchange.fetch_trades("ETH/USDT", limit=20)
        assert len(trades) == 20
        book = exchange.fetch_order_book("BTC/USDT", limit=20)
        assert len(book["bids"]) == len(book["asks"]) == 20
        assert book["bids"][0][0] < book["asks"][0][0]
        ticker = exchange.fetch_ticker("BTC/USDT")
        assert ticker["low"] <= ticker["last"] <= ticker["high"]
        exchange.session.close()

    against(test, rate=40.0)


def test_ccxt_pro():
    async def test(venue, client):
        exchange = pointed(ccxt.pro.binance({"enableRateLimit": False}), venue)
        try:
            trades = await exchange.watch_trades("BTC/USDT")
            now = venue.clock.now()
            span = {"symbol": "BTCUSDT", "start": trades[0]["timestamp"] * 1000, "end": now}
            true = {str(row["id"]): row for row in await client.rows("/control/truth/trades", **span)}
            assert all(float(true[trade["id"]]["price"]) == trade["price"] for trade in trades)
            book = await exchange.watch_order_book("BTC/USDT")
            assert book["bids"][0][0] < book["asks"][0][0]
            candles = await exchange.watch_ohlcv("BTC/USDT", "1m")
            assert candles
            ticker = await exchange.watch_ticker("ETH/USDT")
            assert ticker["last"] > 0
        finally:
            await exchange.close()

    against(test, rate=40.0)


def test_unicorn_binance_websocket_api():
    async def test(venue, client):
        frames = await asyncio.to_thread(listen, venue)
        rows = [frame["data"] for frame in map(json.loads, frames) if "stream" in frame]
        ids = [row["t"] for row in rows]
        assert ids == list(range(ids[0], ids[0] + len(ids)))

    def listen(venue):
        manager = BinanceWebSocketApiManager(
            exchange="binance.com",
            websocket_base_uri=f"{venue.websocket}/",
            restful_base_uri=f"{venue.rest}/",
            warn_on_update=False,
            disable_colorama=True,
        )
        try:
            manager.create_stream(["trade"], ["btcusdt"])
            frames, until = [], time.monotonic() + 25
            while len(frames) < 30 and time.monotonic() < until:
                frame = manager.pop_stream_data_from_stream_buffer()
                if frame:
                    frames.append(frame)
                else:
                    time.sleep(0.02)
            return frames
        finally:
            manager.stop_manager()

    against(test)
