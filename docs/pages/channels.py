"""channels.md: the rows of every channel."""

from __future__ import annotations

from pages.markdown import Meanings, code, table
from tapeflow.flow import catalogue
from tapeflow.stores.channels import CHANNELS

KINDS = {
    "text": ("string", "string", ""),
    "id": ("string", "string", "an integer written as text"),
    "int": ("number", "int64", ""),
    "float": ("number", "float64", "in shortest form"),
    "bool": ("true or false", "bool", ""),
    "time": ("number", "timestamp[us, UTC]", "microseconds since 1970 UTC"),
    "price": ("string", "decimal128(38, 8)", "exact, canonical"),
    "size": ("string", "decimal128(38, 8)", "exact, canonical"),
    "quote": ("string", "decimal128(38, 16)", "exact, canonical; the scale of price and size together"),
    "levels": ("list of [price, size]", "list of {price, size}", "best first"),
    "values": ("object of numbers", "map of string to float64", ""),
    "bytes": ("string, base64", "binary", ""),
}

ABOUT = {
    "trades": "Every trade once. A trade beyond the horizon is in `late` only.",
    "quotes": "Every best bid and ask, each update id once.",
    "quotes.latest": "The newest quote of each symbol, by update id. Only where a flow asks for it.",
    "book": "The best levels of the order book (20 unless the flow says otherwise) after each change of the book.",
    "tickers": (
        "The venue's own statistics under readable names. A field that this kind of ticker lacks is null; "
        "the values are the venue's decimal texts, in canonical form."
    ),
    "klines": "The venue's own candles as it pushes them, a row for each push.",
    "candles": "Candles of all intervals. A window without trades has no row.",
    "moving_average": "Mean prices of sliding windows. Every window that holds a trade has a row.",
    "indicators": "Indicators over closed candles, from the first defined value on.",
    "coverage": "What was seen of each stream, and what is missing.",
    "late": "Trades that came beyond the horizon: they changed no window.",
    "quarantine": "Frames that could not be used, with their bytes. The reasons: [quarantine.md](quarantine.md).",
}

