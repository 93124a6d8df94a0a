"""Candles for a person in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
from rich.table import Table
from rich.text import Text

from tapeflow.domain.errors import InputError
from tapeflow.domain.time import time_text

HEIGHT = 16


class Candle(msgspec.Struct):
    """What is shown of a candle row."""

    symbol: str
    interval: str
    ts_start: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    count: int
    closed: bool


def load_candles(results: Path, symbol: str | None, interval: str, last: int) -> list[Candle]:
    """The last candles of a symbol in a results folder; raises `InputError`."""
    rows = _rows(results)
    symbols = sorted({row.symbol for row in rows})
    chosen = symbol.upper() if symbol else next(iter(symbols), "")
    found = [row for row in rows if row.symbol.upper() == chosen and row.interval == interval]
    if not found:
        intervals = sorted({row.interval for row in rows})
        raise InputError(
            f"no {interval} candles of {chosen or 'any symbol'} in {results}; "
            f"it has {', '.join(symbols) or 'none'} at {', '.join(intervals) or 'no interval'}"
        )
    return found[-last:]


def _rows(results: Path) -> list[Candle]:
    lines, parquet = results / "candles.ndjson", results / "candles.parquet"
    if lines.exists():
        decode = msgspec.json.Decoder(Candle).decode
        with lines.open("rb") as file:
            return [decode(line) for line in file]
    if parquet.exists():
        return [_candle(row) for row in pq.read_table(parquet).to_pylist()]
    raise InputError(f"{results} has no candles; write them with `tapeflow replay FILE --out {results}`")


def _candle(row: dict[str, Any]) -> Candle:
    texts = {name: f"{row[name].normalize():f}" for name in ("open", "high", "low", "close", "volume")}
    start = int(row["ts_start"].timestamp() * 1_000_000)
    return Candle(row["symbol"], row["interval"], start, **texts, count=row["count"], closed=row["closed"])


def table(candles: list[Candle]) -> Table:
    """The candles as a table; an open one is marked."""
    shown = Table(title=f"{candles[0].symbol} {candles[0].interval}", title_justify="left")
    shown.add_column("start (UTC)")
    for name in ("open", "high", "low", "close", "volume", "trades"):
        shown.add_column(name, justify="right")
    for c in candles:
        start = time_text(c.ts_start) + ("" if c.closed else " forming")
        shown.add_row(start, c.open, c.high, c.low, c.close, c.volume, str(c.count))
    return shown


def picture(candles: list[Candle]) -> Text:
    """The candles drawn with box characters: a thin line from low to high, a thick one from open to close."""
    top = max(float(c.high) for c in candles)
    bottom = min(float(c.low) for c in candles)
    step = (top - bottom) / HEIGHT or 1.0
    label = max(len(f"{top:.8g}"), len(f"{bottom:.8g}"))
    text = Text()
    for row in range(HEIGHT):
        high, low = top - row * step, top - (row + 1) * step
        name = f"{high:.8g}" if row == 0 else f"{low:.8g}" if row == HEIGHT - 1 else ""
        text.append(f"{name:>{label}} ", "dim")
        for c in candles:
            text.append(_cell(c, low, high), "green" if float(c.close) >= float(c.open) else "red")
        text.append("\n")
    return text


def _cell(candle: Candle, low: float, high: float) -> str:
    body = sorted((float(candle.open), float(candle.close)))
    if body[0] <= high and body[1] >= low:
        return "┃"
    return "│" if float(candle.low) <= high and float(candle.high) >= low else " "
