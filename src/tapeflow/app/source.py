"""What the API is given of a live run: the store by connections of its own, the present by what the pipeline tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import duckdb

from tapeflow.api.source import Live
from tapeflow.domain.errors import StoreError
from tapeflow.domain.instrument import Instrument
from tapeflow.stores import pages, sql
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.pages import Asked, Page

#: How long what symbols there are is kept.
SYMBOLS_S = 2.0


class RunSource:
    """A `tapeflow.api.source.Source` over a store and the present of its run."""

    def __init__(
        self,
        store: DuckStore,
        live: Live,
        *,
        venue: str,
        channels: tuple[str, ...],
        intervals: tuple[str, ...],
        indicators: tuple[str, ...],
        timezone: str,
        scales: tuple[int, int],
        followed: Callable[[], list[str]],
        instrument: Callable[[str], Instrument | None],
        status: Callable[[], dict[str, Any]],
        sql_rows: int = sql.ROWS,
        sql_seconds: float = sql.SECONDS,
    ) -> None:
        self._store = store
        self.live = live
        self.venue = venue
        self.channels = channels
        self.intervals = intervals
        self.indicators = indicators
        self.timezone = timezone
        self.scales = scales
        self._followed = followed
        self._instrument = instrument
        self._status = status
        self._sql = (sql_rows, sql_seconds)
        self._stored: tuple[float, list[str]] = (float("-inf"), [])

    def read(self, asked: Asked) -> Page:
        try:
            return pages.read(self._store.cursor(), asked)
        except duckdb.Error as error:
            raise StoreError(f"cannot read {asked.channel}: {error}") from error

    def coverage(self, stream: str, symbol: str, start: int, end: int) -> list[dict[str, Any]]:
        if "coverage" not in self.channels:
            return []
        return self._store.coverage(self.venue, symbol, stream, start, end)

    def symbols(self) -> list[dict[str, Any]]:
        followed = self._followed()
        names = sorted({*followed, *self._stored_symbols()})
        return [described(self.venue, name, self._instrument(name), is_followed=name in followed) for name in names]

    def _stored_symbols(self) -> list[str]:
        """The symbols of which there is coverage, looked up now and then."""
        at, names = self._stored
        if time.monotonic() - at < SYMBOLS_S or "coverage" not in self.channels:
            return names
        cursor = self._store.cursor()
        try:
            names = [str(row[0]) for row in cursor.execute("SELECT DISTINCT symbol FROM coverage").fetchall()]
        except duckdb.Error as error:
            raise StoreError(f"cannot read coverage: {error}") from error
        finally:
            cursor.close()
        self._stored = (time.monotonic(), names)
        return names

    def select(self, statement: str) -> sql.Selected:
        rows, seconds = self._sql
        return self._store.select(statement, rows=rows, seconds=seconds)

    def status(self) -> dict[str, Any]:
        return self._status()

    def watermark(self, symbol: str) -> int | None:
        return self.live.watermark(symbol)

    def latest(self, channel: str, symbol: str) -> dict[str, Any] | None:
        return self.live.latest(channel, symbol)

    def forming(self, channel: str, **key: str | int) -> list[dict[str, Any]]:
        return self.live.forming(channel, **key)


def described(venue: str, symbol: str, instrument: Instrument | None, *, is_followed: bool) -> dict[str, Any]:
    """A symbol as ``/v1/symbols`` has it."""
    row: dict[str, Any] = {"venue": venue, "symbol": symbol}
    row["status"] = (instrument.status if instrument else "unknown") if is_followed else "not_followed"
    if instrument is None:
        return row
    numbers = {
        "tick": instrument.tick,
        "step": instrument.step,
        "lot": instrument.lot,
        "multiplier": instrument.multiplier,
    }
    return row | {"size_unit": instrument.size_unit, **numbers, "valid_from": instrument.valid_from}
