"""Writes the parts of the reference that the source says itself.

    python docs/generate.py            writes docs/reference/{channels,commands,flow-file,indicators,metrics,...}.md
    python docs/generate.py --check    writes nothing; 1 if one of them is not what the source says

What the source does not say, the meaning of a field in a few words, stands here; that of a key in
`tapeflow.app.meanings`. A field or key without a meaning, or a meaning without its field, is an error.
"""

from __future__ import annotations

import difflib
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from typer.main import get_command
from typer.testing import CliRunner

import tapeflow as tf
from tapeflow import indicators
from tapeflow.api import metrics
from tapeflow.app.meanings import FLOW_KEYS, RUN_KEYS
from tapeflow.app.replay import Summary
from tapeflow.cli.main import app
from tapeflow.domain.candle import StampedTrade
from tapeflow.domain.errors import TapeflowError
from tapeflow.flow import catalogue
from tapeflow.flow.builder import Builder, Series, Stream
from tapeflow.indicators._parameters import LONGEST
from tapeflow.settings import (
    AlertSettings,
    ApiSettings,
    BookSettings,
    BusSettings,
    CandlesSettings,
    EndpointSettings,
    FeedFileSettings,
    FlinkSettings,
    FlowSettings,
    LogSettings,
    MovingAverageSettings,
    PostgresSettings,
    RunSettings,
    StoreSettings,
    TapeSettings,
)
from tapeflow.stores.channels import CHANNELS

REFERENCE = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Written by docs/generate.py: change the source or that file, then run it. -->\n"

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

SUMMARY = {
    "frames": "Messages read. Notes of a `.cryptofeed` file and REST answers are none.",
    "events": "New events in them. Repeats and ignored aggregates are not counted.",
    "quarantined": "Frames in `quarantine`.",
    "gaps": "Rows of `coverage` with state `gap`.",
    "rows": "Rows written, by channel. Empty in Python, where `Replay.write` returns them.",
    "seconds": "Time taken, without writing.",
    "answers": "REST answers in `.cryptofeed` files. They are no frames; rows of public dumps are.",
    "duplicates": "Trades that had been seen.",
    "ignored_aggregates": "Aggregates of symbols that have single trades.",
    "late": "Trades (and kline pushes of a mean) beyond the horizon.",
    "unknown_fields": "Fields that the venue's documentation does not have.",
    "symbols": "How many symbols were met.",
    "damaged": "Files that were damaged or cut short, and how; what could be read of them was.",
}

PYTHON = {
    "Builder.trades": "Trades, and the `trades` channel.",
    "Builder.quotes": "Best bids and asks, and the `quotes` channel.",
    "Builder.klines": "The venue's candles, and the `klines` channel.",
    "Builder.tickers": "The venue's statistics, and the `tickers` channel.",
    "Fold": "An aggregate of your own over the trades of a window (a protocol).",
    "Step": "A computation of your own over closed candles (a protocol).",
    "version": "The version of the package.",
    "Flow": "A validated graph of nodes; `explain()` prints it, `channels` are those it fills.",
    "Summary": "What a replay did; its fields are those of the [last line of `replay`](commands.md).",
}


RUN_EXAMPLE = """\
```toml
symbols = ["BTCUSDT", "ETHUSDT"]
data = "data"

[endpoints]                      # leave it out for the venue itself
websocket = "ws://127.0.0.1:9200"
rest = "http://127.0.0.1:9200"

[tape]
keep = "3d"
keep_bytes = 20_000_000_000

[store]
channels = ["trades", "candles", "indicators", "coverage", "late", "quarantine"]
keep = { trades = "30d" }

[flow]
lateness = "2s"

[flow.candles]
intervals = ["1s", "1m", "1h"]
indicators = ["sma_20", "rsi_14"]
```
"""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def code(text: object) -> str:
    """Inline code."""
    return f"`{text}`"


def plain(text: str) -> str:
    """A docstring's paragraphs as Markdown: two backticks become one, examples fenced."""
    parts = []
    for part in re.split(r"\n\n+", inspect.cleandoc(text)):
        if part.startswith(">>>"):
            parts.append(f"```pycon\n{part}\n```")
        else:
            parts.append(part.replace("``", "`"))
    return "\n\n".join(parts)


class Meanings:
    """A dictionary of meanings of which every entry must be used."""

    def __init__(self, name: str, meanings: dict[str, str]) -> None:
        self._name = name
        self._meanings = meanings
        self._unused = set(meanings)

    def of(self, *keys: str) -> str:
        """The first meaning there is."""
        for key in keys:
            if key in self._meanings:
                self._unused.discard(key)
                return self._meanings[key]
        sys.exit(f"docs/generate.py: {self._name} has no meaning of {keys[0]}: add it")

    def done(self) -> None:
        """Complain about what is no longer in the source."""
        if self._unused:
            sys.exit(f"docs/generate.py: {self._name} has more than the source: {', '.join(sorted(self._unused))}")


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


