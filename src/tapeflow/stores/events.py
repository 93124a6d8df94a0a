"""Results as messages of a bus: for each row its symbol and its JSON, in the order of their making."""

from __future__ import annotations

import msgspec

from tapeflow.stores.channels import EVENTS, PUSHES
from tapeflow.stores.results import Results
from tapeflow.stores.table import Table

#: Symbols, and their rows as JSON.
Lines = tuple[list[str], list[bytes]]

_encode = msgspec.json.Encoder().encode


def lines(results: Results, channel: str) -> Lines:
    """The rows of a channel as they came; trades with their stamps, and with the `time` rows among them."""
    if channel == "trades":
        return _trades(results)
    if channel == "klines":
        return _klines(results)
    table = results.whole(channel)
    return ([], []) if table is None else (_symbols(table), list(table.json_lines()))


def _klines(results: Results) -> Lines:
    rows = results.values("klines")
    pushed = results.table_in_order(PUSHES, [row for row in rows if "interval" in row]).json_lines()
    made = [next(pushed) if "interval" in row else _encode({"venue": results.venue, **row}) for row in rows]
    return [row["symbol"] for row in rows], made


def _trades(results: Results) -> Lines:
    table, times = results.whole("trades"), results.raw("time")
    symbols, made = [], []
    if table is not None:
        table.channel = EVENTS
        symbols, made = _symbols(table), list(table.json_lines())
    if times is None:
        return symbols, made
    return _among(results, symbols, made, times[["place", "symbol", "ts_watermark"]].tolist())


def _among(results: Results, symbols: list[str], made: list[bytes], marks: list[tuple[int, int, int]]) -> Lines:
    """Events with time rows between them, each before the event at its place."""
    all_symbols: list[str] = []
    all_made: list[bytes] = []
    at = 0
    for place, symbol, instant in marks:
        all_symbols += symbols[at:place]
        all_made += made[at:place]
        at = place
        name = results.names[symbol]
        all_symbols.append(name)
        all_made.append(_encode({"venue": results.venue, "symbol": name, "ts_watermark": instant}))
    return all_symbols + symbols[at:], all_made + made[at:]


def _symbols(table: Table) -> list[str]:
    column = table.columns["symbol"]
    return column if isinstance(column, list) else column.tolist()  # type: ignore[return-value]
