"""A block: a few minutes of one market, generated whole from its number."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from tapeflow.domain.time import MILLISECOND, SECOND
from tapeflow.sim import mix
from tapeflow.sim.calendar import ORIGIN, Calendar
from tapeflow.sim.depth import ASK, BID, Depth
from tapeflow.sim.mix import Ints
from tapeflow.sim.path import Path
from tapeflow.sim.spec import GROUP_AGGREGATES, GROUP_ORDERS, GROUP_TRADES, Spec

#: Activity is a product of random weights, one for the cell of each of these lengths that a time lies in.
_CELLS = (1200 * SECOND, 300 * SECOND, 60 * SECOND, 12 * SECOND, 3 * SECOND, 600 * MILLISECOND, 100 * MILLISECOND)
_WEIGHTS = np.array((20, 24, 28, 32, 37, 42, 47, 52, 58, 64, 71, 79, 89, 100, 116, 136), np.int64)

#: Level of the book of each fill of an order; equal levels make one aggregate.
_FILLS = ((0,), (0,), (0, 0), (0,), (0, 1), (0,), (0,), (0, 0, 1))


def _turned() -> tuple[Ints, Ints, Ints]:
    """For each turn of the pattern: order and level of its fills, and where its aggregates begin."""
    orders, levels, starts = [], [], []
    for turn in range(GROUP_ORDERS):
        fills = _FILLS[turn:] + _FILLS[:turn]
        flat = [(number, level) for number, of_order in enumerate(fills) for level in of_order]
        orders.append([number for number, _ in flat])
        levels.append([level for _, level in flat])
        starts.append([at for at, fill in enumerate(flat) if at == 0 or fill != flat[at - 1]])
    return np.array(orders), np.array(levels), np.array(starts)


_ORDERS, _LEVELS, _STARTS = _turned()


class Block(msgspec.Struct, frozen=True):
    """Trades and best prices of a block, as columns. Trades of one order have the same time and lie together."""

    number: int
    start: int
    #: Ids of the first trade and the first aggregate.
    trade_id: int
    aggregate_id: int
    #: By trade: microseconds, ticks, steps, taker bought.
    times: Ints
    prices: Ints
    sizes: Ints
    buys: npt.NDArray[np.bool_]
    #: By aggregate: the place of its first trade.
    aggregates: Ints
    #: By slot: best prices, and the number of the block's first slot.
    bids: Ints
    asks: Ints
    slot: int


class Maker:
    """Makes the blocks of one market; a block is a function of (seed, spec, number) and nothing else."""

    def __init__(self, spec: Spec, seed: int, calendar: Calendar, depth: Depth) -> None:
        self._spec = spec
        self._calendar = calendar
        self._depth = depth
        self._path = Path(spec, seed, calendar)
        self._cells = [length for length in _CELLS if length >= spec.slot_us]
        self._heat = [mix.key(seed, spec.symbol, "heat", length) for length in self._cells]
        self._orders = mix.key(seed, spec.symbol, "orders")
        self._fills = mix.key(seed, spec.symbol, "fills")
        self._turns = mix.key(seed, spec.symbol, "turns")

    def block(self, number: int) -> Block:
        """Everything that happens in this block."""
        spec = self._spec
        start = self._calendar.start(number)
        first_slot = (start - ORIGIN) // spec.slot_us
        slots = first_slot + np.arange(spec.block_us // spec.slot_us, dtype=np.int64)
        activity = self._activity(slots)
        fair = self._path.inside(number, slots, activity)
        bids = np.maximum(np.floor(fair).astype(np.int64), 2 * spec.gap)
        asks = bids + self._depth.spread(slots)
        group = self._calendar.groups_before(number)
        groups = group + np.arange(self._calendar.groups_before(number + 1) - group, dtype=np.int64)
        places, offsets, buys = self._takers(groups, activity, bids)
        turns = mix.field(mix.draws(self._turns, groups), 0, 3)
        local = (groups - group)[:, None]
        orders = (local * GROUP_ORDERS + _ORDERS[turns]).reshape(-1)
        prices = self._prices(places[orders], buys[orders], _LEVELS[turns].reshape(-1), bids, asks, first_slot)
        return Block(
            number=number,
            start=start,
            trade_id=group * GROUP_TRADES,
            aggregate_id=group * GROUP_AGGREGATES,
            times=(start + places * spec.slot_us + offsets)[orders],
            prices=prices,
            sizes=self._sizes(group * GROUP_TRADES, len(orders)),
            buys=buys[orders],
            aggregates=(local * GROUP_TRADES + _STARTS[turns]).reshape(-1),
            bids=bids,
            asks=asks,
            slot=first_slot,
        )

    def _activity(self, slots: Ints) -> Ints:
        """A weight for each slot; its cells reach over the edges of blocks."""
        activity = np.full(len(slots), 1 << 16, np.int64)
        for length, state in zip(self._cells, self._heat, strict=True):
            cells = slots * self._spec.slot_us // length
            first = int(cells[0])
            bits = mix.draws(state, first + np.arange(int(cells[-1]) - first + 1, dtype=np.int64))
            activity = (activity * _WEIGHTS[mix.field(bits, 0, 4)][cells - first]) >> 6
        return activity + 64

    def _takers(self, groups: Ints, activity: Ints, bids: Ints) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
        """Slot, time in the slot and side of each order: more where there is activity, leaning with the price."""
        count = len(groups) * GROUP_ORDERS
        local = np.arange(count, dtype=np.int64)
        bits = mix.draws(self._orders, local + int(groups[0]) * GROUP_ORDERS if count else local)
        sums = np.cumsum(activity)
        total = int(sums[-1])
        targets = local * total // max(count, 1) + (mix.field(bits, 0, 16) * (total // max(count, 1)) >> 16)
        places = np.searchsorted(sums, targets, side="right").astype(np.int64)
        offsets = (targets - sums[places] + activity[places]) * self._spec.slot_us // activity[places]
        trend = np.diff(bids, append=bids[-1:])
        lean = np.clip(trend[places] * 40 // self._spec.gap, -70, 70)
        return places, offsets, mix.field(bits, 16, 8) < 128 + lean

    def _prices(
        self, places: Ints, buys: npt.NDArray[np.bool_], levels: Ints, bids: Ints, asks: Ints, first_slot: int
    ) -> Ints:
        prices = np.where(buys, asks[places], bids[places])
        for side, takers in ((ASK, buys), (BID, ~buys)):
            deeper = np.flatnonzero(takers & (levels == 1))
            prices[deeper] = self._depth.behind(side, prices[deeper], places[deeper] + first_slot)
        return prices

    def _sizes(self, first: int, count: int) -> Ints:
        """Mostly small, now and then large."""
        bits = mix.draws(self._fills, first + np.arange(count, dtype=np.int64))
        sizes = 1 + self._spec.order_size * 160 // (mix.field(bits, 0, 12) + 90)
        return np.where(mix.field(bits, 12, 5) == 0, sizes * (2 + mix.field(bits, 17, 4)), sizes)
