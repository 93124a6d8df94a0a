"""A venue that plays a recording: its streams in their original spacing, its trades and books as REST's history."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from tapeflow.domain.time import MINUTE
from tapeflow.exchange.params import Params, Refusal, unknown_symbol
from tapeflow.exchange.recorded import Message, Payload, event_time, messages, moved
from tapeflow.sim.answers import bar_starts, symbol_row
from tapeflow.sim.bars import INTERVALS, bar_end
from tapeflow.sim.spec import Spec

#: So many messages are looked at for the symbols of the recording.
_SCANNED = 50_000
#: Trades, aggregates and deltas kept of a symbol.
_KEPT, _DELTAS = 1_000_000, 2_000

#: Tells the listeners of a stream: its name, and the payload in a unit of time.
Tell = Callable[[str, Callable[[int], bytes]], None]
Row = dict[str, Any]


class Past:
    """What a symbol has sent so far."""

    def __init__(self) -> None:
        self.trades: deque[Payload] = deque(maxlen=_KEPT)
        self.aggregates: deque[Payload] = deque(maxlen=_KEPT)
        self.update_id = 0
        self.sides: tuple[dict[Decimal, str], dict[Decimal, str]] = ({}, {})
        self._deltas: deque[Payload] = deque(maxlen=_DELTAS)

    def take(self, payload: Payload) -> None:
        """A payload that is sent now."""
        match payload.get("e"):
            case "trade":
                self.trades.append(payload)
            case "aggTrade":
                self.aggregates.append(payload)
            case "depthUpdate":
                self._deltas.append(payload)
                self._apply(payload)

    def take_book(self, book: Payload) -> None:
        """A book that REST answered; deltas after it are applied again."""
        self.sides = ({}, {})
        self.update_id = book["lastUpdateId"]
        self._change(book["bids"], book["asks"])
        for delta in self._deltas:
            self._apply(delta)

    def _apply(self, delta: Payload) -> None:
        if delta["u"] > self.update_id:
            self.update_id = delta["u"]
            self._change(delta["b"], delta["a"])

    def _change(self, bids: list[list[str]], asks: list[list[str]]) -> None:
        for side, levels in zip(self.sides, (bids, asks), strict=True):
            for price, size, *_ in levels:
                if Decimal(size):
                    side[Decimal(price)] = size
                else:
                    side.pop(Decimal(price), None)


class Playback:
    """`advance` sends what is due; times are moved by whole minutes, so that bars stay bars, or not at all."""

    def __init__(self, path: Path, now: int, *, shift: bool) -> None:
        scanned = list(islice(messages(path), _SCANNED))
        self.pasts: dict[str, Past] = {message.symbol: Past() for message in scanned if message.symbol}
        self._specs = {symbol: _spec(symbol, scanned) for symbol in self.pasts}
        self._messages: Iterator[Message] = messages(path)
        self._next = next(self._messages, None)
        self._late_by = now - scanned[0].ts
        self.shift_us = self._late_by // MINUTE * MINUTE if shift else 0
        self.is_over = False
        #: Messages that were left out, because they are no spot venue's.
        self.unreadable = 0

    def advance(self, now: int, tell: Tell) -> None:
        """Send every message that is due by now."""
        while self._next is not None and self._next.ts + self._late_by <= now:
            try:
                self._send(self._next, tell)
            except (KeyError, TypeError, ValueError, ArithmeticError):
                self.unreadable += 1
            self._next = next(self._messages, None)
        self.is_over = self._next is None

    def _send(self, message: Message, tell: Tell) -> None:
        if not message.names:
            past = self.pasts.get(message.symbol) or self._owner(message.payload)
            if past is not None:
                past.take_book(message.payload)
            return
        self.pasts.setdefault(message.symbol, Past()).take(message.payload)
        for name in message.names:
            tell(name, lambda unit: moved(message.payload, self.shift_us, unit))

    def _owner(self, book: Payload) -> Past | None:
        """The symbol whose update ids are nearest to those of a book that names none."""
        pasts = [past for past in self.pasts.values() if past.update_id]
        return min(pasts, key=lambda past: abs(past.update_id - book["lastUpdateId"]), default=None)

    def answer(self, path: str, params: Params, now: int, unit: int) -> str:
        """The answer of an endpoint from what was sent so far."""
        match path:
            case "ping":
                return "{}"
            case "time":
                return f'{{"serverTime":{now // unit}}}'
            case "exchangeInfo":
                rows = [symbol_row(one, "TRADING") for one in self._specs.values()]
                return f'{{"timezone":"UTC","serverTime":{now // unit},"rateLimits":[],"symbols":[{",".join(rows)}]}}'
            case "depth":
                return _text(self._depth(self._past(params), params.limit(100, 5000)))
            case "trades" | "historicalTrades":
                rows_ = self.trade_rows(params.symbol(), unit)
                return _text(_page(rows_, "id", params.whole("fromId") if path != "trades" else None, params))
            case "aggTrades":
                return _text(self._aggregates(params, unit))
            case "klines" | "uiKlines":
                return _text(self._klines(params, now, unit))
            case _:
                raise Refusal(-1000, f"A recording has no answer to {path}.", 404)

    def trade_rows(self, symbol: str, unit: int, start: int = 0, end: int = 1 << 62) -> list[Row]:
        """The trades sent so far with times in ``[start, end)``, as REST writes them."""
        past = self.pasts.get(symbol)
        if past is None:
            raise unknown_symbol()
        return [
            {
                "id": trade["t"],
                "price": trade["p"],
                "qty": trade["q"],
                "quoteQty": f"{Decimal(trade['p']) * Decimal(trade['q']):.8f}",
                "time": self._time(trade) // unit,
                "isBuyerMaker": trade["m"],
                "isBestMatch": True,
            }
            for trade in past.trades
            if start <= self._time(trade) < end
        ]

    def _past(self, params: Params) -> Past:
        past = self.pasts.get(params.symbol())
        if past is None:
            raise unknown_symbol()
        return past

    def _time(self, payload: Payload) -> int:
        return (event_time({"T": payload["T"]}) or 0) + self.shift_us

    def _depth(self, past: Past, limit: int) -> Row:
        bids = sorted(past.sides[0].items(), reverse=True)[:limit]
        asks = sorted(past.sides[1].items())[:limit]
        return {
            "lastUpdateId": past.update_id,
            "bids": [[f"{price:.8f}", size] for price, size in bids],
            "asks": [[f"{price:.8f}", size] for price, size in asks],
        }

    def _aggregates(self, params: Params, unit: int) -> list[Row]:
        rows = [
            {**{key: one[key] for key in "apqfl"}, "T": self._time(one) // unit, "m": one["m"], "M": True}
            for one in self._past(params).aggregates
            if (params.start() or 0) <= self._time(one) < (params.end() or 1 << 62)
        ]
        if params.start() is not None:
            return rows[: params.limit(500, 1000)]
        return _page(rows, "a", params.whole("fromId"), params)

    def _klines(self, params: Params, now: int, unit: int) -> list[list[Any]]:
        interval = params.needed("interval")
        if interval not in INTERVALS:
            raise Refusal(-1120, "Invalid interval.")
        past, until = self._past(params), min(now, params.end() or now)
        trades = past.trades or past.aggregates
        listed = self._time(trades[0]) if trades else now
        starts = bar_starts(interval, params.start(), until, params.limit(500, 1000), listed, params.zone_us())
        rows = []
        for start in starts:
            end = bar_end(interval, start, params.zone_us())
            inside = [trade for trade in trades if start <= self._time(trade) < end]
            if inside:
                rows.append(_bar(inside, start // unit, end // unit - 1))
        return rows


def _bar(trades: list[Payload], start: int, last: int) -> list[Any]:
    prices = [Decimal(trade["p"]) for trade in trades]
    sizes = [Decimal(trade["q"]) for trade in trades]
    buys = [not trade["m"] for trade in trades]
    count = sum(trade["l"] - trade["f"] + 1 if "f" in trade else 1 for trade in trades)
    worth = [price * size for price, size in zip(prices, sizes, strict=True)]
    bought = sum((size for size, buy in zip(sizes, buys, strict=True) if buy), Decimal(0))
    paid = sum((part for part, buy in zip(worth, buys, strict=True) if buy), Decimal(0))
    numbers = (prices[0], max(prices), min(prices), prices[-1], sum(sizes, Decimal(0)))
    head = [start, *(f"{number:.8f}" for number in numbers), last]
    return [*head, f"{sum(worth, Decimal(0)):.8f}", count, f"{bought:.8f}", f"{paid:.8f}", "0"]


def _page(rows: list[Row], key: str, first: int | None, params: Params) -> list[Row]:
    """From an id on, or the latest."""
    limit = params.limit(500, 1000)
    return rows[-limit:] if first is None else [row for row in rows if row[key] >= first][:limit]


def _spec(symbol: str, scanned: list[Message]) -> Spec:
    """What the recording shows of a symbol: as many digits as its prices and sizes have."""
    mine = [message.payload for message in scanned if message.symbol == symbol and "p" in message.payload]
    ticks = max((_digits(payload["p"]) for payload in mine), default=8)
    steps = max((_digits(payload.get("q", "0")) for payload in mine), default=8)
    base = symbol.removesuffix("USDT")
    quote = "USDT" if base != symbol else symbol[-3:]
    base = base if base != symbol else symbol[:-3]
    return Spec(symbol, base, quote, ticks, steps, 10**9, 0, 1, 1, 1, 1.0, MINUTE, MINUTE, 0)


def _digits(number: str) -> int:
    return len(number.partition(".")[2].rstrip("0"))


def _text(body: object) -> str:
    return msgspec.json.encode(body).decode()
