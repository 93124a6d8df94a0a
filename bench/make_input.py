"""Writes raw Binance trade lines for benchmarks: ``python bench/make_input.py PATH [-n LINES] [--symbols S]``.

About 1400 trades a second of event time over symbols of Zipf activity, ids consecutive for each symbol, one in a
hundred out of order by up to 1.5 s. The bytes depend on the arguments alone: SplitMix64 over arrays of integers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

START_US = 1_767_225_600_000_000
MEAN_GAP_US = 714
MOST_LATE_US = 1_500_000
LINES_AT_ONCE = 100_000

Ints = NDArray[np.int64]
NAMES = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT", "ADAUSDT", "TRXUSDT")


def draw(seed: int, column: int, n: int, limit: int) -> Ints:
    """``n`` random integers below ``limit`` (at most 2**32), another series for each column."""
    first = (seed * 0x9E3779B97F4A7C15 + column * 0xD1B54A32D192ED03) & (2**64 - 1)
    z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(first)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (((z >> np.uint64(32)) * np.uint64(limit)) >> np.uint64(32)).astype(np.int64)


def names(count: int) -> list[str]:
    return [NAMES[i] if i < len(NAMES) else f"S{i:04d}USDT" for i in range(count)]


def zipf(seed: int, n: int, symbols: int) -> Ints:
    """The symbol of each trade: the one of rank r has 1/r of the first one's."""
    edges = np.cumsum(10**8 // np.arange(1, symbols + 1))
    return np.searchsorted(edges, draw(seed, 0, n, int(edges[-1])), side="right").astype(np.int64)


def running(of: Ints, values: Ints) -> Ints:
    """For each trade, the sum of ``values`` of its symbol so far."""
    order = np.argsort(of, kind="stable")
    sums = np.cumsum(values[order])
    starts = np.flatnonzero(np.diff(of[order], prepend=-1))
    before = np.concatenate(([0], sums[starts[1:] - 1])) if len(starts) else sums
    result = np.empty_like(values)
    result[order] = sums - np.repeat(before, np.diff(starts, append=len(of)))
    return result


def trades_ndjson(n: int, symbols: int, seed: int = 7, late_share_percent: int = 1) -> Iterator[bytes]:
    """The lines, in pieces of many."""
    of = zipf(seed, n, symbols)
    ts = START_US + np.cumsum(draw(seed, 1, n, 2 * MEAN_GAP_US + 1))
    ids = running(of, np.ones(n, dtype=np.int64))
    cents = np.maximum(8_750_000 // (of + 1) + running(of, draw(seed, 2, n, 7) - 3), 1)
    sizes = 1 + draw(seed, 3, n, 200_000)
    makers = draw(seed, 4, n, 2)
    late = draw(seed, 5, n, 100) < late_share_percent
    arrival = np.argsort(ts + np.where(late, draw(seed, 6, n, MOST_LATE_US), 0), kind="stable")
    labels = names(symbols)
    for at in range(0, n, LINES_AT_ONCE):
        part = arrival[at : at + LINES_AT_ONCE]
        columns = (column[part].tolist() for column in (of, ts // 1000, ids, cents, sizes, makers))
        yield "".join(
            f'{{"e":"trade","E":{t},"s":"{labels[s]}","t":{i},"p":"{p // 100}.{p % 100:02d}000000",'
            f'"q":"{q // 100000}.{q % 100000:05d}000","T":{t},"m":{"true" if m else "false"},"M":true}}\n'
            for s, t, i, p, q, m in zip(*columns, strict=True)
        ).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("-n", type=int, default=2_000_000, help="lines")
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--late-share", type=int, default=1, help="percent of trades out of order")
    args = parser.parse_args()
    began = time.perf_counter()
    with args.path.open("wb") as file:
        for piece in trades_ndjson(args.n, args.symbols, args.seed, args.late_share):
            file.write(piece)
    print(f"{args.path}: {args.n} lines, {args.path.stat().st_size} bytes in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
