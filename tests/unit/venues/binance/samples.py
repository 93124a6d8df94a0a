"""The samples of the protocol reference, one of each kind, as Python values that tests vary and encode."""

from __future__ import annotations

import copy
from typing import Any

import msgspec

TRADE = {
    "e": "trade", "E": 1672515782136, "s": "BNBBTC", "t": 12345, "p": "0.001", "q": "100", "T": 1672515782135,
    "m": True, "M": True,
}  # fmt: skip
AGG_TRADE = {
    "e": "aggTrade", "E": 1672515782136, "s": "BNBBTC", "a": 12345, "p": "0.001", "q": "100", "f": 100, "l": 105,
    "T": 1672515782136, "m": True, "M": True,
}  # fmt: skip
BLOCK_TRADE = {
    "e": "blockTrade", "E": 1772506983582, "s": "BNBBTC", "t": 582, "p": "0.052", "q": "5838", "T": 1772506983321,
    "m": True,
}  # fmt: skip
KLINE: dict[str, Any] = {
    "e": "kline", "E": 1672515782136, "s": "BNBBTC",
    "k": {
        "t": 1672515780000, "T": 1672515839999, "s": "BNBBTC", "i": "1m", "f": 100, "L": 200, "o": "0.0010",
        "c": "0.0020", "h": "0.0025", "l": "0.0005", "v": "1000", "n": 100, "x": False, "q": "1.0000", "V": "500",
        "Q": "0.500", "B": "123456",
    },
}  # fmt: skip
MINI_TICKER = {
    "e": "24hrMiniTicker", "E": 1672515782136, "s": "BNBBTC", "c": "0.0025", "o": "0.0010", "h": "0.0025",
    "l": "0.0010", "v": "10000", "q": "18",
}  # fmt: skip
TICKER = {
    "e": "24hrTicker", "E": 1672515782136, "s": "BNBBTC", "p": "-0.0015", "P": "250.00", "w": "0.0018", "x": "0.0009",
    "c": "0.0025", "Q": "10", "b": "0.0024", "B": "10", "a": "0.0026", "A": "100", "o": "0.0010", "h": "0.0025",
    "l": "0.0010", "v": "10000", "q": "18", "O": 0, "C": 86400000, "F": 0, "L": 18150, "n": 18151,
}  # fmt: skip
WINDOW_TICKER = {
    "e": "1hTicker", "E": 1672515782136, "s": "BNBBTC", "p": "0.0015", "P": "250.00", "o": "0.0010", "h": "0.0025",
    "l": "0.0010", "c": "0.0025", "w": "0.0018", "v": "10000", "q": "18", "O": 0, "C": 1675216573749, "F": 0,
    "L": 18150, "n": 18151,
}  # fmt: skip
BOOK_TICKER = {
    "u": 400900217, "s": "BNBUSDT", "b": "25.35190000", "B": "31.21000000", "a": "25.36520000", "A": "40.66000000",
}  # fmt: skip
AVG_PRICE = {
    "e": "avgPrice", "E": 1693907033000, "s": "BTCUSDT", "i": "5m", "w": "25776.86000000", "T": 1693907032213,
}  # fmt: skip
DEPTH = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"]]}
DELTA = {
    "e": "depthUpdate", "E": 1672515782136, "s": "BNBBTC", "U": 157, "u": 160, "b": [["0.0024", "10"]],
    "a": [["0.0026", "0.00000000"]],
}  # fmt: skip
REFERENCE_PRICE = {"e": "referencePrice", "s": "BAZUSD", "r": "1.00", "t": 1770313263917}
SHUTDOWN = {"e": "serverShutdown", "E": 1770123456789}

REST_TRADE = {
    "id": 28457, "price": "4.00000100", "qty": "12.00000000", "quoteQty": "48.000012", "time": 1499865549590,
    "isBuyerMaker": True, "isBestMatch": True,
}  # fmt: skip
REST_AGG_TRADE = {
    "a": 26129, "p": "0.01633102", "q": "4.70443515", "f": 27781, "l": 27781, "T": 1498793709153, "m": True, "M": True,
}  # fmt: skip
REST_KLINE = [
    1499040000000, "0.01634790", "0.80000000", "0.01575800", "0.01577100", "148976.11427815", 1499644799999,
    "2434.19055334", 308, "1756.87402397", "28.46694368", "0",
]  # fmt: skip
EXCHANGE_INFO: dict[str, Any] = {
    "timezone": "UTC", "serverTime": 1565246363776, "rateLimits": [], "exchangeFilters": [],
    "symbols": [{
        "symbol": "ETHBTC", "status": "TRADING", "baseAsset": "ETH", "baseAssetPrecision": 8, "quoteAsset": "BTC",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.00000100", "maxPrice": "100000.0", "tickSize": "0.00000100"},
            {"filterType": "LOT_SIZE", "minQty": "0.00100000", "maxQty": "100000.0", "stepSize": "0.00100000"},
        ],
    }],
}  # fmt: skip


def frame(payload: Any, stream: str | None = None) -> bytes:
    """A payload as it comes raw, or in the envelope of a combined connection."""
    return msgspec.json.encode(payload if stream is None else {"stream": stream, "data": payload})


def changed(sample: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The sample with one field set, such as ``k.o``."""
    copied = copy.deepcopy(sample)
    *parents, name = path.split(".")
    inner = copied
    for parent in parents:
        inner = inner[parent]
    inner[name] = value
    return copied


def without(sample: dict[str, Any], path: str) -> dict[str, Any]:
    """The sample with one field left out."""
    copied = changed(sample, path, None)
    *parents, name = path.split(".")
    inner = copied
    for parent in parents:
        inner = inner[parent]
    del inner[name]
    return copied
