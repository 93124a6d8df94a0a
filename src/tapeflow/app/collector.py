"""A collector: the feed and the tape of a run, whose events go to Kafka instead of being computed with here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from tapeflow.app.opening import patiently
from tapeflow.app.pipeline import Pace, Pipeline
from tapeflow.app.place import Tape, place_of, places
from tapeflow.app.published import OWNERS, POSITIONS, STATUS, SYMBOLS, Published, event_topics
from tapeflow.app.requests import Clerk, request_topics
from tapeflow.app.run import Reload, Run, averages_klines
from tapeflow.app.served import Served
from tapeflow.app.source import described
from tapeflow.bus import owners
from tapeflow.bus.client import Bus
from tapeflow.bus.topics import ensure
from tapeflow.domain.errors import BusError, SettingsError
from tapeflow.domain.window import Window
from tapeflow.engine.closings import Closings
from tapeflow.engine.pushes import Pushes
from tapeflow.engine.results import VENUE_CANDLES
from tapeflow.feed.feed import FeedSettings
from tapeflow.feed.recorder import Say
from tapeflow.flow.catalogue import ALWAYS
from tapeflow.flow.nodes import BookTop, Candles, CustomFold, Flow, Mean, Source
from tapeflow.settings import BusSettings, RunSettings
from tapeflow.tape.identity import identity

#: How often others are told how it is, and what its symbols are.
STATUS_S, SYMBOLS_S = 1.0, 30.0
#: Whoever computes with the events waits for each transaction.
PUBLISHED = Pace(0.02, 1)

_encode = msgspec.json.Encoder().encode


class Collector(Run):
    """Follows the venue for the symbols it owns, and publishes their events from its tape."""

    def __init__(self, settings: RunSettings, say: Say, reload: Reload | None = None, *, take_over: bool) -> None:
        self.bus_settings = bus_settings(settings)
        self._bus = bus(settings)
        self._take_over = take_over
        self._told_at = self._described_at = 0.0
        self._mine: set[str] = set()
        self._described: dict[str, dict[str, Any]] = {}
        super().__init__(settings, say, reload)

    def _own_part(self) -> Flow:
        return events_of(self.whole, with_klines=self._has_klines)

    @property
    def _has_klines(self) -> bool:
        return "klines" in self.settings.store.channels or averages_klines(self.whole)

    def _feed_settings(self) -> FeedSettings:
        found = super()._feed_settings()
        # Candles of the past are nobody's here unless candles are computed or klines are asked for.
        is_wanted = self._has_klines or any(self.whole.of(Candles))
        return found if is_wanted else msgspec.structs.replace(found, history=0)

    def _open_pipeline(self, stack: AsyncExitStack) -> Pipeline:
        settings = self.settings
        topics = [*event_topics(self.bus_settings), *request_topics(self.bus_settings)]
        ensure(self._bus, topics, self.bus_settings.replication)
        tape = Tape(identity(self.folder.tape), self.writer.position, self._take_over)
        patiently(lambda: self._check_name(tape), self._busy)
        patiently(lambda: self._claim(self._roster.symbols, take_over=self._take_over), self._busy)
        channels = tuple(dict.fromkeys((*settings.store.channels, *self.flow.channels, "coverage", VENUE_CANDLES)))
        self._published = patiently(lambda: self._published_from(tape), self._busy)
        stack.callback(self._published.close)
        if self._published.begun:
            begun = ", ".join(self._published.begun)
            self._say(f"{begun}: not published before; what comes from now on is, not what the tape has already")
        return Pipeline(
            self.flow,
            settings.venue,
            self.folder.tape,
            self._published,
            self.states,
            channels=channels,
            act=self._act,
            tell=self._told,
            closings=Closings(windows_of(self.whole, "trades")),
            pushes=Pushes(windows_of(self.whole, "klines"), self.whole.horizon_us),
            told=tuple(self.whole.of(Candles)),
            pace=PUBLISHED,
        )

    def _check_name(self, tape: Tape) -> None:
        """Raise `OwnerError` where the name is another's, before anything is claimed under it."""
        place_of(tape, self.bus_settings.name, places(self._bus, self.bus_settings.topic(POSITIONS)))

    def _published_from(self, tape: Tape) -> Published:
        def followed() -> list[str]:
            return self._keys(self._roster.symbols)

        # What the settings name and the flow does not make is not published: it begins when the flow makes it.
        channels = (*self.flow.channels, *ALWAYS)
        return Published(self._bus, self.bus_settings, channels, tape, self._more, followed)

    def _keys(self, symbols: Sequence[str]) -> list[str]:
        return [f"{self.settings.venue}:{symbol}" for symbol in symbols]

    def _open_served(self) -> Served | None:
        return None

    async def _work(self, stack: AsyncExitStack) -> None:
        assert self._loop is not None
        clerk = Clerk(self._bus, self.bus_settings, self.reach(), self._loop, self._row, self._say)
        clerk.start()
        stack.push_async_callback(asyncio.to_thread, clerk.stop)
        await super()._work(stack)

    def _row(self, symbol: str) -> dict[str, Any]:
        """A symbol as `/v1/symbols` has it; one that was followed says so."""
        is_followed = symbol in self._roster.symbols
        return described(self.settings.venue, symbol, self.pipeline.instrument(symbol), is_followed=is_followed)

    def _claim(self, symbols: Sequence[str], *, take_over: bool = False) -> None:
        name, topic = self.bus_settings.name, self.bus_settings.topic(OWNERS)
        taken = owners.claim(self._bus, topic, name, self._keys(symbols), take_over=take_over)
        if taken:
            self._say(f"symbols were taken over from {', '.join(sorted(taken))}, which can publish nothing any more")
        # Others are told of all that is ours, followed or no more.
        known = owners.owners(self._bus, topic)
        mine = {key.partition(":") for key, owner in known.items() if owner == name}
        self._mine = {symbol for venue, _, symbol in mine if venue == self.settings.venue}

    def _busy(self, error: BusError) -> None:
        self._say(f"{error}; trying again for a minute")

    async def _own(self, symbols: Sequence[str]) -> None:
        await asyncio.to_thread(self._claim, symbols)

    def status(self) -> dict[str, Any]:
        own = {"role": "collector", "venue": self.settings.venue, "followed": len(self._roster.symbols)}
        return super().status() | own | {"delivered": self._published.delivered}

    def _more(self) -> Iterator[tuple[str, str, bytes]]:
        """What others are told beside the events: how the collector is, and its symbols."""
        now = time.monotonic()
        if self.latest and now - self._told_at >= STATUS_S:
            self._told_at = now
            yield STATUS, self.bus_settings.name, _encode(self.latest)
            yield from self._changed(now)

    def _changed(self, now: float) -> Iterator[tuple[str, str, bytes]]:
        """The rows of symbols that are not as they were told; all of them now and then."""
        if now - self._described_at >= SYMBOLS_S:
            self._described_at, self._described = now, {}
        for symbol in sorted(self._mine):
            row = self._row(symbol)
            if self._described.get(symbol) != row:
                self._described[symbol] = row
                yield SYMBOLS, f"{self.settings.venue}:{symbol}", _encode(row)


def bus_settings(settings: RunSettings) -> BusSettings:
    """The table ``[bus]``; raises `SettingsError` where there is none."""
    if settings.bus is None:
        raise SettingsError("this role needs a bus: add a table [bus], see docs/reference/run-file.md")
    return settings.bus


def bus(settings: RunSettings) -> Bus:
    """How Kafka is reached; raises `SettingsError`."""
    found = bus_settings(settings)
    return Bus(found.servers, found.client)


def events_of(flow: Flow, *, with_klines: bool) -> Flow:
    """The part of a flow that is done where the events come in: its sources, and the books."""
    kinds = tuple(node for node in flow.nodes if isinstance(node, Source | BookTop))
    nodes = tuple(node for node in kinds if with_klines or node.input != "klines")
    return msgspec.structs.replace(flow, nodes=nodes)


def windows_of(flow: Flow, source: str) -> list[Window]:
    """The windows over events of a kind, whose closing is told among these."""
    folds = [*flow.of(Candles), *flow.of(Mean), *flow.of(CustomFold)]
    return [node.window for node in folds if node.input == source]
