"""The bar: the same job as a plain Python loop, msgspec and dictionaries, as a good programmer would write it.

``python bench/baseline.py INPUT OUTDIR``: 3 s / 0.5 s mean and 1 s candles of every symbol, to Parquet. It sums in
float64 and neither deduplicates nor corrects closed windows; it is the speed to beat, not the answer to give.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq


class Trade(msgspec.Struct, gc=False):
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


def fold(path: str) -> tuple[dict[tuple[str, int], list[Any]], dict[tuple[str, int], list[Any]]]:
    decode = msgspec.json.Decoder(Trade).decode
    candles: dict[tuple[str, int], list[Any]] = {}
    panes: dict[tuple[str, int], list[Any]] = {}
    with open(path, "rb") as file:  # noqa: PTH123
        for line in file:
            trade = decode(line)
            symbol, ts = trade.s, trade.T
            price, size = float(trade.p), float(trade.q)
            key = (symbol, ts // 1000)
            candle = candles.get(key)
            if candle is None:
                candles[key] = [price, price, price, price, size, price * size, 1]
            else:
                if price > candle[1]:
                    candle[1] = price
                if price < candle[2]:
                    candle[2] = price
                candle[3] = price
                candle[4] += size
                candle[5] += price * size
                candle[6] += 1
            key = (symbol, ts // 500)
            pane = panes.get(key)
            if pane is None:
                panes[key] = [price, 1]
            else:
                pane[0] += price
                pane[1] += 1
    return candles, panes


def slide(panes: dict[tuple[str, int], list[Any]]) -> dict[tuple[str, int], list[Any]]:
    means: dict[tuple[str, int], list[Any]] = {}
    for (symbol, number), (total, count) in panes.items():
        for end in range(number + 1, number + 7):
            window = means.get((symbol, end))
            if window is None:
                means[symbol, end] = [total, count]
            else:
                window[0] += total
                window[1] += count
    return means


def main() -> None:
    path, out = sys.argv[1:]
    candles, panes = fold(path)
    means = slide(panes)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    names = ("open", "high", "low", "close", "volume", "quote_volume", "count")
    table: dict[str, Any] = {"symbol": [s for s, _ in candles], "ts_start": [t for _, t in candles]}
    table |= {name: [candle[i] for candle in candles.values()] for i, name in enumerate(names)}
    table["vwap"] = [candle[5] / candle[4] for candle in candles.values()]
    pq.write_table(pa.table(table), folder / "candles.parquet", compression="zstd")
    table = {"symbol": [s for s, _ in means], "ts_end": [t for _, t in means]}
    table |= {"mean": [total / count for total, count in means.values()], "count": [c for _, c in means.values()]}
    pq.write_table(pa.table(table), folder / "moving_average.parquet", compression="zstd")


main()
