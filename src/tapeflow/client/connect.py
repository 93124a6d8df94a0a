"""`connect`: where a client begins."""

from __future__ import annotations

import os
from typing import Any

from tapeflow.client.channel import Channel
from tapeflow.client.history import History
from tapeflow.domain.errors import InputError


class Client:
    """A running Tapeflow at an address. Nothing is opened before it is asked for."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url
        self._key = key

    def __repr__(self) -> str:
        return f"<tapeflow client of {self.url}>"

    def channel(
        self,
        name: str,
        *,
        symbol: str | None = None,
        symbols: list[str] | None = None,
        snapshot: int = 0,
        on_gap: str = "raise",
        resume: dict[str, Any] | None = None,
        **params: str | int,
    ) -> Channel:
        """The rows of a channel as they are made: ``for row in ...`` or ``async for row in ...``.

        ``params`` are the channel's key fields (``interval="1m"``); without symbols, all that are followed. It begins
        with up to ``snapshot`` rows of the past, and goes on after any interruption where it was: each row of a
        lossless channel comes once and in order. If the server cannot give what was missed, `MissedRows` is raised, or
        with ``on_gap="continue"`` it goes on and counts it in `Channel.gaps`. ``resume`` takes `Channel.cursors` of an
        earlier life of your program.
        """
        if on_gap not in ("raise", "continue"):
            raise InputError(f"on_gap is 'raise' or 'continue', not {on_gap!r}")
        wanted = symbols if symbols is not None else ["*"] if symbol is None else [symbol]
        asked: dict[str, Any] = {"channel": name, "symbols": wanted, **params}
        return Channel(self.url, self._key, asked, snapshot=snapshot, is_strict=on_gap == "raise", resume=resume)

    def history(self, name: str, **params: str | int | None) -> History:
        """Stored rows of a channel: ``client.history("candles", symbol="BTCUSDT", interval="1m", start=...)``.

        The params are those of the REST route; ``start`` and ``end`` are microseconds or RFC 3339. All pages are
        fetched when the rows are asked for, with `History.arrow`, `polars`, `pandas` or `rows`.
        """
        return History(self.url, self._key, name, {k: str(v) for k, v in params.items() if v is not None})


def connect(url: str = "http://127.0.0.1:8600", key: str | None = None) -> Client:
    """A client of the Tapeflow at ``url``; ``key`` (or ``TAPEFLOW_API_KEY`` in the environment) where it needs one.

    >>> import tapeflow as tf
    >>> tf.connect("http://127.0.0.1:8600")
    <tapeflow client of http://127.0.0.1:8600>
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"expected an address such as http://127.0.0.1:8600, got {url!r}")
    return Client(url.rstrip("/"), key or os.environ.get("TAPEFLOW_API_KEY"))
