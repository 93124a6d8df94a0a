"""The desk: follows the topics of the rules, judges what comes, and has it told. It lives in the loop of the server.

One worker judges: a message of a topic at a time, by every rule of it. What was seen is in the journal, with the cursor
of the message and the states after it, before the next one is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec

from tapeflow.api.alerts import watch
from tapeflow.api.alerts.follower import Follower, name_of, topic_of
from tapeflow.api.alerts.journal import Delivery, Entry, Event, Journal
from tapeflow.api.alerts.ledger import AGAIN_S, Ledger
from tapeflow.api.alerts.rulebook import Rulebook
from tapeflow.api.alerts.rules import Coverage, Draft, Indicator, Level, Price, Rule, Stale, check, merged
from tapeflow.api.alerts.targets import Teller
from tapeflow.api.alerts.targets import check as check_target
from tapeflow.api.alerts.telling import Telling
from tapeflow.api.alerts.watch import Sighting, State
from tapeflow.api.hub import Hub
from tapeflow.api.topics import Refusal, Topic
from tapeflow.domain.errors import TapeflowError

#: How far each rule has seen is written so often; what came after is looked at again after a kill.
STATE_S = 2.0
#: Silence is looked for so often.
TICK_S = 1.0

_LOG = logging.getLogger("tapeflow.api.alerts")


class Present(Protocol):
    """What the desk asks of a run. Quick, from any thread."""

    def is_live(self) -> bool:
        """True once the tape was played to its end: every row that was ever given has its number again."""
        ...

    def find(self, asked: dict[str, Any]) -> list[Topic]:
        """The topics of a subscription of symbols that are followed; raises `Refusal`."""
        ...

    def topic(self, asked: dict[str, Any]) -> Topic:
        """A topic, whether its symbol is followed yet or not; raises `Refusal` where no flow makes its rows."""
        ...

    def newest(self, symbol: str, stream: str) -> int | None:
        """The time of the newest trade of a symbol, or of its newest event of ``any`` stream."""
        ...


class TooMany(TapeflowError):
    """There are as many rules as there may be."""

    def __init__(self, most: int) -> None:
        super().__init__(f"there are {most} rules, as many as `limit` of [alerts] allows; remove one first")


class UnknownRule(TapeflowError):
    """There is no such rule."""

    def __init__(self, id: str) -> None:
        super().__init__(f"no alert {id[:40]!r}; GET /v1/alerts lists those there are")


class Bounds(msgspec.Struct, frozen=True):
    """What ``[alerts]`` of the settings says."""

    allow_private: bool = False
    has_apprise: bool = False
    rules: int = 1000


class Desk:
    """See the module. `begin` and `end` in the server's loop, everything between there too, but `status`."""

    def __init__(self, book: Rulebook, journal: Journal, hub: Hub, present: Present, bounds: Bounds) -> None:
        self.book = book
        self.journal = journal
        self.bounds = bounds
        self._hub = hub
        self._present = present
        self._levels: dict[str, Level] = {}
        self._by_topic: dict[str, dict[str, Rule]] = {}
        self._stale: dict[str, Rule] = {}
        self._followers: dict[str, Follower] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._problems: dict[str, str] = {}
        self._called = asyncio.Event()
        self._saved = 0.0
        self._editing = asyncio.Lock()
        self._ledger = Ledger(journal)
        self._telling = Telling(self._ledger, book)
        self._tasks: list[asyncio.Task[None]] = []
        self._counts = {"fired": 0, "restarts": 0}
        self._is_open = False
        self._problem = ""

    # -- life ------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Go on where the journal ends: tell what was not told, then look at what came meanwhile."""
        self._telling.begin(Teller(allow_private=self.bounds.allow_private, has_apprise=self.bounds.has_apprise))
        for id in self.journal.states.keys() - self.book.rules.keys():
            self._ledger.forget(id)
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._admit())]

    async def end(self) -> None:
        """Stop where it is; the journal has it."""
        for task in (*self._tasks, *self._following.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._following.values(), return_exceptions=True)
        await self._telling.end()
        self._ledger.close()

    def status(self) -> dict[str, Any]:
        """What an operator wants to see; from any thread."""
        rules = {"rules": len(self.book.rules), "not_judged": len(self._problems)}
        return rules | self._counts | self._telling.status() | {"problem": self._ledger.problem or self._problem}

    # -- rules -----------------------------------------------------------------------------------------------

    def rule(self, id: str) -> Rule:
        """A rule; raises `UnknownRule`."""
        if id not in self.book.rules:
            raise UnknownRule(id)
        return self.book.rules[id]

    async def look_at_targets(self, draft: Draft, before: Rule | None) -> None:
        """Raise `SettingsError` or `Undelivered` where one could never be told; before `add` and `put`, which do not.

        In a thread: to import Apprise alone takes a second.
        """
        whole = merged(draft, before)
        check(whole)
        for target in whole.targets:
            await asyncio.to_thread(check_target, target, has_apprise=self.bounds.has_apprise)

    async def add(self, draft: Draft) -> Rule:
        """Keep a rule and begin with it; raises `SettingsError`, `Refusal`, `OutputError`, `TooMany`."""
        async with self._editing:
            if len(self.book.rules) >= self.bounds.rules:
                raise TooMany(self.bounds.rules)
            rule = await asyncio.to_thread(self.book.add, self._checked(merged(draft, None)))
            self._enter(rule)
        return rule

    async def put(self, id: str, draft: Draft) -> Rule:
        """Replace a rule, which begins anew; raises as `add`, and `UnknownRule` if it has gone meanwhile."""
        async with self._editing:
            rule = self.rule(id)
            made = await asyncio.to_thread(self.book.put, id, self._checked(merged(draft, rule)))
            self._leave(rule)
            self._enter(made)
            self._tidy()
        self._telling.wake(id)
        return made

    async def remove(self, id: str) -> Rule:
        """Keep a rule no more; its events stay in the journal. Raises `OutputError`, `UnknownRule`."""
        async with self._editing:
            rule = self.rule(id)
            await asyncio.to_thread(self.book.remove, id)
            self._leave(rule)
            self._tidy()
        self._telling.wake(id)
        return rule

    async def test(self, rule: Rule) -> list[dict[str, Any]]:
        """What happens when the targets of a rule are told of something that did not happen."""
        return await self._telling.test(rule)

    def state(self, rule: Rule) -> str:
        """How a rule is doing, in a word."""
        state = self._ledger.state(rule.id)
        if state is not None and state.is_done:
            return "done"
        if not rule.enabled:
            return "off"
        return "watching" if self._is_open and rule.id not in self._problems else "waiting"

    def problem(self, rule: Rule) -> str:
        """Why a rule is not judged yet; empty if it is."""
        return self._problems.get(rule.id, "")

    def _checked(self, draft: Draft) -> Draft:
        check(draft)
        asked = topic_of(draft.when)
        topics = self._present.find(asked or {"channel": "coverage", "symbol": draft.when.symbol})
        when = msgspec.structs.replace(draft.when, symbol=topics[0].symbol)
        return msgspec.structs.replace(draft, when=when)

    # -- what is followed ------------------------------------------------------------------------------------

    async def _admit(self) -> None:
        """Enter every rule once the run is live, and those that could not be entered again and again."""
        while not self._present.is_live():
            await asyncio.sleep(0.1)
        self._is_open = True
        for rule in list(self.book.rules.values()):
            self._enter(rule)
        self._tidy()
        while True:
            await asyncio.sleep(10 * AGAIN_S)
            for id in list(self._problems):
                if id in self.book.rules:
                    self._enter(self.book.rules[id])

    def _enter(self, rule: Rule) -> None:
        """Have a rule judged, from its state if it has one."""
        state = self._ledger.state(rule.id)
        if not self._is_open or not rule.enabled or (state is not None and state.is_done):
            return
        asked = topic_of(rule.when)
        if asked is None:
            self._stale[rule.id] = rule
            self._ledger.open(rule.id)
            return
        try:
            # Never refused for its symbol: all rules of a topic go on with it together, or one would miss rows.
            topic = self._present.topic(asked)
        except Refusal as refusal:
            self._problems[rule.id] = str(refusal)
            return
        self._problems.pop(rule.id, None)
        if isinstance(rule.when, Price | Indicator):
            self._levels[rule.id] = Level(rule.when)
        name = name_of(topic)
        self._by_topic.setdefault(name, {})[rule.id] = rule
        if name not in self._followers:
            self._followers[name] = Follower(topic, self._called.set)
            self._following[name] = asyncio.create_task(self._follow(self._followers[name]))
        if state is None:
            self._ledger.open(rule.id)
            self._look(rule, self._followers[name].last)
            self._ledger.saw(rule.id)
            self._save_soon()

    def _leave(self, rule: Rule) -> None:
        self._stale.pop(rule.id, None)
        self._levels.pop(rule.id, None)
        self._problems.pop(rule.id, None)
        self._ledger.forget(rule.id)
        for rules in self._by_topic.values():
            rules.pop(rule.id, None)

    def _tidy(self) -> None:
        """Follow no topic that no rule is judged by."""
        for name in [name for name, rules in self._by_topic.items() if not rules]:
            del self._by_topic[name]
            self._following.pop(name).cancel()
            del self._followers[name]
        for name in self.journal.cursors.keys() - self._by_topic.keys():
            if not self._problems:
                self._ledger.move(name, None)
        self._called.set()

    async def _follow(self, follower: Follower) -> None:
        """Be a member of the hub, from the last cursor; again whenever it ends."""
        topic = follower.topic
        try:
            while not follower.is_over:
                follower.begin()
                cursor = self.journal.cursors.get(follower.name)
                try:
                    can = cursor is not None and await self._hub.can_resume(topic, cursor)
                    if cursor is not None and not can and topic.channel != "coverage":
                        self._counts["restarts"] += 1
                        _LOG.warning("the rows of %s after %s are gone: its alerts go on now", follower.name, cursor)
                    await self._hub.join(topic, follower, cursor=cursor if can else None, rows=1)
                    await follower.lost.wait()
                except ConnectionError:
                    pass
                except Exception as error:  # noqa: BLE001 - a store that cannot be read now can be read later
                    _LOG.warning("%s cannot be followed now: %s", follower.name, error)
                self._hub.leave(topic, follower)
                await asyncio.sleep(AGAIN_S)
        finally:
            self._hub.leave(topic, follower)

    # -- judging ---------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        ticked = 0.0
        while True:
            self._called.clear()
            for follower in list(self._followers.values()):
                for _ in range(10):  # no topic keeps the others waiting
                    if not follower.waiting:
                        break
                    what = f"a message of {follower.name} could not be judged"
                    await self._safely(self._judge(follower, *follower.take()), what)
                if follower.waiting:
                    self._called.set()
            now = time.monotonic()
            if now - ticked >= TICK_S and self._present.is_live():
                ticked = now
                await self._safely(self._tick(), "silence could not be looked for")
            if now - self._saved >= STATE_S:
                self._saved = now
                await self._safely(self._ledger.save(), "how far the rules have seen could not be kept")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S / 2):
                    await self._called.wait()

    async def _safely(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """One thing that fails must not end all alerts."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is
            _LOG.exception("%s", what)
            self._problem = f"{what}: {error}; see the log"

    async def _judge(self, follower: Follower, message: bytes, cursor: str) -> None:
        rows = follower.read(message)
        found: list[tuple[Rule, Sighting]] = []
        for rule in list(self._by_topic.get(follower.name, {}).values()):
            found += [(rule, one) for one in self._look(rule, rows)]
            self._ledger.saw(rule.id)
        if rows:
            follower.last = rows if follower.topic.channel == "coverage" else rows[-1:]
        if follower.name not in self.journal.cursors:
            self._save_soon()  # a rule begins here, whatever ends the process
        if self._followers.get(follower.name) is follower:
            self._ledger.move(follower.name, cursor)
        await self._fire(follower.name, found)

    def _look(self, rule: Rule, rows: list[Any]) -> list[Sighting]:
        """What a rule sees in rows; its state goes on. After ``once`` and within the cooldown nothing is told."""
        state = self._ledger.state(rule.id)
        if state is None or not rows:
            return []
        when, found = rule.when, list[Sighting | None]()
        match when:
            case Price():
                level = self._levels[rule.id]
                found = [watch.trade(when, level, state, row) for row in rows]
            case Indicator():
                level = self._levels[rule.id]
                found = [watch.value(when, level, state, row) for row in rows]
            case Coverage():
                found = [*watch.spans(when, state, rows)]
        return [one for one in found if one is not None and _may_fire(rule, state, one)]

    async def _tick(self) -> None:
        now = time.time_ns() // 1000
        for rule in list(self._stale.values()):
            if self._stale.get(rule.id) is not rule:
                continue  # removed or replaced while the one before was written down
            assert isinstance(rule.when, Stale)
            state = self._ledger.open(rule.id)
            mark = self._present.newest(rule.when.symbol, rule.when.stream)
            one = watch.silence(rule.when, state, mark, now)
            self._ledger.saw(rule.id)
            if one is not None and _may_fire(rule, state, one):
                await self._fire(f"stale.{rule.when.symbol}", [(rule, one)])

    async def _fire(self, topic: str, found: list[tuple[Rule, Sighting]]) -> None:
        """Into the journal, then on their way."""
        now = time.time_ns() // 1000
        fired = []
        for rule, one in found:
            id = f"{rule.id}.{topic}.{one.row}"
            if id in self.journal.entries:
                continue
            event = Event(id, rule.id, one.ts, rule.when.symbol, one.value, one.level, one.text, rule.name, now)
            fired.append(Entry(event, {target.name: Delivery(ts=now) for target in rule.targets}))
        for rule in [rule for rule, _ in found if rule.once]:
            self._levels.pop(rule.id, None)
            self._stale.pop(rule.id, None)
            self._by_topic.get(topic, {}).pop(rule.id, None)
        if not fired:
            return
        lost = await self._ledger.fire(tuple(fired))
        self._counts["fired"] += len(fired)
        self._telling.lose(lost)
        for entry in fired:
            self._telling.send(entry)

    def _save_soon(self) -> None:
        self._saved = 0.0
        self._called.set()


def _may_fire(rule: Rule, state: State, one: Sighting) -> bool:
    if state.is_done:
        return False
    if rule.cooldown_s and state.fired is not None and one.ts < state.fired + rule.cooldown_s * 1e6:
        return False
    state.fired, state.is_done = one.ts, rule.once
    return True
