"""What a rule sees in rows: pure, from one state to the next. The same rows give the same sightings, in any restart.

Trades come in the order of their making, holes filled later. A crossing lies between two trades whose ids are next to
one another among those known; a trade from a hole splits such a pair. Each pair that crosses is told once: where a hole
between two sides was told as one crossing, what fills it adds only the crossings that it makes more.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

from tapeflow.api.alerts.rules import Coverage, Indicator, Level, Price, Stale

#: Holes remembered for a rule, and holes of coverage; the oldest go first.
KEPT = 64
#: Reasons of a hole that is not being filled any more.
GIVEN_UP = ("not_at_venue", "venue_unreachable")


class Trade(msgspec.Struct, frozen=True):
    """Of a row of ``trades``."""

    id: str
    price: str
    ts_event: int | None = None
    ts_recv: int | None = None


class Value(msgspec.Struct, frozen=True):
    """Of a row of ``indicators``."""

    ts_start: int
    ts_end: int
    values: dict[str, float | None]
    revision: int = 0


class Span(msgspec.Struct, frozen=True):
    """Of a row of ``coverage``."""

    stream: str
    ts_start: int
    ts_end: int
    state: str
    reason: str | None = None


class Hole(NamedTuple):
    """Ids between two trades that have not come: the ids and sides of these, and price and time of the later one."""

    first: int
    before: bool | None
    last: int
    after: bool | None
    price: str
    ts: int


class State(msgspec.Struct, omit_defaults=True):
    """What a rule remembers: all of it, so that a restart goes on from it."""

    side: bool | None = None
    before: bool | None = None
    last: int | None = None
    holes: list[Hole] = []
    known: list[tuple[str, int, int]] | None = None
    heard: int | None = None
    fired: int | None = None
    is_done: bool = False


class Sighting(NamedTuple):
    """Something to be told: the row's identity, its time, what was seen."""

    row: str
    ts: int
    value: str | float | None
    level: str | None
    text: str


def trade(when: Price, level: Level, state: State, row: Trade) -> Sighting | None:
    """A trade; late ones as the module says. Ids that are no numbers count in the order of their coming."""
    ts = row.ts_event if row.ts_event is not None else row.ts_recv or 0
    price = Decimal(row.price)
    number = int(row.id) if row.id.isascii() and row.id.isdigit() else None
    if number is not None and state.last is not None and number <= state.last:
        return _late(when, level, state, number, row.price, price, ts)
    before, state.side = state.side, level.side(price, state.side)
    if number is not None:
        if state.last is not None and number > state.last + 1:
            state.holes = [*state.holes, Hole(state.last, before, number, state.side, row.price, ts)][-KEPT:]
        state.last = number
    return _crossed(when, row.id, ts, row.price) if before is False and state.side else None


def _late(when: Price, level: Level, state: State, number: int, text: str, price: Decimal, ts: int) -> Sighting | None:
    hole = next((one for one in state.holes if one.first < number < one.last), None)
    if hole is None:
        return None  # seen before, or older than all that is remembered
    side = level.side(price, hole.before)
    halves = [hole._replace(last=number, after=side, price=text, ts=ts), hole._replace(first=number, before=side)]
    at = state.holes.index(hole)
    state.holes = [*state.holes[:at], *(one for one in halves if one.last > one.first + 1), *state.holes[at + 1 :]]
    if hole.before is False and hole.after is False and side:
        return _crossed(when, str(number), ts, text)
    if hole.before and hole.after and side is False:
        return _crossed(when, f"{number}-{hole.last}", hole.ts, hole.price)
    return None


def _crossed(when: Price, row: str, ts: int, price: str) -> Sighting:
    return Sighting(row, ts, price, when.level, f"{when.symbol} {price} crossed {when.crosses} {when.level}")


def value(when: Indicator, level: Level, state: State, row: Value) -> Sighting | None:
    """A closed value, or a revision of the newest one; a revision of an older one is no news."""
    found = row.values.get(when.field)
    if found is None or (state.last is not None and row.ts_start < state.last):
        return None
    was = None
    if row.ts_start == state.last:
        was = state.side
    else:
        state.before = state.side
    state.last, state.side = row.ts_start, level.side(Decimal(found), state.before)
    if state.before is not False or not state.side or was:
        return None
    text = f"{when.symbol} {when.interval} {when.name}.{when.field} {found!r} crossed {when.crosses} {when.level}"
    return Sighting(f"{row.ts_start}.{row.revision}", row.ts_end, found, when.level, text)


def spans(when: Coverage, state: State, rows: list[Span]) -> list[Sighting]:
    """All coverage of a symbol as it stands; holes at the beginning are known, and so are their parts."""
    now = [
        row
        for row in rows
        if row.state == "gap" and row.stream == when.stream and (when.on == "opened" or row.reason in GIVEN_UP)
    ]
    found, known, kept = [], state.known, []
    for row in now:
        of = next((k for k in known or () if k[0] == row.stream and k[1] <= row.ts_start and row.ts_end <= k[2]), None)
        kept.append(of or (row.stream, row.ts_start, row.ts_end))
        if of is None and known is not None:
            word = "opened" if when.on == "opened" else "was given up"
            text = f"{when.symbol} {row.stream}: a hole {word} ({row.reason})"
            found.append(Sighting(f"{row.stream}.{row.ts_start}.{when.on}", row.ts_start, row.reason, None, text))
    state.known = list(dict.fromkeys(kept))[-1000:]
    return found


def silence(when: Stale, state: State, mark: int | None, now: int) -> Sighting | None:
    """The time of the newest event, looked at ``now`` and then; told once for each silence."""
    if mark != state.last or state.heard is None:
        state.last, state.heard, state.side = mark, now, False
        return None
    if state.side or now - state.heard <= when.seconds * 1e6:
        return None
    state.side = True
    what = "no trade" if when.stream == "trades" else "nothing"
    text = f"{what} of {when.symbol} for {(now - state.heard) / 1e6:.0f} s"
    return Sighting(str(mark or 0), now, round((now - state.heard) / 1e6, 1), f"{when.seconds:g}", text)
