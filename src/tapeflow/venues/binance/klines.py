"""Candles of the venue: pushed by stream (section 3.4 of the reference) and answered by REST (section 5.4)."""

from __future__ import annotations

from typing import Any

from tapeflow.domain.errors import Unreadable
from tapeflow.domain.events import Kline
from tapeflow.domain.time import DAY, HOUR, MINUTE, SECOND, WEEK
from tapeflow.venues.binance.fields import (
    Fields,
    counting,
    flag,
    moment,
    moment_and_unit,
    names,
    need,
    positive,
    quote_total,
    strangers,
    symbol,
    text,
    total,
    trade_range,
)

#: Length of each interval; a month has none.
LENGTHS: dict[str, int | None] = {
    "1s": SECOND,
    "1m": MINUTE,
    "3m": 3 * MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": HOUR,
    "2h": 2 * HOUR,
    "4h": 4 * HOUR,
    "6h": 6 * HOUR,
    "8h": 8 * HOUR,
    "12h": 12 * HOUR,
    "1d": DAY,
    "3d": 3 * DAY,
    "1w": WEEK,
    "1M": None,
}

#: The stream whose days begin at midnight of UTC+8. Only the stream's name tells.
EAST = "@+08:00"

PUSH_FIELDS = names("e E s k")
BAR_FIELDS = names("t T s i f L o c h l v n x q V Q B")
#: The columns of a REST row, named as the stream names them.
COLUMNS = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q")


def read_kline(fields: Fields, stream: str) -> tuple[Kline, int]:
    """A candle as it stands at ``E``; final where ``x`` is true."""
    ts_event, name = moment(fields, "E"), symbol(fields)
    bar = need(fields, "k")
    if type(bar) is not dict:
        raise Unreadable("bad_type", "k")
    if symbol(bar) != name:
        raise Unreadable("impossible_value", "s")
    first, last = trade_range(bar, "f", "L")
    interval = text(bar, "i")
    kline = bar_kline(
        bar, name, interval, closed=flag(bar, "x"), first_id=first, last_id=last, ts_event=ts_event, stream=stream
    )
    return kline, strangers(fields, PUSH_FIELDS) + strangers(bar, BAR_FIELDS)


def read_row(row: Any, name: str, interval: str, *, closed: bool) -> tuple[Kline, int]:
    """A row of a REST answer; its twelfth column is unused."""
    if type(row) is not list:
        raise Unreadable("bad_type", "klines")
    if len(row) < len(COLUMNS):
        raise Unreadable("missing_field", COLUMNS[len(row)])
    bar = dict(zip(COLUMNS, row, strict=False))
    return bar_kline(bar, name, interval, closed=closed), max(0, len(row) - 12)


def bar_kline(
    bar: Fields,
    name: str,
    interval: str,
    *,
    closed: bool,
    first_id: int | None = None,
    last_id: int | None = None,
    ts_event: int | None = None,
    stream: str = "",
) -> Kline:
    """The candle of a bar's own fields, with every relation between them checked."""
    start, end = window(bar, interval)
    kline = Kline(
        symbol=name,
        interval=interval + EAST if stream.endswith(EAST) else interval,
        ts_start=start,
        ts_end=end,
        open=positive(bar, "o"),
        high=positive(bar, "h"),
        low=positive(bar, "l"),
        close=positive(bar, "c"),
        volume=total(bar, "v"),
        quote_volume=quote_total(bar, "q"),
        taker_buy_volume=total(bar, "V"),
        taker_buy_quote_volume=quote_total(bar, "Q"),
        count=counting(bar, "n"),
        first_id=first_id,
        last_id=last_id,
        closed=closed,
        ts_event=ts_event,
    )
    _check(kline)
    return kline


def window(bar: Fields, interval: str) -> tuple[int, int]:
    """Start and exclusive end of a bar.

    The end is the start plus the interval; the last moment ``T`` need only lie inside, because bars cut short by an
    outage exist in the venue's history. A month ends after ``T``.
    """
    if interval not in LENGTHS:
        raise Unreadable("impossible_value", "i")
    start = moment(bar, "t")
    last, unit = moment_and_unit(bar, "T")
    length = LENGTHS[interval]
    end = last + unit if length is None else start + length
    if not start <= last < end or (length is None and not 27 * DAY <= end - start <= 32 * DAY):
        raise Unreadable("impossible_value", "T")
    return start, end


def _check(kline: Kline) -> None:
    if kline.low > kline.high:
        raise Unreadable("impossible_value", "l")
    if kline.taker_buy_volume > kline.volume:
        raise Unreadable("impossible_value", "V")
    if kline.taker_buy_quote_volume > kline.quote_volume:
        raise Unreadable("impossible_value", "Q")
