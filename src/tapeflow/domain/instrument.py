"""Instruments: what a symbol's numbers mean, and from when."""

from __future__ import annotations

import msgspec


class Instrument(msgspec.Struct, frozen=True):
    """One version of an instrument, valid from ``valid_from`` (microseconds) until the next version.

    ``price_scale`` and ``size_scale`` are the digits after the point of its mantissas: those of the venue's wire,
    so that a change of tick never changes the meaning of a number already kept. ``tick`` and ``step`` are decimal
    texts; ``multiplier`` turns size into the underlying.
    """

    venue: str
    symbol: str
    base: str
    quote: str
    price_scale: int
    size_scale: int
    tick: str | None = None
    step: str | None = None
    lot: str = "1"
    multiplier: str = "1"
    size_unit: str = ""
    status: str = "unknown"
    valid_from: int = 0


class Instruments:
    """The versions of every instrument of a venue, in time order."""

    def __init__(self) -> None:
        self._versions: dict[str, list[Instrument]] = {}

    def add(self, instrument: Instrument) -> bool:
        """Keep a version; True if it differs from the newest one known (an identical restatement adds nothing)."""
        versions = self._versions.setdefault(instrument.symbol, [])
        if versions:
            newest = versions[-1]
            if instrument.valid_from < newest.valid_from:
                return False
            if msgspec.structs.replace(instrument, valid_from=newest.valid_from) == newest:
                return False
        versions.append(instrument)
        return True

    def at(self, symbol: str, ts: int | None = None) -> Instrument | None:
        """The version in force at ``ts`` (the newest for None); the first one for a time before it was listed."""
        versions = self._versions.get(symbol)
        if not versions:
            return None
        if ts is None:
            return versions[-1]
        in_force = [version for version in versions if version.valid_from <= ts]
        return in_force[-1] if in_force else versions[0]

    def versions(self, symbol: str) -> tuple[Instrument, ...]:
        return tuple(self._versions.get(symbol, ()))

    def symbols(self) -> tuple[str, ...]:
        return tuple(self._versions)
