"""The present and the past of a gateway's rows, as topics and database tell them."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from tapeflow.api.topics import Topic, Topics
from tapeflow.app.live import stored_since
from tapeflow.stores.channels import CHANNELS, NUMBERED
from tapeflow.stores.encoded import Encoded
from tapeflow.stores.postgres.store import PostgresStore
from tapeflow.stores.postgres.text import check
from tapeflow.stores.series import Counts, is_forming, is_time, series_of

if TYPE_CHECKING:
    from tapeflow.app.forming import Forming

#: Of these only the newest row of a symbol matters.
NEWEST = ("quotes", "book", "tickers")

_KINDS = {name: CHANNELS[name] for name in NUMBERED}
_TRADE = tuple(name for name, _ in CHANNELS["trades"].fields)
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Present:
    """What is known of now, as the topics tell it. One thread writes it; others read single values."""

    def __init__(self, topics: Topics, symbols: Sequence[str]) -> None:
        self._topics = topics
        self.venue = topics.venue
        self.names: list[str] = list(symbols)
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self.counts = Counts({})
        self.watermarks: dict[str, int] = {}
        #: The time of each symbol's newest trade, and of its newest event of any kind.
        self.traded: dict[str, int] = {}
        self.heard: dict[str, int] = {}
        self.newest: dict[tuple[str, Any], bytes] = {}
        self.forming: dict[tuple[str, Any], dict[int, bytes]] = {}
        self.rows = 0

    def number(self, symbol: str) -> int:
        """The number that stands for a symbol in codes."""
        found = self._numbers.get(symbol)
        if found is None:
            found = self._numbers[symbol] = len(self.names)
            self.names = [*self.names, symbol]  # others have the old list
        return found

    def known(self, symbol: str) -> int | None:
        """The number of a symbol that has one; from any thread."""
        return self._numbers.get(symbol)

    def take(self, channel: str, value: bytes, finished: Encoded, forming: set[tuple[str, Any]]) -> None:
        """One row of a channel: to the finished ones, or to those of windows that are still open; raises `Unfit`."""
        row = _decode(value)
        symbol = row["symbol"]
        if channel == "trades" or channel in NEWEST:
            self._clock(channel, symbol, row)
            if is_time(row):
                return
        if channel in _KINDS:
            check(_KINDS[channel], row)  # a sink keeps no such row and does not count it: nor may we
        if channel == "trades":
            value = _encode({name: row.get(name) for name in _TRADE})
        number = self.number(symbol)
        code = self._topics.code_of_row(channel, row, number)
        if code is None:
            return  # of another flow
        self.rows += 1
        if channel in NEWEST:
            self.newest[channel, code] = value
            finished.add(channel, code, 0, value)
        elif is_forming(row):
            self.forming.setdefault((channel, code), {})[row["ts_start"]] = value
            forming.add((channel, code))
        else:
            numbered = self.counts.next(channel, row)
            finished.add(channel, code, numbered[1] if numbered else 0, value)
            self._closed(channel, code, row, forming)

    def recall(self, channel: str, value: bytes) -> None:
        """One row of before, which was counted: for what it says of open windows, watermarks and newest values."""
        row = _decode(value)
        symbol = row["symbol"]
        if channel == "trades" or channel in NEWEST:
            self._clock(channel, symbol, row)
        if channel == "trades":
            return
        code = self._topics.code_of_row(channel, row, self.number(symbol))
        if code is None:
            return
        if channel in NEWEST:
            self.newest[channel, code] = value
        elif is_forming(row):
            self.forming.setdefault((channel, code), {})[row["ts_start"]] = value
        else:
            self._closed(channel, code, row, set())

    def _clock(self, channel: str, symbol: str, row: dict[str, Any]) -> None:
        stamp = row.get("ts_watermark")
        if stamp is not None and stamp > self.watermarks.get(symbol, -1):
            self.watermarks[symbol] = stamp
        at = row.get("ts_event") or row.get("ts_recv") or -1
        if channel == "trades" and at > self.traded.get(symbol, -1):
            self.traded[symbol] = at
        if at > self.heard.get(symbol, -1):
            self.heard[symbol] = at

    def _closed(self, channel: str, code: Any, row: dict[str, Any], forming: set[tuple[str, Any]]) -> None:
        """A window that has closed forms no more, nor do those before it."""
        waiting = self.forming.get((channel, code))
        if waiting and min(waiting) <= row["ts_start"]:
            self.forming[channel, code] = {ts: value for ts, value in waiting.items() if ts > row["ts_start"]}
            forming.add((channel, code))


class GatewayPast:
    """A `tapeflow.api.hub.Past` over the database and the counts of this gateway."""

    def __init__(self, present: Present, indicators: Forming, store: PostgresStore, is_live: threading.Event) -> None:
        self._present = present
        self._indicators = indicators
        self._store = store
        self._is_live = is_live
        self._epoch = store.epoch
        #: Of channels that no sink keeps: nobody else counts their rows from where this gateway does.
        self._own_epoch = secrets.token_hex(4)

    def epoch(self, topic: Topic) -> str:
        is_ours = topic.channel in NUMBERED and not self._store.keeps(topic.channel)
        return self._own_epoch if is_ours else self._epoch

    async def ready(self) -> None:
        while not self._is_live.is_set():
            await asyncio.sleep(0.02)

    async def since(self, topic: Topic, first: int, limit: int) -> list[tuple[int, bytes]]:
        return await asyncio.to_thread(stored_since, self._store, topic, first, limit)

    async def number(self, topic: Topic) -> int:
        if topic.channel not in NUMBERED:
            return 0
        key = {"venue": self._present.venue, "symbol": topic.symbol, **dict(topic.params)}
        return self._present.counts.get(topic.channel, series_of(topic.channel, key))

    async def forming_rows(self, topic: Topic) -> list[bytes]:
        if topic.base != "indicators":
            return self.rows(topic)
        # A series that nobody has followed so far takes a moment: its rows come when it has begun.
        return await asyncio.to_thread(self._indicators.rows, [topic])

    def rows(self, topic: Topic) -> list[bytes]:
        """The newest value of a topic, or its rows of windows that have not closed."""
        number = self._present.known(topic.symbol)
        if number is None:
            return []
        code = topic.code(number)
        if topic.channel in NEWEST:
            found = self._present.newest.get((topic.channel, code))
            return [] if found is None else [found]
        return [row for _, row in sorted(self._present.forming.get((topic.base, code), {}).items())]