#: Meanings of fields; "channel.field" goes before "field".
FIELDS = {
    "venue": "The space of ids, such as `binance` (spot).",
    "symbol": "As the venue writes it, byte for byte.",
    "quarantine.symbol": "Null: a frame that cannot be used names none for certain.",
    "id": "The venue's id of the trade; of the aggregate where the row is one.",
    "quotes.id": "The update id of the book that the quote belongs to.",
    "quotes.latest.id": "The update id of the book that the quote belongs to.",
    "book.id": "The id of the last update in this state of the book.",
    "price": "Price.",
    "size": "Size, in the instrument's size unit (spot: the base asset).",
    "side": "The taker's side: `buy` or `sell`.",
    "ts_event": "The venue's time of the event; null where it gives none.",
    "klines.ts_event": "The venue's time of the push; null in dumps and REST answers.",
    "ts_recv": "Our time of receipt; null where the recording has none.",
    "first_id": "First trade of an aggregate; null for a single trade.",
    "last_id": "Last trade of an aggregate; null for a single trade.",
    "tickers.first_id": "First trade of the statistics' window.",
    "tickers.last_id": "Last trade of the statistics' window.",
    "klines.first_id": "First trade of the candle; null where the venue does not say or there is none.",
    "klines.last_id": "Last trade of the candle; null where the venue does not say or there is none.",
    "coverage.first_id": "First id that was seen, or that is missing.",
    "coverage.last_id": "Last id that was seen, or that is missing.",
    "bid": "Best bid; 0 where there is none.",
    "bid_size": "Size at the best bid.",
    "ask": "Best ask; 0 where there is none.",
    "ask_size": "Size at the best ask.",
    "tickers.bid": "Best bid.",
    "tickers.ask": "Best ask.",
    "bids": "Levels to buy, the highest price first.",
    "asks": "Levels to sell, the lowest price first.",
    "kind": "`24h`, `mini`, `1h`, `4h`, `1d` or `avg_price`.",
    "price_change": "Last price less the open.",
    "price_change_percent": "The same in percent.",
    "weighted_avg_price": "The venue's volume-weighted mean; of `avg_price` its mean of some minutes.",
    "prev_close": "The price of the last trade before the window.",
    "last_price": "Price of the last trade.",
    "last_size": "Size of the last trade.",
    "ts_open": "Begin of the statistics' window.",
    "ts_close": "End of the statistics' window; of `avg_price` the time of the last trade.",
    "tickers.open": "First price of the window.",
    "tickers.high": "Highest price of the window.",
    "tickers.low": "Lowest price of the window.",
    "tickers.volume": "Size traded in the window.",
    "tickers.quote_volume": "Price times size traded in the window.",
    "tickers.count": "Trades in the window.",
    "interval": "`1s` to `1w`.",
    "klines.interval": "The venue's word, `1s` to `1M`; with `@+08:00` for days that begin at midnight of UTC+8.",
    "ts_start": "Begin of the window, inclusive.",
    "ts_end": "End of the window, exclusive.",
    "coverage.ts_start": "Time of the first event seen; of a gap, of its last neighbour before.",
    "coverage.ts_end": "Time of the last event seen; of a gap, of its first neighbour after.",
    "open": "Price of the least (`ts_event`, id).",
    "high": "Highest price.",
    "low": "Lowest price.",
    "close": "Price of the greatest (`ts_event`, id).",
    "klines.open": "The venue's open.",
    "klines.close": "The venue's close.",
    "volume": "Sum of the sizes.",
    "quote_volume": "Sum of price times size; null where it would not fit 38 digits.",
    "klines.quote_volume": "The venue's sum of price times size.",
    "taker_buy_volume": "Part of `volume` whose taker bought.",
    "count": "Trades in the window; an aggregate counts as all of its trades.",
    "vwap": "The float nearest to `quote_volume` by that nearest to `volume`; null where either has no value.",
    "source": "`trades`, or `venue` where our trades do not cover the window whole.",
    "klines.source": "`venue`.",
    "closed": "The watermark has reached `ts_end`.",
    "klines.closed": "The venue says that the candle is final.",
    "revision": "Events of the window that came after it had closed.",
    "klines.revision": "0.",
    "indicators.revision": "Late events of all candles since the seed, when the row was given.",
    "window_ms": "Length of the window.",
    "slide_ms": "Time from one window to the next.",
    "mean": "Unweighted mean of the prices: the float nearest to their exact sum, by `count`.",
    "moving_average.count": "Trades (or pushes of klines) in the window; an aggregate counts as all of its trades.",
    "name": "The indicator and its parameters, such as `rsi_14`.",
    "values": "The values by name.",
    "bars": "Candles since the seed, this one included.",
    "stream": "The channel it is about: `trades` or `book`.",
    "state": "`complete`, `gap` or `unknown`.",
    "coverage.reason": "Of a gap or unknown: see [coverage.md](coverage.md#reasons); else null.",
    "guarantee": "How we know: `sequence`, the ids follow on each other.",
    "ts_watermark": "The symbol's watermark when the trade came.",
    "connection": "Where the frame came from: in a replay, the file's name.",
    "quarantine.reason": "One word.",
    "frame": "The frame, byte for byte.",
}


def channels() -> str:
    """channels.md."""
    meanings = Meanings("FIELDS", FIELDS)
    parts = [
        "# Channels\n",
        "A channel is a file of a replay, `DIR/<channel>.ndjson` or `.parquet`: one JSON object a row, or one row of "
        "Parquet. Windows that were forming at the end are rows with `closed: false`. Of every window only the last "
        "revision is written, unless `--revisions` asks for all.\n",
        f"`{'`, `'.join(catalogue.ALWAYS)}` can be written by every run. The default flow has all of these but "
        "`quotes.latest`. A fold of your own has a channel of its own, with `venue`, `symbol`, `ts_start`, `ts_end`, "
        "the fields of its rows, `closed` and `revision`.\n",
        "## Kinds\n",
        table(
            ("kind", "JSON", "Arrow, Parquet", ""),
            ((code(kind), json, code(arrow), more) for kind, (json, arrow, more) in KINDS.items()),
        ),
    ]
    for channel in CHANNELS.values():
        key = ", ".join(map(code, channel.key))
        parts += [
            f"## {channel.name}\n",
            ABOUT[channel.name] + "\n",
            f"Order: {', '.join(code(name.replace('|', ' or ')) for name in channel.order)}."
            + (f" One row for each {key}.\n" if key else " Rows do not replace one another.\n"),
            table(
                ("field", "kind", "meaning"),
                ((code(name), kind, meanings.of(f"{channel.name}.{name}", name)) for name, kind in channel.fields),
            ),
        ]
    meanings.done()
    return "\n".join(parts)
