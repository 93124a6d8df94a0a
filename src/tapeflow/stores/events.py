"""Results as messages of a bus: for each row its symbol and its JSON, in the order of their making."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from tapeflow.stores.channels import EVENTS, PUSHES
from tapeflow.stores.results import Results
from tapeflow.stores.table import Table

#: (symbol, row as JSON)
Line = tuple[str, bytes]

_encode = msgspec.json.Encoder().encode


def lines(results: Results, channel: str) -> Iterator[Line]:
    """The rows of a channel as they came; trades with their stamps, and with the `time` rows among them."""
    if channel == "trades":
        return _trades(results)
    if channel == "klines":
        return _klines(results)
    return _plain(results, channel)


def _plain(results: Results, channel: str) -> Iterator[Line]:
    table = results.whole(channel)
    if table is None:
        return iter(())
    return zip(_symbols(table), table.json_lines(), strict=True)


def _klines(results: Results) -> Iterator[Line]:
    rows = results.values("klines")
    pushed = results.table_in_order(PUSHES, [row for row in rows if "interval" in row]).json_lines()
    for row in rows:
        is_time = "interval" not in row
        yield row["symbol"], _encode({"venue": results.venue, **row}) if is_time else next(pushed)


def _trades(results: Results) -> Iterator[Line]:
    table, times = results.whole("trades"), results.raw("time")
    marks = [] if times is None else times[["place", "symbol", "ts_watermark"]].tolist()
    at = 0
    if table is not None:
        table.channel = EVENTS
        for place, line in enumerate(zip(_symbols(table), table.json_lines(), strict=True)):
            while at < len(marks) and marks[at][0] <= place:
                yield _time(results, *marks[at][1:])
                at += 1
            yield line
    for _, symbol, instant in marks[at:]:
        yield _time(results, symbol, instant)


def _symbols(table: Table) -> Sequence[str]:
    column = table.columns["symbol"]
    return column if isinstance(column, list) else column.tolist()  # type: ignore[return-value]


def _time(results: Results, symbol: int, instant: int) -> Line:
    name = results.names[symbol]
    return name, _encode({"venue": results.venue, "symbol": name, "ts_watermark": instant})
