"""The bar for mixed frames: ``python bench/baseline_mixed.py FILE TIMES`` prints the seconds of each pass.

Recorded frames of trades, best prices and depth as a plain Python loop: msgspec into typed structs, a dictionary for
each side of the book with the best price kept, the last quote, 1 s candles. It checks no ids and keeps floats.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgspec


class Envelope(msgspec.Struct, gc=False):
    data: msgspec.Raw
    stream: str = ""


class Trade(msgspec.Struct, gc=False):
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


class Quote(msgspec.Struct, gc=False):
    u: int
    s: str
    b: str
    B: str
    a: str
    A: str


class Delta(msgspec.Struct, gc=False):
    s: str
    E: int
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class Snapshot(msgspec.Struct, gc=False):
    lastUpdateId: int  # noqa: N815 - the venue's word
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class Book:
    """Two dictionaries; the best prices are looked for again only when they went."""

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.bid = 0.0
        self.ask = float("inf")

    def apply(self, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> None:
        for text, quantity in bids:
            price, size = float(text), float(quantity)
            if size:
                self.bids[price] = size
                self.bid = max(self.bid, price)
            elif self.bids.pop(price, None) is not None and price == self.bid:
                self.bid = max(self.bids, default=0.0)
        for text, quantity in asks:
            price, size = float(text), float(quantity)
            if size:
                self.asks[price] = size
                self.ask = min(self.ask, price)
            elif self.asks.pop(price, None) is not None and price == self.ask:
                self.ask = min(self.asks, default=float("inf"))


def fold(path: str) -> tuple[dict[tuple[str, int], list[Any]], dict[str, Quote], Book, int]:
    envelope = msgspec.json.Decoder(Envelope).decode
    trade_of, quote_of = msgspec.json.Decoder(Trade).decode, msgspec.json.Decoder(Quote).decode
    delta_of, snapshot_of = msgspec.json.Decoder(Delta).decode, msgspec.json.Decoder(Snapshot).decode
    candles: dict[tuple[str, int], list[Any]] = {}
    quotes: dict[str, Quote] = {}
    book = Book()
    tops: list[tuple[float, float]] = []
    with Path(path).open("rb") as file:
        for line in file:
            text = line[line.index(b"{") :]
            if not text.startswith(b'{"stream"'):
                snapshot = snapshot_of(text)
                book = Book()
                book.apply(snapshot.bids, snapshot.asks)
                continue
            frame = envelope(text)
            kind = frame.stream.split("@")[1]
            if kind == "bookTicker":
                quote = quote_of(frame.data)
                quotes[quote.s] = quote
            elif kind == "depth":
                delta = delta_of(frame.data)
                book.apply(delta.b, delta.a)
                tops.append((book.bid, book.ask))
            elif kind == "trade":
                trade = trade_of(frame.data)
                price, size = float(trade.p), float(trade.q)
                key = (trade.s, trade.T // 1000)
                candle = candles.get(key)
                if candle is None:
                    candles[key] = [price, price, price, price, size, price * size, 1]
                else:
                    candle[1] = max(candle[1], price)
                    candle[2] = min(candle[2], price)
                    candle[3] = price
                    candle[4] += size
                    candle[5] += price * size
                    candle[6] += 1
    return candles, quotes, book, len(tops)


def main() -> None:
    path, times = sys.argv[1], int(sys.argv[2])
    for _ in range(times):
        began = time.perf_counter()
        fold(path)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
