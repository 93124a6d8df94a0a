"""Simulated events as Binance writes them: compact JSON in the documented order of keys, eight decimals in strings.

Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md, commit a5e0bc3, read 2026-07.
"""

from __future__ import annotations

from tapeflow.domain.events import BookDelta, BookSnapshot, Kline, Levels, Quote, Trade
from tapeflow.domain.time import MILLISECOND
from tapeflow.sim.market import SCALE

_ONE = 10**SCALE


def trade(event: Trade, sent_us: int) -> bytes:
    """The combined-stream frame of a trade that the venue sent at ``sent_us``."""
    return _combined(event.symbol, "trade", raw_trade(event, sent_us))


def raw_trade(event: Trade, sent_us: int) -> str:
    """The same without the envelope."""
    return (
        f'{{"e":"trade","E":{_ms(sent_us)},"s":"{event.symbol}","t":{event.id},"p":"{_text(event.price)}",'
        f'"q":"{_text(event.size)}","T":{_ms(event.ts_event)},"m":{_bool(event.side == "sell")},"M":true}}'
    )


def book_ticker(event: Quote) -> bytes:
    """The combined-stream frame of the best prices; it has no time."""
    payload = (
        f'{{"u":{event.id},"s":"{event.symbol}","b":"{_text(event.bid)}","B":"{_text(event.bid_size)}",'
        f'"a":"{_text(event.ask)}","A":"{_text(event.ask_size)}"}}'
    )
    return _combined(event.symbol, "bookTicker", payload)


def depth_update(event: BookDelta) -> bytes:
    """The combined-stream frame of changed levels."""
    payload = (
        f'{{"e":"depthUpdate","E":{_ms(event.ts_event)},"s":"{event.symbol}","U":{event.first_id},"u":{event.last_id},'
        f'"b":{_levels(event.bids)},"a":{_levels(event.asks)}}}'
    )
    return _combined(event.symbol, "depth@100ms", payload)


def depth_answer(event: BookSnapshot) -> bytes:
    """The bare REST answer: neither symbol nor time."""
    return (f'{{"lastUpdateId":{event.id},"bids":{_levels(event.bids)},"asks":{_levels(event.asks)}}}').encode()


def kline(event: Kline) -> bytes:
    """The combined-stream frame of a candle."""
    payload = (
        f'{{"e":"kline","E":{_ms(event.ts_event or 0)},"s":"{event.symbol}",'
        f'"k":{{"t":{_ms(event.ts_start)},"T":{_ms(event.ts_end) - 1},"s":"{event.symbol}","i":"{event.interval}",'
        f'"f":{_id(event.first_id)},"L":{_id(event.last_id)},'
        f'"o":"{_text(event.open)}","c":"{_text(event.close)}","h":"{_text(event.high)}","l":"{_text(event.low)}",'
        f'"v":"{_text(event.volume)}","n":{event.count},"x":{_bool(event.closed)},"q":"{_product(event.quote_volume)}",'
        f'"V":"{_text(event.taker_buy_volume)}","Q":"{_product(event.taker_buy_quote_volume)}","B":"0"}}}}'
    )
    return _combined(event.symbol, f"kline_{event.interval}", payload)


def _combined(symbol: str, stream: str, payload: str) -> bytes:
    return f'{{"stream":"{symbol.lower()}@{stream}","data":{payload}}}'.encode()


def _levels(levels: Levels) -> str:
    return "[" + ",".join(f'["{_text(price)}","{_text(size)}"]' for price, size in levels) + "]"


def _text(value: int) -> str:
    whole, fraction = divmod(value, _ONE)
    return f"{whole}.{fraction:08d}"


def _product(value: int) -> str:
    """A sum of price times size: exact in eight decimals, because ticks and steps of the profiles are coarse enough."""
    return _text(value // _ONE)


def _id(id: int | None) -> int:
    return -1 if id is None else id


def _bool(value: bool, /) -> str:  # noqa: FBT001 - the value, not a switch
    return "true" if value else "false"


def _ms(ts: int) -> int:
    return ts // MILLISECOND
