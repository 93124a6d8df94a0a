"""What the API is given: rows, coverage and the present state of one run. `app` has the only real one."""

from __future__ import annotations

from typing import Any, Protocol

from tapeflow.stores.pages import Asked, Page
from tapeflow.stores.sql import Selected


class Live(Protocol):
    """The present state of a run; rows are objects as the contract's JSON has them. Quick, from any thread."""

    def watermark(self, symbol: str) -> int | None:
        """Up to this time (microseconds) nothing more is expected of a symbol; None before its first event."""
        ...

    def latest(self, channel: str, symbol: str) -> dict[str, Any] | None:
        """The newest row of ``quotes`` or ``book``; None if there was none yet."""
        ...

    def forming(self, channel: str, **key: str | int) -> list[dict[str, Any]]:
        """The rows of windows that have not closed, of ``candles.forming`` and the like, ascending."""
        ...


class Source(Live, Protocol):
    """All that is asked of a run. Every method may be called from any thread and may take its time, but `Live`'s.

    Those that read raise `StoreError`; ``select`` raises `SqlError`.
    """

    @property
    def venue(self) -> str: ...

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that the store keeps."""
        ...

    @property
    def intervals(self) -> tuple[str, ...]:
        """The intervals of candles."""
        ...

    @property
    def indicators(self) -> tuple[str, ...]:
        """The names of the indicators that the run computes."""
        ...

    @property
    def timezone(self) -> str:
        """The venue's own time zone, an IANA name."""
        ...

    @property
    def scales(self) -> tuple[int, int]:
        """Decimals of prices and sizes."""
        ...

    def read(self, asked: Asked) -> Page:
        """What is asked for."""
        ...

    def coverage(self, stream: str, symbol: str, start: int, end: int) -> list[dict[str, Any]]:
        """The coverage rows that touch ``[start, end]``, ascending."""
        ...

    def symbols(self) -> list[dict[str, Any]]:
        """Every symbol that is followed, or was and has rows: venue, symbol, status, size_unit, tick, lot, ..."""
        ...

    def select(self, sql: str) -> Selected:
        """The rows of one statement that reads."""
        ...

    def status(self) -> dict[str, Any]:
        """How the run is doing."""
        ...
