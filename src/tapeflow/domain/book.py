"""An order book kept from absolute levels."""

from __future__ import annotations

from bisect import bisect_left

from tapeflow.domain.events import Levels


class OrderBook:
    """Two sides of price levels, sorted; prices and sizes are mantissas. ``id`` is the last update contained."""

    __slots__ = ("_asks", "_bids", "_sizes", "id")

    def __init__(self) -> None:
        self.id = -1
        # Ask prices are kept negated: on both sides the best price then stands last, where changes are most frequent
        # and a list moves the fewest elements; and one dictionary of sizes serves both sides.
        self._bids: list[int] = []
        self._asks: list[int] = []
        self._sizes: dict[int, int] = {}

    def reset(self, id: int, bids: Levels, asks: Levels) -> None:
        """Become exactly this snapshot."""
        self._bids.clear()
        self._asks.clear()
        self._sizes.clear()
        self.apply(id, bids, asks)

    def apply(self, id: int, bids: Levels, asks: Levels) -> None:
        """Set absolute sizes; zero removes a level, and removing one that is not there is normal."""
        for price, size in bids:
            self._set(self._bids, price, size)
        for price, size in asks:
            self._set(self._asks, -price, size)
        self.id = id

    def _set(self, side: list[int], key: int, size: int) -> None:
        if size:
            if key not in self._sizes:
                side.insert(bisect_left(side, key), key)
            self._sizes[key] = size
        elif self._sizes.pop(key, None) is not None:
            del side[bisect_left(side, key)]

    def bids(self, depth: int | None = None) -> Levels:
        """The best ``depth`` bids, best first."""
        return tuple((price, self._sizes[price]) for price in _last(self._bids, depth))

    def asks(self, depth: int | None = None) -> Levels:
        """The best ``depth`` asks, best first."""
        return tuple((-price, self._sizes[price]) for price in _last(self._asks, depth))

    @property
    def is_crossed(self) -> bool:
        return bool(self._bids and self._asks) and self._bids[-1] >= -self._asks[-1]

    def __len__(self) -> int:
        return len(self._sizes)


def _last(side: list[int], depth: int | None) -> list[int]:
    """The last ``depth`` elements (all for None, none for 0), the very last first."""
    return side[::-1] if depth is None else side[: -depth - 1 : -1]