def commands() -> str:
    """commands.md."""
    parts = [
        "# Commands\n",
        "Progress and complaints go to standard error. Exit status: 0 done, 1 failed, 2 wrong usage or "
        "configuration.\n",
        f"## tapeflow\n\n```text\n{help_of()}```\n",
        *(f"## tapeflow {' '.join(name)}\n\n```text\n{help_of(*name)}```\n" for name in named(get_command(app))),
        "## The last line of `tapeflow replay`\n",
        "One JSON object:\n",
        fields_of(Summary, Meanings("SUMMARY", SUMMARY)),
    ]
    return "\n".join(parts)


def named(command: Any, *before: str) -> list[tuple[str, ...]]:
    """The commands below one, each by its words; a group before its own."""
    found: list[tuple[str, ...]] = []
    for name, each in getattr(command, "commands", {}).items():
        found += [(*before, name), *named(each, *before, name)]
    return found


def fields_of(struct: type[msgspec.Struct], meanings: Meanings) -> str:
    """The fields of a struct with their meanings."""
    found = table(("key", "meaning"), ((code(name), meanings.of(name)) for name in struct.__struct_fields__))
    meanings.done()
    return found


def help_of(*command: str) -> str:
    """What ``tapeflow COMMAND --help`` prints in 80 columns."""
    runner = CliRunner(env={"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"})
    result = runner.invoke(app, [*command, "--help"], prog_name="tapeflow")
    if result.exit_code:
        sys.exit(f"docs/generate.py: tapeflow {' '.join(command)} --help ended with {result.exit_code}")
    return "\n".join(line.rstrip() for line in result.output.strip().splitlines()) + "\n"


def run_file() -> str:
    """run-file.md."""
    meanings = Meanings("RUN_KEYS", RUN_KEYS)
    tables: list[tuple[str, str, type[msgspec.Struct]]] = [
        ("", "Keys", RunSettings),
        ("endpoints.", "[endpoints]", EndpointSettings),
        ("feed.", "[feed]", FeedFileSettings),
        ("tape.", "[tape]", TapeSettings),
        ("store.", "[store]", StoreSettings),
        ("api.", "[api]", ApiSettings),
        ("alerts.", "[alerts]", AlertSettings),
        ("log.", "[log]", LogSettings),
        ("bus.", "[bus]", BusSettings),
        ("postgres.", "[postgres]", PostgresSettings),
        ("flink.", "[flink]", FlinkSettings),
    ]
    parts = [
        "# The run file\n",
        "A TOML file for `tapeflow run`, `backfill` and `repair`. A key that is not here is an error, and nothing is "
        "started. SIGHUP has a run read it again: of what has changed then only `symbols` counts; the rest needs a new "
        "start.\n",
        RUN_EXAMPLE,
        "Spans are a whole number and one of `us`, `ms`, `s`, `m`, `h`, `d`, `w`. No key holds a secret: market data "
        "needs none, and keys of the API are in `keys.json` of the data folder. `tapeflow config example` prints a "
        "file with every key, `tapeflow config check` names what is wrong in one, `tapeflow config show` what "
        "counts.\n",
    ]
    for prefix, title, struct in tables:
        hints = get_type_hints(struct)
        rows = (
            (code(field.name), kind(hints[field.name], field.type), default(field), meanings.of(prefix + field.name))
            for field in msgspec.structs.fields(struct)
        )
        about = "" if struct is RunSettings else plain((struct.__doc__ or "").partition(":")[2].strip()) + "\n"
        parts += [f"## {title}\n", *([about[:1].upper() + about[1:]] if about else [])]
        parts.append(table(("key", "type", "default", "meaning"), rows))
    parts.append(
        "## [flow]\n\nThe keys of [the flow file](flow-file.md), with `[flow.candles]`, `[[flow.moving_average]]` and "
        "`[flow.book]` for its tables. Another flow, or another version of Tapeflow that computes otherwise, has the "
        "results computed again from the tape at the next start.\n"
    )
    meanings.done()
    return "\n".join(parts)


