"""The bar for mixed frames: ``python bench/baseline_mixed.py FILE TIMES`` prints the seconds of each pass.

Recorded frames of trades, best prices and depth as a plain Python loop: msgspec into typed structs, a dictionary and
a heap for each side of the book, the best prices after each change, the last quote, 1 s candles. It checks no ids and
keeps floats.
"""

from __future__ import annotations

import sys
import time
from heapq import heappop, heappush
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


class Side:
    """Sizes by price, and a heap that gives the best price; what left the side leaves the heap when it comes up."""

    def __init__(self, sign: float) -> None:
        self.sign = sign
        self.sizes: dict[float, float] = {}
        self.heap: list[float] = []

    def apply(self, levels: list[tuple[str, str]]) -> None:
        sizes, sign = self.sizes, self.sign
        for price_text, size_text in levels:
            price, size = float(price_text), float(size_text)
            if not size:
                sizes.pop(price, None)
                continue
            if price not in sizes:
                heappush(self.heap, sign * price)
            sizes[price] = size

    def best(self) -> float:
        while self.heap and self.sign * self.heap[0] not in self.sizes:
            heappop(self.heap)
        return self.sign * self.heap[0] if self.heap else 0.0


class Book:
    """A whole side each."""

    def __init__(self) -> None:
        self.bids = Side(-1.0)
        self.asks = Side(1.0)

    def apply(self, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> None:
        self.bids.apply(bids)
        self.asks.apply(asks)


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
                tops.append((book.bids.best(), book.asks.best()))
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
