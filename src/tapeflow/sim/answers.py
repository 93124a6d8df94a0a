"""What REST answers, row by row: functions of the market and of time, written as the venue writes them.

Source: github.com/binance/binance-spot-api-docs, rest-api.md, commit a5e0bc3, read 2026-07.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tapeflow.domain.time import DAY, MINUTE
from tapeflow.sim import wire
from tapeflow.sim.bars import bar_end, bar_start
from tapeflow.sim.candle import Candle
from tapeflow.sim.edition import Edition, Run
from tapeflow.sim.spec import Spec
from tapeflow.sim.streams import candle_or_flat, last_size
from tapeflow.sim.wire import Text, boolean


def trade_rows(edition: Edition, runs: Iterable[Run], unit: int) -> Iterator[str]:
    """Rows of ``trades`` and ``historicalTrades``."""
    text = Text(edition.spec)
    for run in runs:
        for ts, id, at, of, buy in wire.trades(run):
            yield (
                f'{{"id":{id},"price":"{text.price(at)}","qty":"{text.size(of)}","quoteQty":"{text.turnover(at * of)}",'
                f'"time":{ts // unit},"isBuyerMaker":{boolean(not buy)},"isBestMatch":true}}'
            )


def aggregate_rows(edition: Edition, runs: Iterable[Run], unit: int) -> Iterator[str]:
    """Rows of ``aggTrades``."""
    text = Text(edition.spec)
    for run in runs:
        for ts, id, at, of, buy, first, last in wire.aggregates(run):
            yield (
                f'{{"a":{id},"p":"{text.price(at)}","q":"{text.size(of)}","f":{first},"l":{last},"T":{ts // unit},'
                f'"m":{boolean(not buy)},"M":true}}'
            )


def bar_starts(interval: str, start: int | None, end: int, limit: int, listed: int, zone_us: int) -> list[int]:
    """Where the bars asked for begin: the first ``limit`` from ``start`` on, or without it the last before ``end``."""
    if end <= listed:
        return []
    first = bar_start(interval, listed, zone_us)
    if start is None:
        starts = [bar_start(interval, end - 1, zone_us)]
        while len(starts) < limit and starts[-1] > first:
            starts.append(bar_start(interval, starts[-1] - 1, zone_us))
        return starts[::-1]
    at = bar_start(interval, max(start, first), zone_us)
    if at < start:
        at = bar_end(interval, at, zone_us)
    starts = []
    while len(starts) < limit and at < end:
        starts.append(at)
        at = bar_end(interval, at, zone_us)
    return starts


def kline_row(edition: Edition, interval: str, start: int, now: int, unit: int, zone_us: int = 0) -> str | None:
    """A row of ``klines``: all trades of the bar before ``now``; None where nothing has been traded yet."""
    end = bar_end(interval, start, zone_us)
    bar = candle_or_flat(edition, start, min(end, now))
    if bar is None:
        return None
    text = Text(edition.spec)
    return (
        f'[{start // unit},"{text.price(bar.open)}","{text.price(bar.high)}","{text.price(bar.low)}",'
        f'"{text.price(bar.close)}","{text.size(bar.volume)}",{end // unit - 1},"{text.turnover(bar.turnover)}",'
        f'{bar.count},"{text.size(bar.buy_volume)}","{text.turnover(bar.buy_turnover)}","0"]'
    )


def depth(edition: Edition, slot: int, limit: int) -> str:
    """The whole book, or the best levels of it, at the beginning of a slot."""
    text = Text(edition.spec)
    bids, asks = edition.market.book(slot)
    return (
        f'{{"lastUpdateId":{edition.market.update_id(slot)},"bids":{text.levels(wire.best(bids, limit))},'
        f'"asks":{text.levels(wire.best(asks, limit))}}}'
    )


def book_ticker(edition: Edition, now: int) -> str:
    """The best prices."""
    text, market = Text(edition.spec), edition.market
    quote = market.quote(market.slot_at(now))
    return (
        f'{{"symbol":"{edition.spec.symbol}",'
        f'"bidPrice":"{text.price(quote.bid)}","bidQty":"{text.size(quote.bid_size)}",'
        f'"askPrice":"{text.price(quote.ask)}","askQty":"{text.size(quote.ask_size)}"}}'
    )


def price(edition: Edition, now: int) -> str:
    """The price of the last trade."""
    return f'{{"symbol":"{edition.spec.symbol}","price":"{Text(edition.spec).price(edition.last_price(now) or 0)}"}}'


def mean_price(edition: Edition, now: int, unit: int) -> str:
    """The mean of five minutes."""
    bar = candle_or_flat(edition, now - 5 * MINUTE, now) or wire.flat(0)
    mean = Text(edition.spec).eight(wire.mean_price(edition.spec, bar))
    return f'{{"mins":5,"price":"{mean}","closeTime":{now // unit}}}'


def day_ticker(edition: Edition, now: int, unit: int, *, is_mini: bool) -> str:
    """The last 24 hours."""
    bar = _bar(edition, now - DAY, now)
    if is_mini:
        return _mini(edition.spec, bar, now - DAY, now, unit)
    text, market = Text(edition.spec), edition.market
    quote = market.quote(market.slot_at(now))
    before = edition.last_price(now - DAY)
    return (
        f"{_change(edition.spec, bar)},"
        f'"prevClosePrice":"{text.price(bar.open if before is None else before)}",'
        f'"lastPrice":"{text.price(bar.close)}",'
        f'"lastQty":"{text.size(last_size(edition, now))}","bidPrice":"{text.price(quote.bid)}",'
        f'"bidQty":"{text.size(quote.bid_size)}","askPrice":"{text.price(quote.ask)}",'
        f'"askQty":"{text.size(quote.ask_size)}",{_prices(text, bar)},{_tail(text, bar, now - DAY, now, unit)}'
    )


def window_ticker(edition: Edition, window_us: int, now: int, unit: int, *, is_mini: bool) -> str:
    """A window that begins on a whole minute."""
    start = (now - window_us) // MINUTE * MINUTE
    bar = _bar(edition, start, now)
    if is_mini:
        return _mini(edition.spec, bar, start, now, unit)
    text = Text(edition.spec)
    return (
        f'{_change(edition.spec, bar)},{_prices(text, bar)},"lastPrice":"{text.price(bar.close)}",'
        f"{_tail(text, bar, start, now, unit)}"
    )


def symbol_row(spec: Spec, status: str) -> str:
    """A symbol in ``exchangeInfo``."""
    one = 10**8
    eight = Text(spec).eight
    tick, step = one // 10**spec.tick_digits, one // 10**spec.step_digits
    modes = '["EXPIRE_TAKER","EXPIRE_MAKER","EXPIRE_BOTH"]'
    return (
        f'{{"symbol":"{spec.symbol}","status":"{status}","baseAsset":"{spec.base}","baseAssetPrecision":8,'
        f'"quoteAsset":"{spec.quote}","quotePrecision":8,"quoteAssetPrecision":8,"baseCommissionPrecision":8,'
        '"quoteCommissionPrecision":8,"orderTypes":["LIMIT","LIMIT_MAKER","MARKET"],"icebergAllowed":true,'
        '"ocoAllowed":true,"otoAllowed":true,"opoAllowed":true,"quoteOrderQtyMarketAllowed":true,'
        '"allowTrailingStop":false,"cancelReplaceAllowed":false,"amendAllowed":false,"pegInstructionsAllowed":true,'
        '"isSpotTradingAllowed":true,"isMarginTradingAllowed":false,"filters":['
        f'{{"filterType":"PRICE_FILTER","minPrice":"{eight(tick)}","maxPrice":"{eight(tick * spec.price * 20)}",'
        f'"tickSize":"{eight(tick)}"}},'
        f'{{"filterType":"LOT_SIZE","minQty":"{eight(step)}","maxQty":"{eight(step * 10**9)}",'
        f'"stepSize":"{eight(step)}"}}'
        f'],"permissions":[],"permissionSets":[["SPOT"]],"defaultSelfTradePreventionMode":"EXPIRE_MAKER",'
        f'"allowedSelfTradePreventionModes":{modes}}}'
    )


def _bar(edition: Edition, start: int, end: int) -> Candle:
    return candle_or_flat(edition, start, end) or wire.flat(edition.market.quote(edition.market.slot_at(end)).bid)


def _change(spec: Spec, bar: Candle) -> str:
    text = Text(spec)
    return (
        f'{{"symbol":"{spec.symbol}","priceChange":"{text.price(bar.close - bar.open)}",'
        f'"priceChangePercent":"{wire.percent(bar)}","weightedAvgPrice":"{text.eight(wire.mean_price(spec, bar))}"'
    )


def _prices(text: Text, bar: Candle) -> str:
    return (
        f'"openPrice":"{text.price(bar.open)}","highPrice":"{text.price(bar.high)}","lowPrice":"{text.price(bar.low)}"'
    )


def _tail(text: Text, bar: Candle, start: int, end: int, unit: int) -> str:
    return (
        f'"volume":"{text.size(bar.volume)}","quoteVolume":"{text.turnover(bar.turnover)}","openTime":{start // unit},'
        f'"closeTime":{end // unit},"firstId":{bar.first_id},"lastId":{bar.last_id},"count":{bar.count}}}'
    )


def _mini(spec: Spec, bar: Candle, start: int, end: int, unit: int) -> str:
    text = Text(spec)
    return (
        f'{{"symbol":"{spec.symbol}",{_prices(text, bar)},"lastPrice":"{text.price(bar.close)}",'
        f"{_tail(text, bar, start, end, unit)}"
    )