def metric_page() -> str:
    """metrics.md."""
    parts = [
        "# Metrics\n",
        "`GET /metrics` of a run gives these, for Prometheus. Base units; `_total` only grows, from 0 at the start of "
        "the process; what is not known yet has no sample. `deploy/prometheus/alerts.yml` has alert rules over them, "
        "`deploy/grafana/tapeflow.json` a dashboard; "
        "[how to use them](../how-to.md#watch-it-with-prometheus-and-grafana).\n",
    ]
    for title, about, measures in (
        ("The run", "Without labels.", metrics.OF_RUN),
        ("Connections", "Label `connection`: a share of the streams, which keeps its name when it is connected anew.",
         metrics.OF_CONNECTION),
        ("Alerts", "Without labels; counted since the start of the process.", metrics.OF_ALERTS),
        ("The API", "Without labels.", metrics.OF_HTTP),
    ):  # fmt: skip
        rows = ((code(one.name), one.kind, one.about) for one in measures)
        parts += [f"## {title}\n", about + "\n", table(("metric", "kind", "meaning"), rows)]
    return "\n".join(parts)


def flow_file() -> str:
    """flow-file.md."""
    meanings = Meanings("FLOW_KEYS", FLOW_KEYS)
    tables: list[tuple[str, str, type[msgspec.Struct]]] = [
        ("", "Keys", FlowSettings),
        ("candles.", "[candles]", CandlesSettings),
        ("moving_average.", "[[moving_average]]", MovingAverageSettings),
        ("book.", "[book]", BookSettings),
    ]
    parts = [
        "# The flow file\n",
        "A TOML file for `tapeflow replay --flow` and `tapeflow explain`. "
        + plain(FlowSettings.__doc__ or "").removeprefix("A flow file. ")
        + "\n",
    ]
    parts.append(
        "Spans are a whole number and one of `us`, `ms`, `s`, `m`, `h`, `d`, `w`. A key that is not here is an "
        "error. Folds and steps of your own are added in Python, with `Builder`.\n"
    )
    for prefix, title, struct in tables:
        hints = get_type_hints(struct)
        about = "" if struct is FlowSettings else plain((struct.__doc__ or "").partition(":")[2].strip()) + "\n"
        rows = (
            (code(field.name), kind(hints[field.name], field.type), default(field), meanings.of(prefix + field.name))
            for field in msgspec.structs.fields(struct)
        )
        parts += [f"## {title}\n", *([about[:1].upper() + about[1:]] if about else [])]
        parts.append(table(("key", "type", "default", "meaning"), rows))
    meanings.done()
    return "\n".join(parts)


def kind(hint: Any, declared: Any) -> str:
    """A type in the words of TOML."""
    words: dict[Any, str] = {str: "text", bool: "true or false", int: "number", float: "number"}
    if get_origin(hint) is dict:
        return "table of text"
    if get_origin(hint) is types.UnionType:
        return kind(get_args(hint)[0], None)
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        return (
            "tables" if isinstance(item, type) and issubclass(item, msgspec.Struct) else f"list of {kind(item, None)}"
        )
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return "table"
    bounds = next((m for m in getattr(declared, "__metadata__", ()) if isinstance(m, msgspec.Meta)), None)
    if bounds is not None:
        return f"{words.get(hint) or kind(hint, None)}{bounds_of(bounds)}"
    return words.get(hint) or " or ".join(code(f'"{choice}"') for choice in get_args(hint))


def bounds_of(bounds: msgspec.Meta) -> str:
    """What a number may be."""
    if bounds.gt is not None:
        return f", above {bounds.gt}" + (f", at most {bounds.le}" if bounds.le is not None else "")
    return f", {bounds.ge} or more" if bounds.le is None else f", {bounds.ge} to {bounds.le}"


def default(field: msgspec.structs.FieldInfo) -> str:
    """A default as TOML writes it."""
    value = field.default
    if value is msgspec.NODEFAULT:
        return "none" if field.default_factory is not msgspec.NODEFAULT else "must be given"
    if value is None or value == ():
        return "none"
    if isinstance(value, msgspec.Struct):
        return "as below"
    if isinstance(value, int) and value >= 1 << 20:
        return f"{code(value)} ({value >> 20:,} MiB)"
    return code(msgspec.json.encode(value).decode().replace(",", ", "))


def indicator_pages() -> str:
    """indicators.md."""
    parts = [
        "# Indicators\n",
        "An indicator is called by its kind and its parameters, `macd_12_26_9`; parameters that are left out at the "
        "end have their defaults, so `macd` and `macd_12` are names too. A row has the full name. Input: the closes "
        f"of closed candles, as float64. Periods go up to {LONGEST:,}.\n",
        f"The default flow has {', '.join(map(code, catalogue.INDICATORS))}.\n",
    ]
    for name in indicators.names():
        made = indicators.create(name)
        cls = type(made)
        rows = ((code(f.name), code(f.default)) for f in msgspec.structs.fields(cls))  # type: ignore[arg-type]
        parts += [
            f"## {name}\n",
            f"Default `{made.name}`. Values: {', '.join(map(code, made.fields))}. First row at bar "
            f"{made.lookback + 1}.\n",
            table(("parameter", "default"), rows),
            plain(cls.__doc__ or "") + "\n",
        ]
    return "\n".join(parts)


