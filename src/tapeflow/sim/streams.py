"""What each stream sends: a function of the market, the stream's name and a stretch of time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from tapeflow.domain.time import DAY, HOUR, MILLISECOND, MINUTE, SECOND
from tapeflow.sim import wire
from tapeflow.sim.bars import INTERVALS, bar_end, bar_start
from tapeflow.sim.candle import Candle
from tapeflow.sim.edition import Edition, Run
from tapeflow.sim.wire import Text, boolean

#: Time of an event and its payload.
Sent = tuple[int, str]

_NAME = re.compile(
    r"(?P<symbol>[^@!]+)@(?:(?P<plain>trade|aggTrade|bookTicker|avgPrice|miniTicker|ticker)"
    r"|ticker_(?P<window>1h|4h|1d)"
    r"|kline_(?P<interval>1s|1m|3m|5m|15m|30m|1h|2h|4h|6h|8h|12h|1d|3d|1w|1M)(?P<zone>@\+08:00)?"
    r"|depth(?P<levels>5|10|20)?(?P<fast>@100ms|@1000ms)?)"
)
_ALL = re.compile(r"!(?:miniTicker|ticker_(?P<window>1h|4h|1d))@arr")
_WINDOWS = {"1h": HOUR, "4h": 4 * HOUR, "1d": DAY}
_SENT_AFTER = 200


class Stream(msgspec.Struct, frozen=True):
    """A stream's name, read. ``symbol`` is empty for a stream of all symbols."""

    name: str
    symbol: str
    kind: str
    interval: str = ""
    zone_us: int = 0
    levels: int = 0
    period_us: int = SECOND

    @property
    def reach_us(self) -> int:
        """How far back trades are needed."""
        if self.kind == "kline":
            return INTERVALS[self.interval] or 31 * DAY
        return {"ticker": DAY, "miniTicker": DAY, "window": _WINDOWS.get(self.interval, 0)}.get(self.kind, 0)


def read_stream(name: str) -> Stream | None:
    """The stream of this name; None if the venue has none of the form."""
    whole = _ALL.fullmatch(name)
    if whole:
        window = whole["window"]
        return Stream(name, "", "window" if window else "miniTicker", window or "")
    match = _NAME.fullmatch(name)
    if match is None or match["symbol"] != match["symbol"].lower():
        return None
    symbol = match["symbol"].upper()
    if match["plain"]:
        return Stream(name, symbol, match["plain"])
    if match["window"]:
        return Stream(name, symbol, "window", match["window"])
    if match["interval"]:
        period = SECOND if match["interval"] == "1s" else 2 * SECOND
        return Stream(name, symbol, "kline", match["interval"], 8 * HOUR if match["zone"] else 0, period_us=period)
    period = 100 * MILLISECOND if match["fast"] == "@100ms" else SECOND
    levels = int(match["levels"] or 0)
    return Stream(name, symbol, "partial" if levels else "depth", levels=levels, period_us=period)


def sent(stream: Stream, edition: Edition, start: int, end: int, unit: int) -> Iterator[Sent]:
    """All events of the stream in ``[start, end)`` in order of time; ``unit`` is `wire.MILLI` or `wire.MICRO`."""
    return _KINDS[stream.kind](stream, edition, max(start, edition.listed), min(end, edition.ended), unit)


def _trades(stream: Stream, edition: Edition, start: int, end: int, unit: int) -> Iterator[Sent]:
    text, name = Text(edition.spec), edition.spec.symbol
    price, size = text.price, text.size
    for run in edition.trades(start, end):
        for ts, id, at, of, buy in wire.trades(run):
            yield (
                ts,
                f'{{"e":"trade","E":{(ts + _SENT_AFTER) // unit},"s":"{name}","t":{id},"p":"{price(at)}",'
                f'"q":"{size(of)}","T":{ts // unit},"m":{"false" if buy else "true"},"M":true}}',
            )


def _aggregates(stream: Stream, edition: Edition, start: int, end: int, unit: int) -> Iterator[Sent]:
    text, name = Text(edition.spec), edition.spec.symbol
    price, size = text.price, text.size
    for run in edition.trades(start, end):
        for ts, id, at, of, buy, first, last in wire.aggregates(run):
            yield (
                ts,
                f'{{"e":"aggTrade","E":{(ts + _SENT_AFTER) // unit},"s":"{name}","a":{id},"p":"{price(at)}",'
                f'"q":"{size(of)}","f":{first},"l":{last},"T":{ts // unit},'
                f'"m":{"false" if buy else "true"},"M":true}}',
            )


