"""The contract by brute force: candles and means of raw Binance payloads, with no line of the package in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

Row = dict[str, Any]

INTERVALS = {
    "1s": 1, "5s": 5, "15s": 15, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400,
    "1w": 604_800,
}  # fmt: skip
DEFAULTS = tuple(name for name in INTERVALS if name != "1w")

#: 1970-01-05, a Monday.
MONDAY_US = 4 * 86_400 * 10**6
WINDOW_US, SLIDE_US, LATENESS_US = 3_000_000, 500_000, 2_000_000


class Tick(NamedTuple):
    """A trade or an aggregate; price and size are mantissas of eight decimals, times microseconds."""

    symbol: str
    key: int
    first: int
    last: int
    price: int
    size: int
    is_sell: bool
    ts: int
    is_coarse: bool
    stamp: int | None

    @property
    def count(self) -> int:
        return self.last - self.first + 1


def mantissa(text: str) -> int:
    value = Decimal(text).scaleb(8)
    assert value == int(value)
    return int(value)


def canonical(value: int, scale: int = 8) -> str:
    """A decimal without exponent and needless zeros."""
    sign, digits = "-" * (value < 0), str(abs(value)).rjust(scale + 1, "0")
    return (sign + digits[:-scale] + "." + digits[-scale:]).rstrip("0").rstrip(".")


def nearest(numerator: Fraction, denominator: Fraction) -> float:
    return float(numerator) / float(denominator)


def microseconds(ts: int) -> int:
    return ts if ts >= 10**15 else ts * 1000


def unique(payloads: Iterable[Row]) -> list[Tick]:
    """Each trade once, stamped with the watermark as the order of ``payloads`` gives it; trades win over aggregates."""
    wanted = [payload for payload in payloads if payload.get("e") in ("trade", "aggTrade")]
    single = {payload["s"] for payload in wanted if payload["e"] == "trade"}
    newest: dict[str, int] = {}
    ticks: dict[tuple[str, int], Tick] = {}
    for payload in wanted:
        symbol, is_trade = payload["s"], payload["e"] == "trade"
        key = payload["t"] if is_trade else payload["a"]
        if is_trade != (symbol in single) or (symbol, key) in ticks:
            continue
        ts = microseconds(payload["T"])
        stamp = newest[symbol] - LATENESS_US if symbol in newest else None
        first, last = (key, key) if is_trade else (payload["f"], payload["l"])
        price, size = mantissa(payload["p"]), mantissa(payload["q"])
        ticks[symbol, key] = Tick(symbol, key, first, last, price, size, payload["m"], ts, payload["T"] < 10**15, stamp)
        newest[symbol] = max(newest.get(symbol, ts), ts)
    return list(ticks.values())


def start_of(ts: int, interval: str) -> int:
    origin = MONDAY_US if interval == "1w" else 0
    return ts - (ts - origin) % (INTERVALS[interval] * 10**6)


def candle(symbol: str, interval: str, start: int, ticks: list[Tick]) -> Row:
    unit = 1000 if any(tick.is_coarse for tick in ticks) else 1
    ordered = sorted(ticks, key=lambda tick: (tick.ts // unit, tick.first))
    volume = sum(tick.size for tick in ticks)
    quote = sum(tick.price * tick.size for tick in ticks)
    return {
        "symbol": symbol,
        "interval": interval,
        "ts_start": start,
        "ts_end": start + INTERVALS[interval] * 10**6,
        "open": canonical(ordered[0].price),
        "high": canonical(max(tick.price for tick in ticks)),
        "low": canonical(min(tick.price for tick in ticks)),
        "close": canonical(ordered[-1].price),
        "volume": canonical(volume),
        "quote_volume": canonical(quote, 16),
        "taker_buy_volume": canonical(sum(tick.size for tick in ticks if not tick.is_sell)),
        "count": sum(tick.count for tick in ticks),
        "vwap": nearest(Fraction(quote, 10**16), Fraction(volume, 10**8)),
    }


def candles(ticks: list[Tick], intervals: Iterable[str]) -> list[Row]:
    names, newest = list(intervals), _newest(ticks)
    windows: dict[tuple[str, str, int], list[Tick]] = defaultdict(list)
    for tick in ticks:
        for interval in names:
            windows[tick.symbol, interval, start_of(tick.ts, interval)].append(tick)
    return [
        candle(symbol, interval, start, held) | _ending(start + INTERVALS[interval] * 10**6, newest[symbol], held)
        for (symbol, interval, start), held in windows.items()
    ]


def means(ticks: list[Tick]) -> list[Row]:
    newest = _newest(ticks)
    windows: dict[tuple[str, int], list[Tick]] = defaultdict(list)
    for tick in ticks:
        end = tick.ts - tick.ts % SLIDE_US + SLIDE_US
        for last in range(end, tick.ts + WINDOW_US + 1, SLIDE_US):
            windows[tick.symbol, last].append(tick)
    return [
        {
            "symbol": symbol,
            "window_ms": 3000,
            "slide_ms": 500,
            "ts_start": end - WINDOW_US,
            "ts_end": end,
            "mean": nearest(
                Fraction(sum(tick.price * tick.count for tick in held), 10**8),
                Fraction(sum(tick.count for tick in held)),
            ),
            "count": sum(tick.count for tick in held),
        }
        | _ending(end, newest[symbol], held)
        for (symbol, end), held in windows.items()
    ]


def _newest(ticks: Iterable[Tick]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for tick in ticks:
        newest[tick.symbol] = max(tick.ts, newest.get(tick.symbol, tick.ts))
    return newest


def _ending(end: int, newest: int, held: list[Tick]) -> Row:
    """Closed: the watermark has reached the end. Revision: the events that came after that."""
    revision = sum(tick.stamp is not None and tick.stamp >= end for tick in held)
    return {"closed": newest - LATENESS_US >= end, "revision": revision}


def in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["ts_end"], row["symbol"], row.get("interval", "")))
