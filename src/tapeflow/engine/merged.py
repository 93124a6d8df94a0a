"""Candles of a venue that has no interval of that length, merged from its candles of a second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from tapeflow.domain.events import Kline
from tapeflow.domain.time import MINUTE, SECOND
from tapeflow.flow.nodes import Candles


def merged(klines: Sequence[Kline], candles: Iterable[Candles]) -> list[Kline]:
    """Of candles of a second, in order: the whole windows of the flow's other intervals below a minute."""
    seconds = [kline for kline in klines if kline.interval == "1s"]
    found: list[Kline] = []
    for node in candles if seconds else ():
        size, origin = node.window.size_us, node.window.origin_us
        if SECOND < size < MINUTE and not size % SECOND:
            for _, parts in groupby(seconds, lambda kline: (kline.ts_start - origin) // size):  # noqa: B023 - used at once
                of_window = list(parts)
                if len({part.ts_start for part in of_window}) == size // SECOND:
                    found.append(_whole(of_window, node.interval))
    return found


def _whole(parts: list[Kline], interval: str) -> Kline:
    traded = [part for part in parts if part.count] or parts
    return msgspec.structs.replace(
        parts[0],
        interval=interval,
        ts_end=parts[-1].ts_end,
        open=traded[0].open,
        high=max(part.high for part in traded),
        low=min(part.low for part in traded),
        close=traded[-1].close,
        volume=sum(part.volume for part in parts),
        quote_volume=sum(part.quote_volume for part in parts),
        taker_buy_volume=sum(part.taker_buy_volume for part in parts),
        taker_buy_quote_volume=sum(part.taker_buy_quote_volume for part in parts),
        count=sum(part.count for part in parts),
        first_id=traded[0].first_id,
        last_id=traded[-1].last_id,
        closed=all(part.closed for part in parts),
        ts_event=parts[-1].ts_event,
    )