def _quotes(stream: Stream, edition: Edition, start: int, end: int, unit: int) -> Iterator[Sent]:
    market, text, name = edition.market, Text(edition.spec), edition.spec.symbol
    price, size = text.price, text.size
    for quote in market.quotes(market.slot_at(start - 1) + 1, market.slot_at(end - 1) + 1):
        yield (
            market.slot_start(quote.slot),
            f'{{"u":{market.update_id(quote.slot)},"s":"{name}","b":"{price(quote.bid)}","B":"{size(quote.bid_size)}",'
            f'"a":"{price(quote.ask)}","A":"{size(quote.ask_size)}"}}',
        )


def _depth(stream: Stream, edition: Edition, start: int, end: int, unit: int) -> Iterator[Sent]:
    """Every level that any slot of the period touched, as it is at the end: a book of any id in it can go on."""
    market, text = edition.market, Text(edition.spec)
    for at in _times(start, end, stream.period_us):
        first, last = market.slot_at(at - stream.period_us) + 1, market.slot_at(at)
        if first > last:
            continue
        bids: dict[int, int] = {}
        asks: dict[int, int] = {}
        for slot in range(first, last + 1):
            changes = market.changes(slot)
            bids.update(changes.bids)
            asks.update(changes.asks)
        yield (
            at,
            f'{{"e":"depthUpdate","E":{at // unit},"s":"{edition.spec.symbol}","U":{market.update_id(first - 1) + 1},'
            f'"u":{market.update_id(last)},"b":{text.levels(sorted(bids.items(), reverse=True))},'
            f'"a":{text.levels(sorted(asks.items()))}}}',
        )


def _partial(stream: Stream, edition: Edition, start: int, end: int, unit: int) -> Iterator[Sent]:
    market, text = edition.market, Text(edition.spec)
    for at in _times(start, end, stream.period_us):
        slot = market.slot_at(at)
        if slot == market.slot_at(at - stream.period_us):
            continue
        bids, asks = market.book(slot)
        yield (
            at,
            f'{{"lastUpdateId":{market.update_id(slot)},"bids":{text.levels(wire.best(bids, stream.levels))},'
            f'"asks":{text.levels(wire.best(asks, stream.levels))}}}',
        )


def _klines(stream: Stream, edition: Edition, start: int, end: int, unit: int) -> Iterator[Sent]:
    """The bar that closes at the moment of the push, or else the forming one."""
    text, spec = Text(edition.spec), edition.spec
    for at in _times(start, end, stream.period_us):
        begin = bar_start(stream.interval, at - 1, stream.zone_us)
        stop = bar_end(stream.interval, begin, stream.zone_us)
        bar = candle_or_flat(edition, begin, at)
        if bar is None:
            continue
        yield (
            at,
            f'{{"e":"kline","E":{at // unit},"s":"{spec.symbol}","k":{{"t":{begin // unit},"T":{stop // unit - 1},'
            f'"s":"{spec.symbol}","i":"{stream.interval}","f":{bar.first_id},"L":{bar.last_id},'
            f'"o":"{text.price(bar.open)}","c":"{text.price(bar.close)}","h":"{text.price(bar.high)}",'
            f'"l":"{text.price(bar.low)}","v":"{text.size(bar.volume)}","n":{bar.count},"x":{boolean(stop <= at)},'
            f'"q":"{text.turnover(bar.turnover)}","V":"{text.size(bar.buy_volume)}",'
            f'"Q":"{text.turnover(bar.buy_turnover)}","B":"0"}}}}',
        )


def _mini_tickers(stream: Stream, edition: Edition, start: int, end: int, unit: int) -> Iterator[Sent]:
    text = Text(edition.spec)
    for at in _times(start, end, SECOND):
        day = edition.candle(at - DAY, at)
        if day is None:
            continue
        yield (
            at,
            f'{{"e":"24hrMiniTicker","E":{at // unit},"s":"{edition.spec.symbol}","c":"{text.price(day.close)}",'
            f'"o":"{text.price(day.open)}","h":"{text.price(day.high)}","l":"{text.price(day.low)}",'
            f'"v":"{text.size(day.volume)}","q":"{text.turnover(day.turnover)}"}}',
        )


