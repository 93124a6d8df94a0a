"""Results as messages of a bus: for each row its symbol and its JSON, in the order of their making."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tapeflow.engine.columns import NONE_TIME, TRADE
from tapeflow.engine.results import VENUE_CANDLES
from tapeflow.stores.channels import EVENTS, PUSHES, QUARANTINED, VENUE_CANDLE
from tapeflow.stores.results import Results
from tapeflow.stores.table import Table

Column = npt.NDArray[np.int64]
#: Symbols, and their rows as JSON.
Lines = tuple[list[str], list[bytes]]

#: So many bytes of a quarantined frame at most: an answer may have 64 MiB, a message may not. The tape has it all.
LONGEST_FRAME = 64 << 10

#: The same of the coverage of one stream: some 30,000 rows. What a symbol may have in memory is eight times as much.
LONGEST_COVERAGE = 8 << 20

_encode = msgspec.json.Encoder().encode


def lines(results: Results, channel: str) -> Lines:
    """The rows of a channel as they came; trades with their stamps, the venue's candles and `time` rows among them."""
    if channel == "trades":
        return _trades(results)
    if channel == "klines":
        return _klines(results)
    if channel == "quarantine":
        return _quarantined(results)
    table = results.whole(channel)
    return ([], []) if table is None else (_symbols(table), list(table.json_lines()))


def _klines(results: Results) -> Lines:
    rows = results.values("klines")
    pushed = results.table_in_order(PUSHES, [row for row in rows if "interval" in row]).json_lines()
    made = [next(pushed) if "interval" in row else _encode({"venue": results.venue, **row}) for row in rows]
    return [row["symbol"] for row in rows], made


def _quarantined(results: Results) -> Lines:
    table = results.table_in_order(QUARANTINED, [_cut(row) for row in results.values("quarantine")])
    return _symbols(table), list(table.json_lines())


def _cut(row: dict[str, Any]) -> dict[str, Any]:
    frame = row["frame"]
    if len(frame) <= LONGEST_FRAME:
        return row
    whole = {"frame_size": len(frame), "frame_sha256": hashlib.sha256(frame).hexdigest()}
    return {**row, **whole, "frame": frame[:LONGEST_FRAME]}


def covered(rows: Sequence[dict[str, Any]]) -> bytes:
    """All rows of one stream as one message; where they do not fit, the oldest are one row that says so."""
    whole = _encode({"data": rows})
    if len(whole) <= LONGEST_COVERAGE:
        return whole
    ordered = sorted(rows, key=lambda row: (row["ts_start"], row["ts_end"]))
    sizes = np.cumsum([len(_encode(row)) + 1 for row in reversed(ordered)])
    kept = int(np.searchsorted(sizes, LONGEST_COVERAGE - _ROOM, "right"))
    return _encode({"data": [_summed_up(ordered[: len(ordered) - kept]), *ordered[len(ordered) - kept :]]})


#: For one row, and what stands around all.
_ROOM = 4096


def _summed_up(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ids = [int(row[name]) for row in rows for name in ("first_id", "last_id") if row[name] is not None]
    first, last = (str(min(ids)), str(max(ids))) if ids else (None, None)
    return {
        **rows[0],
        "ts_end": max(row["ts_end"] for row in rows),
        "state": "unknown",
        "reason": "too_many_holes",
        "first_id": first,
        "last_id": last,
    }


def _trades(results: Results) -> Lines:
    table, candles, times = results.whole("trades"), results.values(VENUE_CANDLES), results.raw("time")
    symbols, made = [], []
    if table is not None:
        table.channel = EVENTS
        symbols, made = _symbols(table), list(table.json_lines())
    if candles:
        told = zip(candles, results.table_in_order(VENUE_CANDLE, candles).json_lines(), strict=True)
        rows = [(row["place"], row["symbol"], {**_mark(row), "candle": msgspec.Raw(line)}) for row, line in told]
        symbols, made = _among(results, symbols, made, rows)
    if times is not None:
        marks = times[["place", "symbol", "ts_watermark"]].tolist()
        rows = [(place, results.names[symbol], {"ts_watermark": instant}) for place, symbol, instant in marks]
        symbols, made = _among(results, symbols, made, rows)
    return symbols, made


def _mark(row: dict[str, Any]) -> dict[str, Any]:
    return {"ts_watermark": row["ts_watermark"]}


def _among(
    results: Results, symbols: list[str], made: list[bytes], more: Sequence[tuple[int, str, dict[str, Any]]]
) -> Lines:
    """Events with other rows between them, each before the event at its place."""
    all_symbols: list[str] = []
    all_made: list[bytes] = []
    at = 0
    for place, symbol, row in more:
        all_symbols += symbols[at:place]
        all_made += made[at:place]
        at = place
        all_symbols.append(symbol)
        all_made.append(_encode({"venue": results.venue, "symbol": symbol, **row}))
    return all_symbols + symbols[at:], all_made + made[at:]


def stamped(results: Results, numbers: Mapping[str, int]) -> tuple[Column, Column, Column]:
    """Symbols, times and stamps of the trades, and of the venue's candles, in the order in which they stand there.

    What has no stamp, because nothing was heard before, has `NONE_TIME`. The time of a candle is its start, and that
    too where it has no stamp: it is late for nothing, and no window waits for it.
    """
    trades, candles = results.raw("trades"), results.values(VENUE_CANDLES)
    rows = np.empty(0, TRADE) if trades is None else trades
    columns = (rows["symbol"], rows["ts_event"], rows["ts_watermark"])
    symbols, times, stamps = (column.astype(np.int64) for column in columns)
    if not candles:
        return symbols, times, stamps
    places = [row["place"] for row in candles]
    marks = [NONE_TIME if row["ts_watermark"] is None else row["ts_watermark"] for row in candles]
    return (
        np.insert(symbols, places, [numbers[row["symbol"]] for row in candles]),
        np.insert(times, places, [NONE_TIME if row["ts_watermark"] is None else row["ts_start"] for row in candles]),
        np.insert(stamps, places, marks),
    )


def _symbols(table: Table) -> list[str]:
    column = table.columns["symbol"]
    return column if isinstance(column, list) else column.tolist()  # type: ignore[return-value]
