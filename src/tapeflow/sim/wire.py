"""Numbers and rows as the venue writes them: eight decimals in strings, times in the unit that was asked for.

Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md and rest-api.md, commit a5e0bc3, read 2026-07.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tapeflow.sim.candle import Candle
from tapeflow.sim.edition import Run
from tapeflow.sim.spec import SCALE, Spec
from tapeflow.sim.spot import Side

#: Microseconds of the unit of time.
MILLI, MICRO = 1_000, 1


def decimal(digits: int) -> Callable[[int], str]:
    """The writer of numbers that have so many digits after the point: exact, with eight of them."""
    if digits == 0:
        return lambda value: f"{value}.00000000"
    one, zeros = 10**digits, "0" * (SCALE - digits)

    def text(value: int) -> str:
        whole, fraction = divmod(value, one)
        return f"{whole}.{fraction:0{digits}d}{zeros}"

    def signed(value: int) -> str:
        return text(value) if value >= 0 else "-" + text(-value)

    return signed


class Text:
    """How the numbers of one market are written."""

    __slots__ = ("eight", "price", "size", "turnover")

    def __init__(self, spec: Spec) -> None:
        self.price = decimal(spec.tick_digits)
        self.size = decimal(spec.step_digits)
        self.turnover = decimal(spec.tick_digits + spec.step_digits)
        self.eight = decimal(SCALE)

    def levels(self, levels: list[tuple[int, int]]) -> str:
        """Levels of a book."""
        price, size = self.price, self.size
        return "[" + ",".join([f'["{price(at)}","{size(of)}"]' for at, of in levels]) + "]"


def best(side: Side, depth: int) -> list[tuple[int, int]]:
    """The first levels of a side of the book."""
    return list(side.items())[:depth]


def boolean(value: bool, /) -> str:  # noqa: FBT001 - the value, not a switch
    """As JSON writes it."""
    return "true" if value else "false"


Trade = tuple[int, int, int, int, bool]
Aggregate = tuple[int, int, int, int, bool, int, int]


def trades(run: Run) -> Iterator[Trade]:
    """Time, id, price, size and whether the taker bought, of each trade."""
    block, low, high = run.block, run.low, run.high
    first = block.trade_id + run.trade_shift + low
    return zip(
        block.times[low:high].tolist(),
        range(first, first + high - low),
        block.prices[low:high].tolist(),
        block.sizes[low:high].tolist(),
        block.buys[low:high].tolist(),
        strict=True,
    )


def aggregates(run: Run) -> Iterator[Aggregate]:
    """Time, id, price, size, whether the taker bought, first and last trade id, of each aggregate."""
    block = run.block
    first, stop = np.searchsorted(block.aggregates, (run.low, run.high)).tolist()
    starts = block.aggregates[first:stop]
    if not len(starts):
        return iter(())
    ends = np.append(starts[1:], run.high)
    id, shift = block.aggregate_id + run.aggregate_shift + first, block.trade_id + run.trade_shift
    return zip(
        block.times[starts].tolist(),
        range(id, id + stop - first),
        block.prices[starts].tolist(),
        np.add.reduceat(block.sizes[: run.high], starts).tolist(),
        block.buys[starts].tolist(),
        (starts + shift).tolist(),
        (ends - 1 + shift).tolist(),
        strict=True,
    )


def flat(price: int) -> Candle:
    """The candle of a time without trades: it repeats the last price and names no trade."""
    return Candle(price, price, price, price, 0, 0, 0, 0, 0, -1, -1)


def mean_price(spec: Spec, candle: Candle) -> int:
    """Turnover over volume with eight decimals, cut; the close where nothing traded."""
    if not candle.volume:
        return int(candle.close * 10 ** (SCALE - spec.tick_digits))
    return int(candle.turnover * 10 ** (SCALE - spec.tick_digits) // candle.volume)


def percent(candle: Candle) -> str:
    """The change from open to close in percent, three decimals."""
    thousandths = (candle.close - candle.open) * 100_000 // candle.open
    sign, size = ("-", -thousandths) if thousandths < 0 else ("", thousandths)
    return f"{sign}{size // 1000}.{size % 1000:03d}"
