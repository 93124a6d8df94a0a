"""Sums of trades: a candle in whole ticks and steps, exact and associative."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from tapeflow.domain.time import MINUTE
from tapeflow.sim.block import Block


class Candle(msgspec.Struct, frozen=True):
    """The trades of a stretch of time. Prices in ticks, volumes in steps, turnovers in ticks times steps."""

    open: int
    high: int
    low: int
    close: int
    volume: int
    turnover: int
    buy_volume: int
    buy_turnover: int
    count: int
    first_id: int
    last_id: int


def candle_of(block: Block, low: int, high: int) -> Candle | None:
    """The candle of the block's trades ``low..high-1``; None of none."""
    if low >= high:
        return None
    prices, sizes, buys = block.prices[low:high], block.sizes[low:high], block.buys[low:high]
    products = prices * sizes
    return Candle(
        open=int(prices[0]),
        high=int(prices.max()),
        low=int(prices.min()),
        close=int(prices[-1]),
        volume=int(sizes.sum()),
        turnover=int(products.sum()),
        buy_volume=int(sizes[buys].sum()),
        buy_turnover=int(products[buys].sum()),
        count=high - low,
        first_id=block.trade_id + low,
        last_id=block.trade_id + high - 1,
    )


def merged(candles: Iterable[Candle | None]) -> Candle | None:
    """One candle of candles in order of time."""
    found = [candle for candle in candles if candle is not None]
    if len(found) < 2:
        return found[0] if found else None
    return Candle(
        open=found[0].open,
        high=max(candle.high for candle in found),
        low=min(candle.low for candle in found),
        close=found[-1].close,
        volume=sum(candle.volume for candle in found),
        turnover=sum(candle.turnover for candle in found),
        buy_volume=sum(candle.buy_volume for candle in found),
        buy_turnover=sum(candle.buy_turnover for candle in found),
        count=sum(candle.count for candle in found),
        first_id=found[0].first_id,
        last_id=found[-1].last_id,
    )


class Minutes:
    """The minutes of a block, kept when the block itself is forgotten."""

    __slots__ = ("_counts", "_rows", "_trade_id", "total")

    def __init__(self, block: Block, minutes: int) -> None:
        edges = np.searchsorted(block.times, block.start + MINUTE * np.arange(minutes + 1, dtype=np.int64))
        self._trade_id = block.trade_id
        self._counts = edges.astype(np.int64)
        self._rows = _rows(block, edges)
        self.total = self.candle(0, minutes)

    def candle(self, first: int, end: int) -> Candle | None:
        """The candle of the minutes ``first..end-1`` of the block."""
        low, high = int(self._counts[first]), int(self._counts[end])
        if low == high:
            return None
        rows = self._rows[first:end][np.diff(self._counts[first : end + 1]) > 0]
        sums = rows[:, 4:].sum(axis=0)
        return Candle(
            open=int(rows[0, 0]),
            high=int(rows[:, 1].max()),
            low=int(rows[:, 2].min()),
            close=int(rows[-1, 3]),
            volume=int(sums[0]),
            turnover=int(sums[1]),
            buy_volume=int(sums[2]),
            buy_turnover=int(sums[3]),
            count=high - low,
            first_id=self._trade_id + low,
            last_id=self._trade_id + high - 1,
        )


def _rows(block: Block, edges: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Open, high, low, close, volume, turnover and the same of buys, minute by minute; zeros where none traded."""
    rows = np.zeros((len(edges) - 1, 8), np.int64)
    full = np.flatnonzero(np.diff(edges) > 0)
    if not len(full):
        return rows
    starts, ends = edges[:-1][full], edges[1:][full]
    products = block.prices * block.sizes
    rows[full, 0], rows[full, 3] = block.prices[starts], block.prices[ends - 1]
    rows[full, 1] = np.maximum.reduceat(block.prices, starts)
    rows[full, 2] = np.minimum.reduceat(block.prices, starts)
    for column, values in enumerate((block.sizes, products, block.sizes * block.buys, products * block.buys), start=4):
        rows[full, column] = np.add.reduceat(values, starts)
    return rows
