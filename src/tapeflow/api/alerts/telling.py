"""Having the targets of the rules told: what fired until each has taken it, and a test when somebody asks."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tapeflow.api.alerts.journal import Delivery, Entry, Event, Line
from tapeflow.api.alerts.ledger import Ledger
from tapeflow.api.alerts.outbox import Outbox
from tapeflow.api.alerts.rulebook import Rulebook
from tapeflow.api.alerts.rules import Rule, Target
from tapeflow.api.alerts.targets import Teller, Undelivered


class Telling:
    """`begin` and `end` in the server's loop, everything between there too, but `status`."""

    def __init__(self, ledger: Ledger, book: Rulebook) -> None:
        self._ledger = ledger
        self._book = book
        self._teller: Teller | None = None
        self._outbox: Outbox | None = None
        self._counts = {"delivered": 0, "failed": 0, "failures": 0}
        self._waiting = 0

    def begin(self, teller: Teller) -> None:
        """Go on with what was not told."""
        self._teller = teller
        self._outbox = Outbox(self._target, teller.tell, self._mark)
        for entry in self._ledger.journal.entries.values():
            self.send(entry)

    async def end(self) -> None:
        """Stop; the journal has what waits."""
        if self._outbox is not None and self._teller is not None:
            await self._outbox.close()
            await self._teller.close()

    def status(self) -> dict[str, int]:
        """Deliveries by what became of them; from any thread."""
        return self._counts | {"waiting": self._waiting}

    def send(self, entry: Entry) -> None:
        """Have those told who were not."""
        assert self._outbox is not None
        for name, delivery in entry.deliveries.items():
            if delivery.state == "waiting":
                self._waiting += 1
                self._outbox.put(entry.event, name, delivery)

    def lose(self, count: int) -> None:
        """So many deliveries were given up to make room in the journal."""
        self._counts["failed"] += count
        self._waiting -= count

    def wake(self, rule: str) -> None:
        """A rule has changed: its targets are tried at once."""
        if self._outbox is not None:
            self._outbox.wake(rule)

    async def test(self, rule: Rule) -> list[dict[str, Any]]:
        """What happens when the targets of a rule are told of something that did not happen."""
        now = time.time_ns() // 1000
        text = f"a test of the alert {rule.name or rule.id}; nothing has happened"
        level = getattr(rule.when, "level", None)
        id, symbol = f"{rule.id}.test.{now}", rule.when.symbol
        event = Event(id, rule.id, now, symbol, None, level, text, rule.name, now, test=True)
        return list(await asyncio.gather(*(self._try(target, event) for target in rule.targets)))

    async def _try(self, target: Target, event: Event) -> dict[str, Any]:
        assert self._teller is not None
        began = time.monotonic()
        try:
            await self._teller.tell(target, event)
            error = ""
        except Undelivered as problem:
            error = str(problem)
        took = round((time.monotonic() - began) * 1000)
        return {"target": target.name, "delivered": not error, "error": error, "ms": took, "event": event.id}

    def _target(self, rule: str, name: str) -> Target | None:
        kept = self._book.rules.get(rule)
        return next((target for target in kept.targets if target.name == name), None) if kept is not None else None

    async def _mark(self, event: Event, target: str, delivery: Delivery) -> None:
        if event.id not in self._ledger.journal.entries:
            return  # dropped, and counted then
        line = Line(told=((event.id, target, delivery),))
        self._ledger.journal.take(line)
        if delivery.state == "waiting":
            self._counts["failures"] += 1
        else:
            self._counts[delivery.state] += 1
            self._waiting -= 1
        await self._ledger.write(line, sync=False)