def python() -> str:
    """python.md."""
    parts = [
        "# Python\n",
        "`import tapeflow as tf` gives these names, each imported when it is first used.\n",
        table(("name", "what it is"), ((code(name), summary_of(name)) for name in tf.__all__)),
        "## Building flows\n",
    ]
    for cls in (Builder, Stream, Series):
        rows = ((code(f"{n}{signature(m)}"), PYTHON.get(f"{cls.__name__}.{n}") or first(m)) for n, m in methods(cls))
        parts += [f"### {cls.__name__}\n", first(cls) + "\n", table(("method", ""), rows)]
    parts += [
        "## replay\n",
        f"```text\nreplay{signature(tf.replay, tall=True)}\n```\n",
        plain(tf.replay.__doc__ or "") + "\n",
    ]
    parts += ["### Replay\n", first(tf.Replay) + "\n"]
    parts.append(table(("method", ""), ((code(f"{n}{signature(m)}"), first(m)) for n, m in methods(tf.Replay))))
    parts += [
        "## Engine\n",
        f"```text\nEngine{signature(tf.Engine, tall=True)}\n```\n",
        plain(tf.Engine.__doc__ or "") + "\n",
    ]
    parts.append(table(("method", ""), ((code(f"{n}{signature(m)}"), first(m)) for n, m in methods(tf.Engine))))
    parts += ["### Frames\n", plain(tf.Frames.__doc__ or "") + "\n"]
    parts += ["## Fold and StampedTrade\n", plain(tf.Fold.__doc__ or "") + "\n"]
    parts.append(table(("method", ""), ((code(f"{n}{signature(m)}"), first(m)) for n, m in methods(tf.Fold))))
    parts += [
        plain(StampedTrade.__doc__ or "") + " Prices and sizes are int mantissas at eight decimals.\n",
        "Fields: " + ", ".join(map(code, StampedTrade.__struct_fields__)) + ".\n",
        "## Step\n",
        plain(tf.Step.__doc__ or "") + "\n",
        table(("method", ""), ((code(f"{n}{signature(m)}"), first(m)) for n, m in methods(tf.Step))),
        "## Errors\n",
        plain(TapeflowError.__doc__ or "") + "\n",
        table(
            ("error", "exit", "when"),
            ((code(e.__name__), str(e.exit_code), first(e)) for e in TapeflowError.__subclasses__()),
        ),
    ]
    return "\n".join(parts)


def summary_of(name: str) -> str:
    """A public name in a sentence."""
    return PYTHON.get(name) or first(getattr(tf, name))


def first(thing: Any) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(plain(thing.__doc__ or "").split("\n\n")[0].split())


def methods(cls: Any) -> list[tuple[str, Callable[..., Any]]]:
    """The public methods that a class defines itself, in their order."""
    return [(name, value) for name, value in vars(cls).items() if inspect.isfunction(value) and name[0] != "_"]


class Bare(str):
    """An annotation as the source has it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def signature(thing: Any, *, tall: bool = False) -> str:
    """Arguments without ``self``; each on a line of its own if ``tall``."""
    found = inspect.signature(thing)
    kept = [p.replace(annotation=bare(p.annotation)) for p in found.parameters.values() if p.name != "self"]
    text = str(found.replace(parameters=kept, return_annotation=bare(found.return_annotation)))
    if not tall:
        return text
    marked, ending = text[1:].rsplit(") ->", 1)
    return "(\n    " + re.sub(r", (?=\*,|\w+: )", ",\n    ", marked) + f",\n) ->{ending}"


def bare(annotation: Any) -> Any:
    """Without the quotes of a postponed annotation."""
    return Bare(annotation) if isinstance(annotation, str) else annotation


PAGES: dict[str, Callable[[], str]] = {
    "channels": channels,
    "commands": commands,
    "flow-file": flow_file,
    "indicators": indicator_pages,
    "metrics": metric_page,
    "python": python,
    "run-file": run_file,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or only compare them."""
    if arguments not in ([], ["--check"]):
        sys.exit(__doc__)
    stale = False
    for name, make in PAGES.items():
        path, text = REFERENCE / f"{name}.md", NOTE + make().rstrip() + "\n"
        known = path.read_text("utf-8") if path.exists() else ""
        if arguments and known != text:
            stale = True
            diff = difflib.unified_diff(known.splitlines(), text.splitlines(), f"{name}.md", "the source", lineterm="")
            sys.stdout.write("\n".join(diff) + "\n")
        elif known != text:
            path.write_text(text, "utf-8")
    if stale:
        sys.stdout.write("The reference is not what the source says: run python docs/generate.py\n")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
