"""What begins when a fault is asked for: some only stand in the list, others act at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from tapeflow.domain.time import SECOND
from tapeflow.exchange.clock import seconds
from tapeflow.exchange.faults import Fault, Planned
from tapeflow.exchange.frames import frame

if TYPE_CHECKING:
    from tapeflow.exchange.server import SimulatedVenue


class Misbehaviour:
    """`begin` a fault, `end` all of them."""

    def __init__(self, venue: SimulatedVenue) -> None:
        self._venue = venue
        #: Told of every fault that a schedule begins.
        self.report: Callable[[dict[str, object]], None] = lambda row: None

    def begin(self, fault: Fault) -> int:
        """The fault is in force when this returns; its number."""
        number = self._venue.faults.add(fault, seconds())
        match fault.kind:
            case "skip_ids" | "maintenance" | "list" | "delist":
                self._change_market(fault)
            case "shutdown":
                self._venue.say_shutdown()
                self._venue.spawn(self._shut_down(fault))
            case "ban":
                self._venue.limits.ban(fault.retry_after or fault.seconds, seconds())
            case _:
                self._touch_connections(fault)
        return number

    def end(self) -> None:
        """Nothing is wrong any more; ids that were skipped stay so."""
        venue = self._venue
        now = venue.clock.now()
        for fault in venue.faults.clear():
            if fault.kind == "maintenance":
                for edition in venue.listings.chosen(fault.symbol):
                    edition.resume(now)
                venue.broadcast.remake()
        venue.limits.pardon()
        for client in venue.connections:
            if client.frozen_until != float("inf"):
                client.frozen_until = 0.0

    def _change_market(self, fault: Fault) -> None:
        listings, now = self._venue.listings, self._venue.clock.now()
        if fault.kind == "list":
            listings.add(now)
        for edition in listings.chosen(fault.symbol):
            match fault.kind:
                case "skip_ids":
                    edition.skip(now, fault.count)
                case "maintenance":
                    edition.halt(now, now + int(fault.seconds * self._venue.clock.speed * SECOND))
                case "delist":
                    edition.end(now)
        self._venue.broadcast.remake()

    def _touch_connections(self, fault: Fault) -> None:
        chance = self._venue.faults.chance
        for client in list(self._venue.connections):
            if not chance.hits(fault.permille):
                continue
            match fault.kind:
                case "cut":
                    client.reset()
                case "close":
                    client.close(fault.code)
                case "freeze":
                    client.frozen_until = seconds() + fault.seconds
                case "half_close":
                    client.end_sending()
                case "huge":
                    client.put(frame(b'{"e":"huge","x":"' + b"x" * max(0, fault.bytes - 19) + b'"}'))

    async def _shut_down(self, fault: Fault) -> None:
        await asyncio.sleep(fault.seconds)
        for client in list(self._venue.connections):
            client.close(1001, "Server shutdown")

    def run(self, planned: list[Planned]) -> list[dict[str, object]]:
        """Begin the faults of a schedule, each at its time; the schedule as a list."""
        self._venue.spawn(self._run(planned))
        return [{"at": one.at, **msgspec.structs.asdict(one.fault)} for one in planned]

    async def _run(self, planned: list[Planned]) -> None:
        began = seconds()
        for one in planned:
            await asyncio.sleep(max(0.0, began + one.at - seconds()))
            self.begin(one.fault)
            self.report({"at": round(seconds() - began, 3), **msgspec.structs.asdict(one.fault)})