def _tickers(stream: Stream, edition: Edition, start: int, end: int, unit: int) -> Iterator[Sent]:
    text, spec, market = Text(edition.spec), edition.spec, edition.market
    for at in _times(start, end, SECOND):
        day = edition.candle(at - DAY, at)
        if day is None:
            continue
        before = edition.last_price(at - DAY)
        quote = market.quote(market.slot_at(at))
        yield (
            at,
            f'{{"e":"24hrTicker","E":{at // unit},"s":"{spec.symbol}","p":"{text.price(day.close - day.open)}",'
            f'"P":"{wire.percent(day)}","w":"{text.eight(wire.mean_price(spec, day))}",'
            f'"x":"{text.price(day.open if before is None else before)}","c":"{text.price(day.close)}",'
            f'"Q":"{text.size(last_size(edition, at))}",'
            f'"b":"{text.price(quote.bid)}","B":"{text.size(quote.bid_size)}",'
            f'"a":"{text.price(quote.ask)}","A":"{text.size(quote.ask_size)}",'
            f"{_window_tail(text, day, at - DAY, at, unit)}",
        )


def _windows(stream: Stream, edition: Edition, start: int, end: int, unit: int) -> Iterator[Sent]:
    text, spec = Text(edition.spec), edition.spec
    for at in _times(start, end, SECOND):
        begin = (at - _WINDOWS[stream.interval]) // MINUTE * MINUTE
        bar = edition.candle(begin, at)
        if bar is None:
            continue
        yield (
            at,
            f'{{"e":"{stream.interval}Ticker","E":{at // unit},"s":"{spec.symbol}",'
            f'"p":"{text.price(bar.close - bar.open)}","P":"{wire.percent(bar)}","c":"{text.price(bar.close)}",'
            f'"w":"{text.eight(wire.mean_price(spec, bar))}",{_window_tail(text, bar, begin, at, unit)}',
        )


def _window_tail(text: Text, bar: Candle, begin: int, at: int, unit: int) -> str:
    return (
        f'"o":"{text.price(bar.open)}","h":"{text.price(bar.high)}","l":"{text.price(bar.low)}",'
        f'"v":"{text.size(bar.volume)}","q":"{text.turnover(bar.turnover)}","O":{begin // unit},"C":{at // unit},'
        f'"F":{bar.first_id},"L":{bar.last_id},"n":{bar.count}}}'
    )


def _means(stream: Stream, edition: Edition, start: int, end: int, unit: int) -> Iterator[Sent]:
    text, spec = Text(edition.spec), edition.spec
    for at in _times(start, end, SECOND):
        bar = candle_or_flat(edition, at - 5 * MINUTE, at)
        if bar is None:
            continue
        yield (
            at,
            f'{{"e":"avgPrice","E":{at // unit},"s":"{spec.symbol}","i":"5m",'
            f'"w":"{text.eight(wire.mean_price(spec, bar))}","T":{last_time(edition, at) // unit}}}',
        )


_KINDS: dict[str, Callable[[Stream, Edition, int, int, int], Iterator[Sent]]] = {
    "trade": _trades,
    "aggTrade": _aggregates,
    "bookTicker": _quotes,
    "depth": _depth,
    "partial": _partial,
    "kline": _klines,
    "miniTicker": _mini_tickers,
    "ticker": _tickers,
    "window": _windows,
    "avgPrice": _means,
}


def candle_or_flat(edition: Edition, start: int, end: int) -> Candle | None:
    """The candle of a time, flat at the last price where nothing traded; None before the first trade."""
    candle = edition.candle(start, end)
    if candle is None:
        price = edition.last_price(end)
        candle = None if price is None else wire.flat(price)
    return candle


def last_time(edition: Edition, at: int) -> int:
    """The time of the last trade before ``at``; ``at`` itself where there is none."""
    for run in _last(edition, at):
        return int(run.block.times[run.high - 1])
    return at


def last_size(edition: Edition, at: int) -> int:
    """The size of the last trade before ``at``."""
    for run in _last(edition, at):
        return int(run.block.sizes[run.high - 1])
    return 0


def _last(edition: Edition, at: int) -> Iterator[Run]:
    return edition.trades_of(edition.next_trade(at) - 1, 1, at)


def _times(start: int, end: int, period: int) -> range:
    """The multiples of a period in ``[start, end)``."""
    return range(-(-start // period) * period, end, period)
