"""The venue's REST endpoints: each a function of a request's parameters and the venue's time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from tapeflow.domain.time import DAY, HOUR, MINUTE
from tapeflow.exchange.limits import WEIGHT_LIMIT
from tapeflow.exchange.params import Params, Refusal, unknown_symbol
from tapeflow.sim import answers
from tapeflow.sim.bars import INTERVALS
from tapeflow.sim.edition import Edition

_WINDOW = {"m": MINUTE, "h": HOUR, "d": DAY}
_MOST = {"m": 59, "h": 23, "d": 7}


class Book(Protocol):
    """The symbols of the venue."""

    editions: dict[str, Edition]

    def get(self, symbol: str) -> Edition | None: ...
    def status(self, edition: Edition, at: int) -> str: ...


class Asked(msgspec.Struct, frozen=True):
    """A request: what, when, and in which unit times are wanted. ``depth_at`` is when a book is taken."""

    venue: Book
    params: Params
    now: int
    unit: int
    depth_at: int

    def edition(self) -> Edition:
        """The one symbol asked for."""
        return self._known(self.params.symbol())

    def editions(self) -> list[Edition]:
        """The symbols asked for, or all."""
        names = self.params.symbols()
        if names is None:
            return [edition for edition in self.venue.editions.values() if edition.ended > self.now]
        return [self._known(name) for name in names]

    def _known(self, name: str) -> Edition:
        edition = self.venue.get(name)
        if edition is None:
            raise unknown_symbol()
        return edition


class Endpoint(msgspec.Struct, frozen=True):
    """One path: its parameters, its weight, its answer."""

    known: tuple[str, ...]
    weight: Callable[[Params, int], int]
    answer: Callable[[Asked], str]


def _ping(asked: Asked) -> str:
    return "{}"


def _time(asked: Asked) -> str:
    return f'{{"serverTime":{asked.now // asked.unit}}}'


def _exchange_info(asked: Asked) -> str:
    rows = [answers.symbol_row(edition.spec, asked.venue.status(edition, asked.now)) for edition in asked.editions()]
    status = asked.params.text("symbolStatus")
    if status is not None:
        rows = [row for row in rows if f'"status":"{status}"' in row]
    limits = (
        f'{{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":{WEIGHT_LIMIT}}},'
        '{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":100},'
        '{"rateLimitType":"ORDERS","interval":"DAY","intervalNum":1,"limit":200000},'
        '{"rateLimitType":"RAW_REQUESTS","interval":"MINUTE","intervalNum":5,"limit":300000}'
    )
    return (
        f'{{"timezone":"UTC","serverTime":{asked.now // asked.unit},"rateLimits":[{limits}],"exchangeFilters":[],'
        f'"symbols":{_array(rows)},"sors":[]}}'
    )


def _depth(asked: Asked) -> str:
    edition = asked.edition()
    limit = asked.params.limit(100, 5000)
    return answers.depth(edition, edition.market.slot_at(max(asked.depth_at, edition.listed)), limit)


def _trades(asked: Asked) -> str:
    return _last_trades(asked, asked.edition(), asked.params.limit(500, 1000))


def _historical_trades(asked: Asked) -> str:
    edition, limit, first = asked.edition(), asked.params.limit(500, 1000), asked.params.whole("fromId")
    if first is None:
        return _last_trades(asked, edition, limit)
    runs = edition.trades_of(first, limit, asked.now)
    return _array(answers.trade_rows(edition, runs, asked.unit))


def _last_trades(asked: Asked, edition: Edition, limit: int) -> str:
    wanted = limit + edition.skipped
    runs = edition.trades_of(edition.next_trade(asked.now) - wanted, wanted, asked.now)
    return _array(list(answers.trade_rows(edition, runs, asked.unit))[-limit:])


def _aggregates(asked: Asked) -> str:
    edition, params, limit = asked.edition(), asked.params, asked.params.limit(500, 1000)
    first, start, end = params.whole("fromId"), params.start(), params.end()
    if first is not None and (start is not None or end is not None):
        raise Refusal(-1128, "Combination of optional parameters invalid.")
    until = asked.now if end is None else min(end, asked.now)
    if first is None:
        first = edition.next_aggregate(until) - limit if start is None else edition.next_aggregate(start)
    return _array(answers.aggregate_rows(edition, edition.aggregates_of(first, limit, until), asked.unit))


def _klines(asked: Asked) -> str:
    edition, params, zone_us = asked.edition(), asked.params, asked.params.zone_us()
    interval = params.needed("interval")
    if interval not in INTERVALS:
        raise Refusal(-1120, "Invalid interval.")
    start, end = params.start(), params.end()
    until = min(asked.now if end is None else end, asked.now, edition.ended)
    starts = answers.bar_starts(interval, start, until, params.limit(500, 1000), edition.listed, zone_us)
    rows = (answers.kline_row(edition, interval, at, asked.now, asked.unit, zone_us) for at in starts)
    return _array(row for row in rows if row is not None)


def _mean(asked: Asked) -> str:
    return answers.mean_price(asked.edition(), asked.now, asked.unit)


def _day_ticker(asked: Asked) -> str:
    is_mini = _type(asked.params) == "MINI"
    return _each(asked, lambda edition: answers.day_ticker(edition, asked.now, asked.unit, is_mini=is_mini))


def _price(asked: Asked) -> str:
    return _each(asked, lambda edition: answers.price(edition, asked.now))


def _quotes(asked: Asked) -> str:
    return _each(asked, lambda edition: answers.book_ticker(edition, asked.now))


def _window_ticker(asked: Asked) -> str:
    if asked.params.symbols() is None:
        raise Refusal(-1102, "Mandatory parameter 'symbol' or 'symbols' was not sent, was empty/null, or malformed.")
    window_us, is_mini = _window_us(asked.params), _type(asked.params) == "MINI"
    return _each(
        asked, lambda edition: answers.window_ticker(edition, window_us, asked.now, asked.unit, is_mini=is_mini)
    )


def _each(asked: Asked, row: Callable[[Edition], str]) -> str:
    """An object for ``symbol``, an array for ``symbols`` or none."""
    editions = asked.editions()
    return row(editions[0]) if asked.params.text("symbol") is not None else _array(map(row, editions))


def _type(params: Params) -> str | None:
    return params.choice("type", ("FULL", "MINI"), -1139, "Invalid ticker type.")


def _window_us(params: Params) -> int:
    text = params.text("windowSize") or "1d"
    count, unit = text[:-1], text[-1:]
    if unit not in _WINDOW or not count.isascii() or not count.isdigit() or not 1 <= int(count) <= _MOST[unit]:
        raise Refusal(-1130, "Data sent for parameter 'windowSize' is not valid.")
    return int(count) * _WINDOW[unit]


def _array(rows: Iterable[str]) -> str:
    return f"[{','.join(rows)}]"


def _plain(weight: int) -> Callable[[Params, int], int]:
    return lambda params, symbols: weight


def _one_or_all(one: int, many: int) -> Callable[[Params, int], int]:
    return lambda params, symbols: one if params.text("symbol") is not None else many


def _depth_weight(params: Params, symbols: int) -> int:
    limit = params.limit(100, 5000)
    return next(weight for most, weight in ((100, 5), (500, 25), (1000, 50), (5000, 250)) if limit <= most)


def _day_weight(params: Params, symbols: int) -> int:
    names = params.symbols()
    count = symbols if names is None else len(names)
    return 80 if names is None or count > 100 else 40 if count > 20 else 2


def _window_weight(params: Params, symbols: int) -> int:
    return min(200, 4 * len(params.symbols() or ()))


_MANY = ("symbol", "symbols", "symbolStatus")
_KLINES = Endpoint(("symbol", "interval", "startTime", "endTime", "timeZone", "limit"), _plain(2), _klines)

ENDPOINTS = {
    "ping": Endpoint((), _plain(1), _ping),
    "time": Endpoint((), _plain(1), _time),
    "exchangeInfo": Endpoint((*_MANY, "permissions", "showPermissionSets"), _plain(20), _exchange_info),
    "depth": Endpoint(("symbol", "limit", "symbolStatus"), _depth_weight, _depth),
    "trades": Endpoint(("symbol", "limit"), _plain(25), _trades),
    "historicalTrades": Endpoint(("symbol", "limit", "fromId"), _plain(25), _historical_trades),
    "aggTrades": Endpoint(("symbol", "fromId", "startTime", "endTime", "limit"), _plain(4), _aggregates),
    "klines": _KLINES,
    "uiKlines": _KLINES,
    "avgPrice": Endpoint(("symbol",), _plain(2), _mean),
    "ticker/24hr": Endpoint((*_MANY, "type"), _day_weight, _day_ticker),
    "ticker/price": Endpoint(_MANY, _one_or_all(2, 4), _price),
    "ticker/bookTicker": Endpoint(_MANY, _one_or_all(2, 4), _quotes),
    "ticker": Endpoint((*_MANY, "windowSize", "type"), _window_weight, _window_ticker),
}
