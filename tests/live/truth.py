"""What the simulated venue knows to be true, and what a store makes of it: two independent computations, compared."""

from __future__ import annotations

import json
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

#: Windows compared: those that the brute force below can cut (from Monday 1970-01-05 on all begin at multiples).
INTERVALS = {"1s": 1, "5s": 5, "15s": 15, "1m": 60, "5m": 300, "15m": 900, "1h": 3600}


class Found(NamedTuple):
    """What a comparison saw: how much was compared, and every difference."""

    trades: int
    candles: int
    complete_s: float
    gaps: list[tuple[Any, ...]]
    wrong: list[str]


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.loads(answer.read())


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def compare(data: Path, rest: str) -> Found:
    """The store of a data folder (nobody has it open) against the venue's truth, wherever coverage says complete."""
    store = duckdb.connect(str(data / "results.duckdb"), read_only=True)
    try:
        runs = store.execute(
            "SELECT symbol, epoch_us(ts_start), epoch_us(ts_end), CAST(first_id AS BIGINT), CAST(last_id AS BIGINT) "
            "FROM coverage WHERE stream = 'trades' AND state = 'complete' ORDER BY ALL"
        ).fetchall()
        gaps = store.execute(
            "SELECT symbol, epoch_us(ts_start), epoch_us(ts_end), first_id, last_id, reason "
            "FROM coverage WHERE stream = 'trades' AND state <> 'complete' ORDER BY ALL"
        ).fetchall()
        unknown = [gap for gap in gaps if gap[5] == "late"]
        found = [_run(store, rest, *run, unknown) for run in runs]
    finally:
        store.close()
    return Found(
        sum(one[0] for one in found),
        sum(one[1] for one in found),
        sum((run[2] - run[1]) / 1e6 for run in runs),
        gaps,
        [text for one in found for text in one[2]] + _doubled(data),
    )


def _run(
    store: Any, rest: str, symbol: str, start: int, end: int, first: int, last: int, unknown: list[Any]
) -> tuple[int, int, list[str]]:
    truth = _truth(rest, symbol, start, end, first, last)
    wrong = _trades(store, symbol, first, last, truth)
    candles = 0
    for name, seconds in INTERVALS.items():
        size = seconds * 1_000_000
        expected = _candles(truth, size, start, end)
        rows = _stored(store, symbol, name, start, end)
        closed_until = max(rows, default=0)
        for ts, want in expected.items():
            if any(gap[0] == symbol and gap[1] < ts + size and gap[2] >= ts for gap in unknown):
                continue
            if ts > closed_until:
                continue  # not closed yet when the run ended
            candles += 1
            if rows.get(ts) != want:
                wrong.append(f"{symbol} {name} {ts}: stored {rows.get(ts)}, true {want}")
    return len(truth), candles, wrong


def _truth(rest: str, symbol: str, start: int, end: int, first: int, last: int) -> list[tuple[Any, ...]]:
    trades: list[tuple[Any, ...]] = []
    at = start
    while at <= end:
        until = min(at + 600_000_000, end + 1)
        url = f"{rest}/control/truth/trades?symbol={symbol}&start={at}&end={until}"
        trades += [
            (t["time"], t["id"], Decimal(t["price"]), Decimal(t["qty"]), t["isBuyerMaker"])
            for t in get(url)
            if first <= t["id"] <= last
        ]
        at = until
    return sorted(trades, key=lambda t: t[1])


def _trades(store: Any, symbol: str, first: int, last: int, truth: list[tuple[Any, ...]]) -> list[str]:
    """Every true trade once, alone or in an aggregate, and no other."""
    rows = store.execute(
        "SELECT CAST(coalesce(first_id, id) AS BIGINT) f, CAST(coalesce(last_id, id) AS BIGINT) l, price, size "
        "FROM trades WHERE symbol = ? AND CAST(coalesce(first_id, id) AS BIGINT) BETWEEN ? AND ? ORDER BY f",
        [symbol, first, last],
    ).fetchall()
    wrong = []
    sizes = {t[1]: (t[2], t[3]) for t in truth}
    expected = first
    for low, high, price, size in rows:
        if low != expected:
            wrong.append(
                f"{symbol}: stored trade {low} where {expected} was due ({'twice' if low < expected else 'lost'})"
            )
        expected = high + 1
        parts = [sizes[n] for n in range(low, high + 1) if n in sizes]
        if len(parts) != high - low + 1 or {p for p, _ in parts} != {price} or sum(s for _, s in parts) != size:
            wrong.append(f"{symbol}: trade {low}..{high} is stored as {price} {size}, true {parts}")
        if len(wrong) > 10:
            break
    if rows and expected != last + 1 and len(wrong) <= 10:
        wrong.append(f"{symbol}: trades {expected}..{last} are not stored though coverage says complete")
    return wrong


def _candles(truth: list[tuple[Any, ...]], size: int, start: int, end: int) -> dict[int, tuple[Any, ...]]:
    """Candles of the windows that lie wholly inside, by brute force."""
    windows: dict[int, list[tuple[Any, ...]]] = {}
    for trade in truth:
        windows.setdefault(trade[0] // size * size, []).append(trade)
    found = {}
    for ts, trades in windows.items():
        if ts <= start or ts + size > end:
            continue
        prices = [t[2] for t in sorted(trades, key=lambda t: (t[0], t[1]))]
        volume = sum(t[3] for t in trades)
        quote = sum(t[2] * t[3] for t in trades)
        taker = sum(t[3] for t in trades if not t[4])
        found[ts] = (prices[0], max(prices), min(prices), prices[-1], volume, quote, taker, len(trades))
    return found


def _stored(store: Any, symbol: str, interval: str, start: int, end: int) -> dict[int, tuple[Any, ...]]:
    rows = store.execute(
        "SELECT epoch_us(ts_start), open, high, low, close, volume, quote_volume, taker_buy_volume, count FROM candles "
        "WHERE symbol = ? AND interval = ? AND epoch_us(ts_start) BETWEEN ? AND ?",
        [symbol, interval, start - 1, end],
    ).fetchall()
    return {row[0]: tuple(row[1:]) for row in rows}


def _doubled(data: Path) -> list[str]:
    """Rows of a key that stand there twice."""
    store = duckdb.connect(str(data / "results.duckdb"), read_only=True)
    keys = {
        "trades": "symbol, id",
        "quotes": "symbol, id",
        "candles": "symbol, interval, ts_start",
        "moving_average": "symbol, window_ms, slide_ms, ts_start",
        "indicators": "symbol, interval, name, ts_start",
    }
    wrong = []
    for table, key in keys.items():
        count = store.execute(
            f"SELECT count(*) FROM (SELECT {key} FROM {table} GROUP BY ALL HAVING count(*) > 1)"
        ).fetchone()
        if count and count[0]:
            wrong.append(f"{table}: {count[0]} keys have more than one row")
    store.close()
    return wrong
