"""How far a tape is published: a row for each collector, under its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from tapeflow.bus.client import Bus
from tapeflow.bus.follower import newest
from tapeflow.domain.errors import OwnerError


class Place(msgspec.Struct, frozen=True):
    """What a collector has published: the value of its row in the topic `collectors`.

    What an earlier release did not write is empty.
    """

    position: int = 0
    fingerprint: str = ""
    epoch: str = ""
    #: The channels whose events are published.
    channels: tuple[str, ...] = ()
    #: The process that publishes, and the tape that it publishes.
    life: str = ""
    tape: str = ""


class Tape(NamedTuple):
    """The tape of a process: its identity, where it ended at the start, and whether it may take another's place."""

    id: str
    end: int
    takes_over: bool = False


def places(bus: Bus, topic: str) -> dict[str, Place]:
    """The place of each collector, by name; raises `BusError`."""
    return newest(bus, topic, Place)


def place_of(tape: Tape, name: str, known: Mapping[str, Place]) -> tuple[Place, list[str]]:
    """Where a tape goes on as the collector of a name, and under which names it has a place that is void then.

    A tape that was published under another name goes on there. One that takes the place of another tape begins where
    it ends: the other one has published what it holds. Raises `OwnerError` where the name is of another tape.
    """
    own = known.get(name)
    if own is not None and own.tape in ("", tape.id):
        return own, []
    if own is not None and not tape.takes_over:
        raise OwnerError(
            f"another tape is published as collector {name!r}: give this one another name in [bus], or start it once "
            "with --role collector --take-over, and it goes on in the other's place with what comes from then on"
        )
    former = [other for other, place in known.items() if place.tape == tape.id]
    if former:
        return max((known[other] for other in former), key=lambda place: place.position), former
    return Place(position=0 if own is None else tape.end), []
