"""The symbols that the venue trades at the moment."""

from __future__ import annotations

from tapeflow.domain.time import DAY
from tapeflow.sim.edition import FOREVER, Edition
from tapeflow.sim.spec import spec, specs
from tapeflow.sim.spot import SpotMarket

#: A thousandth of the busiest symbol's trades: what a symbol listed later gets.
_LATER = 50


class Listings:
    """All editions by symbol, in order of activity."""

    def __init__(self, seed: int, rate: float, count: int, now: int, days: int) -> None:
        self._seed = seed
        self._rate = rate
        listed = (now - days * DAY) // DAY * DAY
        self.editions = {one.symbol: Edition(SpotMarket(one, seed), listed) for one in specs(seed, rate, count)}

    def get(self, symbol: str) -> Edition | None:
        return self.editions.get(symbol)

    def chosen(self, symbol: str | None) -> list[Edition]:
        """The edition of this symbol, or all for None or an empty name."""
        if not symbol:
            return list(self.editions.values())
        edition = self.editions.get(symbol.upper())
        return [] if edition is None else [edition]

    def add(self, at: int) -> Edition:
        """A symbol that nobody traded before ``at``."""
        one = spec(self._seed, len(self.editions), max(0.5, self._rate / _LATER))
        edition = self.editions[one.symbol] = Edition(SpotMarket(one, self._seed), at)
        return edition

    def status(self, edition: Edition, at: int) -> str:
        """The symbol's status in ``exchangeInfo``."""
        return "TRADING" if edition.is_trading(at) else "BREAK"

    def is_halted(self, at: int) -> bool:
        """True in a maintenance of the whole venue."""
        open_ones = [edition for edition in self.editions.values() if edition.ended == FOREVER]
        return bool(open_ones) and not any(edition.is_trading(at) for edition in open_ones)
