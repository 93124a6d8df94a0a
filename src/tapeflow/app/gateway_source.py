"""What the API is given of a gateway: the database for the past, the topics for the present."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tapeflow import venues
from tapeflow.api.topics import Refusal, Topic
from tapeflow.app.present import GatewayPast
from tapeflow.flow.nodes import Candles, Indicator
from tapeflow.stores.pages import Asked, Page
from tapeflow.stores.postgres.sql import Reader
from tapeflow.stores.sql import Selected
from tapeflow.venues.wire import wire

if TYPE_CHECKING:
    from tapeflow.app.gateway import Gateway

_decode = msgspec.json.Decoder().decode


class GatewaySource:
    """A `tapeflow.api.source.Source` over a gateway."""

    def __init__(self, gateway: Gateway, past: GatewayPast, reader: Reader | None) -> None:
        self._gateway = gateway
        self._past = past
        self._reader = reader
        settings, flow = gateway.settings, gateway.flow
        codec = venues.create(settings.venue)
        self.venue = settings.venue
        self.channels = settings.store.channels
        self.intervals = tuple(node.interval for node in flow.of(Candles))
        self.indicators = tuple(dict.fromkeys(node.step.name for node in flow.of(Indicator)))
        self.timezone = wire(settings.venue).timezone
        self.scales = (codec.price_scale, codec.size_scale)

    def read(self, asked: Asked) -> Page:
        return self._gateway.store.page(asked)

    def coverage(self, stream: str, symbol: str, start: int, end: int) -> list[dict[str, Any]]:
        if "coverage" not in self.channels:
            return []
        return self._gateway.store.coverage(self.venue, symbol, stream, start, end)

    def symbols(self) -> list[dict[str, Any]]:
        described, followed = self._gateway.described, self._gateway.followed()
        stored = self._gateway.store.symbols() if "coverage" in self.channels else []
        return [
            described.get(name) or {
                "venue": self.venue,
                "symbol": name,
                "status": "unknown" if name in followed else "not_followed",
            }
            for name in sorted({*followed, *stored})
        ]  # fmt: skip

    @property
    def has_sql(self) -> bool:
        """Whether there is a role to ask as."""
        return self._reader is not None

    def select(self, statement: str) -> Selected:
        assert self._reader is not None, "the route refuses it"
        return self._reader.select(statement)

    def status(self) -> dict[str, Any]:
        return self._gateway.status()

    def watermark(self, symbol: str) -> int | None:
        return self._gateway.present.watermarks.get(symbol)

    def latest(self, channel: str, symbol: str) -> dict[str, Any] | None:
        rows = self._past.rows(Topic(channel, symbol))
        return _decode(rows[-1]) if rows else None

    def forming(self, channel: str, **key: str | int) -> list[dict[str, Any]]:
        symbol = str(key["symbol"])
        asked = {name: value for name, value in key.items() if name not in ("venue", "symbol")}
        if channel != "indicators.forming":
            return [_decode(row) for topic in self._find(channel, symbol, asked) for row in self._past.rows(topic)]
        intervals = [asked.pop("interval")] if "interval" in asked else self._gateway.topics.intervals
        found = [topic for one in intervals for topic in self._find(channel, symbol, asked | {"interval": one})]
        return [_decode(row) for row in self._gateway.indicators.ask(found)]

    def _find(self, channel: str, symbol: str, asked: dict[str, str | int]) -> list[Topic]:
        try:
            return self._gateway.topics.find({"channel": channel, "symbol": symbol, **asked}, [symbol])
        except Refusal:
            return []  # what the flow does not make has no rows
