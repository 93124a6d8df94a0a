"""What a store of results must do, whatever it is made of."""

from __future__ import annotations

from typing import Any, Protocol

import pyarrow as pa

from tapeflow.stores.results import Results


class Ledger(Protocol):
    """Where result rows go with the position of the tape they come from, committed as one: a store, or a bus.

    A commit is all there or not at all, also after a kill.
    """

    @property
    def replaces(self) -> bool:
        """Whether a row written again replaces itself. Where it does not, nothing that was committed is made again."""
        ...

    @property
    def position(self) -> int:
        """The tape position up to which all rows are in the store; 0 for a new one."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of the code and flow that made the rows; empty for a new store."""
        ...

    def commit(
        self,
        results: Results,
        position: int,
        *,
        coverage: list[dict[str, Any]] | None = None,
        again: bool = False,
        start: int | None = None,
    ) -> int:
        """Write rows and position as one; how many rows. ``coverage`` replaces what the store had of its streams.

        ``again`` says that the rows may be in the store already (a rebuild, a repair), whatever their key.
        ``start`` keeps only rows from that time on. Raises `StoreError`; then nothing was changed.
        """
        ...

    @property
    def epoch(self) -> str:
        """Within one epoch the numbers of rows (``seq``) mean the same; `rewind` and `claim` begin another one."""
        ...

    def renew(self) -> None:
        """Begin another epoch: the numbers of rows begin anew."""
        ...

    def rewind(self, position: int, doubtful_to: int) -> None:
        """Go back to a position: from now on rows of events up to a time (microseconds) may be there already."""
        ...

    def claim(self, fingerprint: str) -> None:
        """Note which code and flow make the rows from now on."""
        ...

    def retain(self, older_than: dict[str, int]) -> dict[str, int]:
        """Drop rows of channels that are older than a time; how many of each."""
        ...

    def close(self) -> None: ...


class Store(Ledger, Protocol):
    """A ledger that can be read."""

    def read(
        self,
        channel: str,
        *,
        start: int | None = None,
        end: int | None = None,
        limit: int | None = None,
        **key: str | int,
    ) -> pa.Table:
        """Rows whose time lies in ``[start, end)`` (microseconds), ascending; without ``start`` the last ``limit``."""
        ...

    def since(self, channel: str, seq: int, limit: int, **key: str | int) -> pa.Table:
        """The rows of one series of ``limit`` numbers from ``seq`` on, every revision, with ``seq`` as a column."""
        ...

    def export(self, channel: str, path: str) -> int:
        """Write a channel as Parquet, in order; how many rows."""
        ...
