"""run-file.md and flow-file.md: the keys of the two configuration files."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from pages.markdown import Meanings, code, plain, table
from tapeflow.app.meanings import FLOW_KEYS, RUN_KEYS
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

#: The prefix of its keys among the meanings, its title, what reads it.
Table = tuple[str, str, type[msgspec.Struct]]


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


def run_file() -> str:
    """run-file.md."""
    meanings = Meanings("RUN_KEYS", RUN_KEYS)
    tables: list[Table] = [
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
    parts += sections(tables, meanings)
    parts.append(
        "## [flow]\n\nThe keys of [the flow file](flow-file.md), with `[flow.candles]`, `[[flow.moving_average]]` and "
        "`[flow.book]` for its tables. Another flow, or another version of Tapeflow that computes otherwise, has the "
        "results computed again from the tape at the next start.\n"
    )
    meanings.done()
    return "\n".join(parts)


def flow_file() -> str:
    """flow-file.md."""
    meanings = Meanings("FLOW_KEYS", FLOW_KEYS)
    tables: list[Table] = [
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
    parts += sections(tables, meanings)
    meanings.done()
    return "\n".join(parts)


def sections(tables: Iterable[Table], meanings: Meanings) -> Iterator[str]:
    """A heading and the keys of each table; what the file itself is stands at the head of its page."""
    for prefix, title, struct in tables:
        hints = get_type_hints(struct)
        rows = (
            (code(field.name), kind(hints[field.name], field.type), default(field), meanings.of(prefix + field.name))
            for field in msgspec.structs.fields(struct)
        )
        about = plain((struct.__doc__ or "").partition(":")[2].strip()) + "\n" if prefix else ""
        yield f"## {title}\n"
        if about:
            yield about[:1].upper() + about[1:]
        yield table(("key", "type", "default", "meaning"), rows)


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
