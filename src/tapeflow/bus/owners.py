"""Who collects which symbol: one collector each, known to all by a topic, and fenced.

A claim is written under a transactional id that all collectors share, so that of two that claim at once the first is
fenced and has to look again. Who takes over from another becomes the one producer of that one's id, before and after
its claim is written: whatever the other still does is refused by the brokers, and if it begins anew, as after an
outage, it finds the claim (`others_of`) or is fenced once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import msgspec

from tapeflow.bus.client import Bus
from tapeflow.bus.follower import newest
from tapeflow.bus.publisher import Message, Publisher, message
from tapeflow.domain.errors import BusError, OwnerError

_ATTEMPTS = 5


class Owner(msgspec.Struct, frozen=True):
    """The value of a claim; its key is ``venue:symbol``."""

    collector: str


def owners(bus: Bus, topic: str) -> dict[str, str]:
    """The collector of each ``venue:symbol``; raises `BusError`."""
    return {key: owner.collector for key, owner in newest(bus, topic, Owner).items()}


def others_of(bus: Bus, topic: str, collector: str, wanted: Set[str]) -> frozenset[str]:
    """The keys that other collectors own. Raises `OwnerError` if a wanted one is among them, `BusError`."""
    known = owners(bus, topic)
    lost = {key: known[key] for key in wanted if known.get(key, collector) != collector}
    if lost:
        raise OwnerError(f"taken over meanwhile: {_told(lost)}; leave them to it, or take them back with --take-over")
    unknown = sorted(wanted - known.keys())
    if unknown:
        raise BusError(f"no claim of {', '.join(unknown[:10])} in {topic} any more; start the collector again")
    return frozenset(key for key, owner in known.items() if owner != collector)


def producer_id(topic: str, collector: str) -> str:
    """The transactional id of a collector."""
    return f"{topic}.{collector}"


def claim(bus: Bus, topic: str, collector: str, keys: Sequence[str], *, take_over: bool = False) -> set[str]:
    """Become the owner of ``venue:symbol`` keys; from whom they were taken. Raises `OwnerError`, `BusError`."""
    for _ in range(_ATTEMPTS):
        gate = Publisher(bus, topic)
        gate.open()
        known = owners(bus, topic)
        others = {key: known[key] for key in keys if known.get(key, collector) != collector}
        if others and not take_over:
            raise OwnerError(_said(others))
        _fence(bus, topic, others.values())
        fresh = [key for key in keys if known.get(key) != collector]
        try:
            gate.commit([(topic, [_claim(key, collector) for key in fresh])] if fresh else [])
        except OwnerError:
            continue  # somebody else claimed meanwhile
        _fence(bus, topic, others.values())  # also what has begun anew before it could read the claim
        return set(others.values())
    raise OwnerError("other collectors claim symbols all the time; start one after the other")


def _fence(bus: Bus, topic: str, collectors: Iterable[str]) -> None:
    for one in set(collectors):
        Publisher(bus, producer_id(topic, one)).open()


def _claim(key: str, collector: str) -> Message:
    return message(key.encode(), msgspec.json.encode(Owner(collector)))


def _said(others: dict[str, str]) -> str:
    return (
        f"collected already: {_told(others)}; leave them to it, or stop it and start this one with --take-over (it is "
        "fenced then, also if it still runs)"
    )


def _told(others: Mapping[str, str]) -> str:
    return ", ".join(f"{key} by {name}" for key, name in sorted(others.items())[:10])
