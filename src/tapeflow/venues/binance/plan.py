"""What to say and ask to follow a set of streams (sections 1.4 and 2 of the reference)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from tapeflow.domain.events import Fetch, Send

#: Names in one SUBSCRIBE message. The venue states no bound; five messages a second are allowed, 1024 streams in all.
BATCH = 200

_DEPTH = re.compile(r"depth(?:@100ms|@1000ms)?")


def stream_name(symbol: str, stream: str) -> str:
    """The name on the wire: the symbol in lower case, the rest as it is. Streams of all symbols have no symbol.

    >>> stream_name("BTCUSDT", "kline_1M"), stream_name("", "!miniTicker@arr")
    ('btcusdt@kline_1M', '!miniTicker@arr')
    """
    return f"{symbol.lower()}@{stream}" if symbol else stream


def is_depth(stream: str) -> bool:
    """True for the stream of a book's changes, which needs a snapshot; partial depth does not."""
    return _DEPTH.fullmatch(stream) is not None


def subscribe(names: Iterable[str], first_id: int) -> Iterator[Send]:
    """SUBSCRIBE messages of at most `BATCH` names, each name once, numbered from ``first_id``."""
    distinct = list(dict.fromkeys(names))
    for number, at in enumerate(range(0, len(distinct), BATCH), first_id):
        params = distinct[at : at + BATCH]
        yield Send(msgspec.json.encode({"method": "SUBSCRIBE", "params": params, "id": number}))


def fetch_instruments() -> Fetch:
    """All instruments, also those not asked for: a name that is unknown can then be answered with its nearest.

    The permission sets are left out, because with them the answer of all symbols is many times longer.
    """
    return Fetch("/api/v3/exchangeInfo", {"showPermissionSets": "false"}, "instruments", weight=20)


def fetch_trades(symbol: str, first_id: int, last_id: int) -> Fetch:
    """The first page of the trades ``first_id..last_id``.

    historicalTrades serves a hole between aggregates too: it is asked by trade id and so answers exactly the ids
    that are missing, while aggTrades would have to be asked by time, where the edges fall inside a millisecond.
    """
    limit = min(1000, last_id - first_id + 1)
    query = {"symbol": symbol, "fromId": str(first_id), "limit": str(limit)}
    return Fetch("/api/v3/historicalTrades", query, "missing_ids", symbol, weight=25)
