"""A recording of a few markets that never was: the same bytes for the same seed, on every machine."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from tapeflow.domain.events import Quote, Trade
from tapeflow.domain.time import MILLISECOND, SECOND
from tapeflow.sim import frames
from tapeflow.sim.chance import Chance
from tapeflow.sim.market import Market, profile
from tapeflow.sim.minute import MinuteBar

#: 2026-01-01T00:00:00Z.
START = 1_767_225_600 * SECOND

_STEP = 100 * MILLISECOND
_PUSH = 2 * SECOND
#: The answer with the book is taken this long after the start and arrives so much later: deltas wait for it.
_SNAPSHOT_AFTER = 500 * MILLISECOND
_SNAPSHOT_TAKES = 250 * MILLISECOND

_LEAST_DELAY = 20 * MILLISECOND
_MOST_DELAY = 80 * MILLISECOND
_LATE_PERMILLE = 10
_MOST_LATE = 1_500 * MILLISECOND


def sample_frames(
    seed: int = 7,
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "SOLUSDT"),
    seconds: int = 600,
    start_us: int = START,
) -> Iterator[tuple[int, bytes]]:
    """Frames of Binance's combined stream with the time they were received, in that order; they agree exactly.

    For each symbol: trades with consecutive ids, best prices, ``depth@100ms`` deltas, one bare REST answer with the
    book (its ``lastUpdateId`` lies within a delta received before it, and no other symbol has ids near), and the
    ``1m`` kline every two seconds. The book rebuilt from answer and deltas has the best prices that were pushed, and a
    kline holds all trades before the time of its push. A frame arrives 20 to 80 ms after its event; one trade in a
    hundred up to 1.5 s later still, behind frames that are younger.

    ``start_us`` is cut to a tenth of a second. The symbols come in order of their activity.
    """
    start_us -= start_us % _STEP
    wire = _Wire(seed)
    feeds = [_Feed(symbol, rank, seed, start_us) for rank, symbol in enumerate(symbols)]
    for end_us in range(start_us + _STEP, start_us + seconds * SECOND + 1, _STEP):
        for feed in feeds:
            feed.step(end_us, wire)
        yield from wire.deliver(end_us)
    yield from wire.deliver(None)


class _Feed:
    """All streams of one symbol."""

    def __init__(self, symbol: str, rank: int, seed: int, start_us: int) -> None:
        facts = profile(symbol, rank)
        self._market = Market(facts, seed, start_us)
        self._bar = MinuteBar(symbol, start_us, facts.price)
        self._snapshot_from: int | None = start_us + _SNAPSHOT_AFTER

    def step(self, end_us: int, wire: _Wire) -> None:
        """What happens until ``end_us``, put on the wire."""
        for event in self._market.advance(end_us):
            if isinstance(event, Trade):
                self._bar.add(event)
                wire.put_trade(event)
            else:
                self._quote(event, wire)
        delta = self._market.delta(end_us)
        if delta is not None:
            wire.put(end_us, frames.depth_update(delta))
        if end_us % _PUSH == 0:
            wire.put(end_us, frames.kline(self._bar.push(end_us)))

    def _quote(self, event: Quote, wire: _Wire) -> None:
        """The best prices; once, the whole book is asked for too, in the middle of a delta."""
        ts = event.ts_event or 0
        wire.put(ts, frames.book_ticker(event))
        if self._snapshot_from is not None and ts >= self._snapshot_from:
            self._snapshot_from = None
            wire.put_at(ts + _SNAPSHOT_TAKES, frames.depth_answer(self._market.snapshot()))


class _Wire:
    """Delays frames, and gives them out in the order in which they are received."""

    def __init__(self, seed: int) -> None:
        self._chance = Chance(seed, "wire")
        self._delay = (_LEAST_DELAY + _MOST_DELAY) // 2
        self._last = 0
        self._number = 0
        self._sent: list[tuple[int, int, bytes, int]] = []
        self._under_way: list[tuple[int, int, bytes]] = []

    def put(self, ts: int, frame: bytes, late_us: int = 0) -> None:
        """A frame that the venue sends at ``ts``."""
        self._number += 1
        self._sent.append((ts, self._number, frame, late_us))

    def put_trade(self, event: Trade) -> None:
        """A trade, sent within 2 ms of its time; a few are held up."""
        sent_us = event.ts_event + self._chance.below(3) * MILLISECOND
        late_us = 1 + self._chance.below(_MOST_LATE) if self._chance.hits(_LATE_PERMILLE) else 0
        self.put(event.ts_event, frames.trade(event, sent_us), late_us)

    def put_at(self, recv_us: int, frame: bytes) -> None:
        """A frame that is received at a time that is known."""
        self._number += 1
        heapq.heappush(self._under_way, (recv_us, self._number, frame))

    def deliver(self, until_us: int | None) -> Iterator[tuple[int, bytes]]:
        """What is received before ``until_us`` (None: all that is left). Everything before it must have been put."""
        for ts, number, frame, late_us in sorted(self._sent):
            heapq.heappush(self._under_way, (self._received(ts) + late_us, number, frame))
        self._sent.clear()
        while self._under_way and (until_us is None or self._under_way[0][0] < until_us):
            recv_us, _, frame = heapq.heappop(self._under_way)
            yield recv_us, frame

    def _received(self, ts: int) -> int:
        """The delay wanders slowly and no frame overtakes another, as on one connection."""
        delay = self._delay + self._chance.below(2 * MILLISECOND + 1) - MILLISECOND
        self._delay = max(_LEAST_DELAY + 2 * MILLISECOND, min(delay, _MOST_DELAY - MILLISECOND))
        self._last = max(self._last + 1, ts + self._delay)
        return self._last
