"""A gateway: the API, the stream and the page over the result topics and PostgreSQL. Any number of them may run.

All gateways count the rows of a series that sinks keep alike, from where the database says that a sink has counted them
to: so a cursor of one is good on every other, and after any restart. Rows that no sink keeps are counted by each alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tapeflow import files
from tapeflow.api.hub import Hub
from tapeflow.api.server import Server
from tapeflow.api.topics import Topics
from tapeflow.app.alert_lock import hold
from tapeflow.app.collector import bus, bus_settings
from tapeflow.app.forming import Forming
from tapeflow.app.gateway_source import GatewaySource
from tapeflow.app.opening import opened
from tapeflow.app.present import NEWEST, GatewayPast, Present
from tapeflow.app.published import COVERAGE, OWNERS, STATUS, SYMBOLS, event_topics
from tapeflow.app.requests import Asker, request_topics
from tapeflow.app.serve import gateway_server
from tapeflow.app.sink import sink_topics
from tapeflow.bus.client import Bus
from tapeflow.bus.follower import Follower, Partition, Record, bounds, consumer, partitions, passed_over
from tapeflow.bus.topics import ensure
from tapeflow.domain.errors import StoreError, TapeError
from tapeflow.feed.recorder import Say
from tapeflow.flow.nodes import Flow
from tapeflow.settings import RunSettings
from tapeflow.stores.encoded import Encoded
from tapeflow.stores.postgres.sql import Reader
from tapeflow.stores.postgres.store import PostgresStore
from tapeflow.tape.lock import Lock

#: Messages taken at once, how long is waited for the first, and how long after a fault.
PAGE, WAIT_S, RETRY_S = 5_000, 0.02, 1.0
STATUS_S = 1.0
#: Of each partition so many messages before those that are to be counted, or before its end, are read for what they
#: say of now.
LOOK_BACK = 20_000
#: Channels of which a client can be told; the rest is read from the database.
FOLLOWED = ("trades", "quotes", "book", "tickers", "candles", "moving_average", "indicators")

_decode = msgspec.json.Decoder().decode


class Gateway:
    """Serves from `run` until `stop`; the topics are followed in the caller's thread."""

    def __init__(self, settings: RunSettings, say: Say, serving: Callable[[str], None] | None = None) -> None:
        self.settings = settings
        self._say = say
        self._serving = serving
        self._own = bus_settings(settings)
        self._bus: Bus = bus(settings)
        self.flow: Flow = settings.make_flow()
        self.topics = Topics(self.flow, settings.venue)
        self._stopping = threading.Event()
        self._problem = ""
        self._unreadable = 0
        self._started = time.monotonic()
        wanted = {*self.flow.channels, *settings.store.channels}
        self._channels = {self._own.topic(name): name for name in FOLLOWED if name in wanted}
        self._forget()

    def _forget(self) -> None:
        """Know nothing of the topics yet."""
        settings = self.settings
        self.present = Present(self.topics, settings.symbols)
        self.statuses: dict[str, dict[str, Any]] = {}
        self.described: dict[str, dict[str, Any]] = {}
        self._owners: dict[str, str] = {}  # the collector of each `venue:symbol`
        self._coverage: dict[str, dict[bytes, list[dict[str, Any]]]] = {}  # by symbol, then by key of the topic
        self.asker = Asker(
            self._bus, self._own, settings.venue, self.statuses, self.followed, self._describe, self._say
        )
        self.is_live = threading.Event()
        self._counted: dict[Partition, int] = {}
        #: How its alerts are doing, if it keeps them.
        self.alerts: Callable[[], dict[str, Any]] = dict
        self._address: str | None = None
        self._held: Lock | None = None  # the alerts of its folder

    def stop(self) -> None:
        """Have `run` return; from any thread."""
        self._stopping.set()

    def run(self) -> None:
        """Serve until stopped, as soon as there is a database with tables; raises `SettingsError`.

        Where the topics have deleted what it was to read next, its counts are no more what sinks count: it begins anew
        with theirs, and clients come again with their cursors.
        """
        self._serve()
        while not self._stopping.is_set():
            self._forget()
            self._serve()

    def _serve(self) -> None:
        """Serve until stopped, or until the topics have gone on without us."""
        settings = self.settings
        kept = sink_topics(self._own, sorted({*settings.store.channels, *self._channels.values()}))
        topics = [*event_topics(self._own), *request_topics(self._own), *kept]
        ensure(self._bus, topics, self._own.replication)
        self.store = opened(self._open, self._stopping, self._fail)
        follower = self._follower()
        self.indicators = Forming(self.flow, self.present, self.store, self._say)
        past = GatewayPast(self.present, self.indicators, self.store, self.is_live)
        self.hub = Hub(settings.venue, past, self.indicators.watch)  # all other forming rows come whoever follows them
        self._held = self._hold()
        server = gateway_server(self, GatewaySource(self, past, self._reader()), has_alerts=self._held is not None)
        self.indicators.start()
        self.asker.start()
        try:
            self._follow(follower, server)
        finally:
            server.stop()
            self.asker.stop()
            self.indicators.stop()
            follower.close()
            self.store.close()
            self._write_status(is_running=False)
            if self._held is not None:
                self._held.release()

    def _open(self) -> PostgresStore:
        url, schema = self.settings.postgres.address, self.settings.postgres.schema
        return PostgresStore(url, self.settings.store.channels, name=schema, read_only=True)

    def _reader(self) -> Reader | None:
        """Who asks what strangers ask; raises `SettingsError` for a role that may do more."""
        own, api = self.settings.postgres, self.settings.api
        if not own.reader_address or not api.sql:
            return None
        reader = Reader(own.reader_address, own.schema, rows=api.sql_rows, seconds=api.sql_seconds)
        try:
            reader.check_role()
        except StoreError as error:
            self._say(f"{error}; SQL is answered once it can be asked")
        return reader

    def _hold(self) -> Lock | None:
        try:
            return hold(self.settings.data)
        except TapeError as error:
            self._say(f"this gateway has no alerts: {error}")
            return None

    def _fail(self, error: StoreError) -> None:
        if str(error) != self._problem:  # told once, not at every try
            self._say(f"{error}; trying again")
        self._problem = str(error)

    def _follow(self, follower: Follower, server: Server) -> None:
        told = 0.0
        is_serving = False
        while not self._stopping.is_set():
            found = self._read(follower)
            if follower.passed:
                break  # these rows are behind some that nobody has counted
            self._take(found)
            if not self.is_live.is_set() and follower.is_at_end:
                self.is_live.set()
                self._say(f"in step with the topics after {time.monotonic() - self._started:.1f} s")
            if self.is_live.is_set() and not is_serving:
                is_serving = True
                server.start()
                self._address = server.address
                self._say(f"serving {server.address}")
                if self._serving is not None:
                    self._serving(server.address)
            if time.monotonic() - told >= STATUS_S:
                told = time.monotonic()
                self._write_status(is_running=True)
        for place, (at, first) in follower.passed.items():
            self._say(f"{passed_over(place, at, first)}; beginning anew")

    # -- topics ------------------------------------------------------------------------------------------

    def _follower(self) -> Follower:
        """From where the rows in the database end; of what is kept for ever from the beginning."""
        whole = [self._own.topic(name) for name in (COVERAGE, OWNERS, STATUS, SYMBOLS)]
        numbers = partitions(self._bus, [*self._channels, *whole])
        positions, counts = self.store.counts()
        self.present.counts.counts = counts
        ends = self._ends(numbers)
        starts = {place: self._start(place, end, positions) for place, end in ends.items()}
        self._counted = positions | {place: end for place, end in ends.items() if self._is_newest(place)}
        return Follower(self._bus, starts)

    def _ends(self, numbers: Mapping[str, int]) -> dict[Partition, int]:
        """Where each partition ends now."""
        probe = consumer(self._bus, "tapeflow-look")
        try:
            places = [(topic, number) for topic, count in numbers.items() for number in range(count)]
            return {place: bounds(probe, place)[1] for place in places}
        finally:
            probe.close()

    def _start(self, place: Partition, end: int, positions: Mapping[Partition, int]) -> int:
        """Where to begin with a partition: -2 is its beginning.

        A sink that has yet to begin with a channel counts its rows from there, and so must we. Of others, which may be
        days long, only what is near the end is of use.
        """
        channel = self._channels.get(place[0])
        if channel is None:
            return -2
        if self._is_newest(place) or not self.store.keeps(channel):
            return max(0, end - LOOK_BACK)
        return max(0, positions[place] - LOOK_BACK) if place in positions else -2

    def _is_newest(self, place: Partition) -> bool:
        """Whether of the rows of a partition only the newest matter: those before now are none to be told of."""
        return self._channels.get(place[0]) in NEWEST

    def _read(self, follower: Follower) -> list[Record]:
        try:
            found = follower.read(PAGE, WAIT_S)
        except StoreError as error:
            self._fail(error)
            self._stopping.wait(RETRY_S)
            return []
        if found:
            self._problem = ""
        return found

    def _take(self, records: list[Record]) -> None:
        """Rows to the hub: those that are finished, then those of windows that form."""
        finished, moved = Encoded(self.present.names), set[tuple[str, Any]]()
        for record in records:
            if record.value is None:
                continue
            channel = self._channels.get(record.topic)
            try:
                if channel is None:
                    self._told(record)
                elif record.offset < self._counted.get((record.topic, record.partition), 0):
                    self.present.recall(channel, record.value)
                else:
                    self.present.take(channel, record.value, finished, moved)
            except (msgspec.DecodeError, ValueError, KeyError, TypeError, AttributeError):
                self._unreadable += 1  # the sink keeps it as a dead letter
        finished.names = self.present.names
        if finished.size:
            self.hub.offer(finished, False)  # noqa: FBT003 - of finished rows
        self.indicators.take(finished, moved)
        self._form(moved)

    def _form(self, moved: set[tuple[str, Any]]) -> None:
        forming = Encoded(self.present.names)
        for channel, code in moved:
            for row in (row for _, row in sorted(self.present.forming[channel, code].items())):
                forming.add(channel, code, 0, row)
        for code, row in self.indicators.moved():
            forming.add("indicators", code, 0, row)
        if forming.size:
            self.hub.offer(forming, True)  # noqa: FBT003 - of forming rows

    def _told(self, record: Record) -> None:
        """What collectors tell beside their events."""
        value = _decode(record.value or b"null")
        name = (record.key or b"").decode()
        if record.topic == self._own.topic(STATUS):
            self.statuses[name] = value
        elif record.topic == self._own.topic(OWNERS):
            self._owners[name] = value["collector"]
        elif record.topic == self._own.topic(SYMBOLS):
            self._describe(value)
        elif value["data"]:
            # A message is of one stream; whoever follows coverage is given all of a symbol.
            known = self._coverage.setdefault(value["data"][0]["symbol"], {})
            known[record.key or b""] = value["data"]
            self.hub.offer_coverage([row for key in sorted(known) for row in known[key]])

    def _describe(self, row: dict[str, Any]) -> None:
        """A symbol's row as its collector has it."""
        if row["venue"] == self.settings.venue:
            self.described[row["symbol"]] = row

    # -- how it is ---------------------------------------------------------------------------------------

    def followed(self) -> list[str]:
        """The symbols that collectors follow."""
        gone = {name for name, row in list(self.described.items()) if row["status"] == "not_followed"}
        return sorted(({*self.described, *self.present.watermarks} or {*self.settings.symbols}) - gone)

    def status(self) -> dict[str, Any]:
        """What an operator wants to see: of the collectors together, and of this gateway."""
        collectors = self._collectors()
        found = _joined(collectors)
        return found | {
            "api": self._address,
            "role": "gateway",
            "uptime_s": round(time.monotonic() - self._started, 1),
            "is_live": self.is_live.is_set() and bool(found.get("is_live")),
            "alerts": self.alerts(),
            "gateway": {
                "rows": self.present.rows,
                "unreadable": self._unreadable,
                "forming": self.indicators.status(),
                "problem": self._problem,
                "collectors": sorted(collectors),
            },
        }

    def _collectors(self) -> dict[str, dict[str, Any]]:
        """What collectors told last: of one that owns nothing that is followed, nothing is expected any more."""
        known, venue = dict(list(self.statuses.items())), self.settings.venue
        owning = {self._owners.get(f"{venue}:{symbol}") for symbol in self.followed()}
        return {name: told for name, told in known.items() if name in owning} or known

    def _write_status(self, *, is_running: bool) -> None:
        if self._held is None and self._address is None:
            return
        # Of gateways that share a folder the one with the alerts is found by its name.
        port = (self._address or "").rpartition(":")[2]
        path = Path(self.settings.data) / ("gateway.json" if self._held else f"gateway-{port}.json")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            told = self.status() | {"is_running": is_running, "pid": os.getpid()}
            files.replace(path, msgspec.json.encode(told), sync=False)
        except OSError as error:
            if error.strerror != self._problem:
                self._say(f"cannot write {path}: {error.strerror}")
                self._problem = error.strerror or ""


def _joined(statuses: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The statuses of collectors as one: what is worst of them, and all of their connections."""
    if not statuses:
        return {"is_live": False, "connections": []}
    oldest = min(statuses.values(), key=lambda one: one.get("ts", 0))
    found = dict(oldest)
    found["connections"] = [one for each in statuses.values() for one in each.get("connections", ())]
    found["is_live"] = all(one.get("is_live") for one in statuses.values())
    for name in ("symbols", "followed", "holes", "rows", "delivered"):
        found[name] = sum(one.get(name, 0) for one in statuses.values())
    return found
