"""Many rows of a plain channel as columns: read from JSON, looked at and written for COPY by Arrow, all at once.

Only what is right in every row is taken. Else there is no answer, and the rows are taken one by one (`text`), which
tells which of them is wrong.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, json

from tapeflow.stores.channels import Channel, Kind
from tapeflow.stores.postgres.text import LEAST, MOST, needed

_TYPES: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "id": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "time": pa.int64(),
    "price": pa.string(),
    "size": pa.string(),
    "quote": pa.string(),
}
_EXACT = r"^-?[0-9]+(\.[0-9]+)?$"
_MARK = "ts_watermark"
#: What a candle of the venue has in it, which may be without a mark.
_CANDLE = pa.field("candle", pa.struct([("interval", pa.string())]))
_AS_CSV = csv.WriteOptions(include_header=False, quoting_style="all_valid")


def is_plain(channel: Channel) -> bool:
    """Whether rows of the channel may come as columns: events, which nothing replaces, of values without parts."""
    return "id" in channel.key and all(kind in _TYPES for _, kind in channel.fields)


def read(channel: Channel, values: Sequence[bytes]) -> tuple[pa.Table, pa.Array] | None:
    """Events in the order of their messages, and whether each message is one: rows of time and candles are none.

    None where a message is not a row of the channel.
    """
    if any(value[:1] != b"{" for value in values):  # so each gives one row at least, and their number tells the rest
        return None
    text = b"\n".join(values)
    names = [name for name, _ in channel.fields]
    schema = pa.schema([(name, _TYPES[kind]) for name, kind in channel.fields])
    if _MARK not in names:
        schema = schema.append(pa.field(_MARK, pa.int64()))
    schema = schema.append(_CANDLE)
    parsing = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    whole = json.ReadOptions(use_threads=False, block_size=len(text) + 1)
    try:
        table = json.read_json(io.BytesIO(text), whole, parsing)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if len(table) != len(values):
        return None
    says_time = pc.or_(pc.is_valid(table[_MARK]), pc.is_valid(table[_CANDLE.name]))
    is_event = pc.or_(pc.is_valid(table["id"]), pc.invert(says_time)).combine_chunks()
    times, events = table.filter(pc.invert(is_event)), table.filter(is_event).select(names)
    others = [name for name in names if name not in ("venue", "symbol", _MARK)]
    if any(times[name].null_count < len(times) for name in others) or not _is_right(channel, events):
        return None
    return events, is_event


def _is_right(channel: Channel, rows: pa.Table) -> bool:
    """Whether each row has what it must, and values that the columns of PostgreSQL take as they are."""
    if any(rows[name].null_count for name in needed(channel)):
        return False
    return all(_is_kind(kind, rows[name]) for name, kind in channel.fields)


def _is_kind(kind: Kind, column: pa.ChunkedArray) -> bool:
    if kind in ("price", "size", "quote"):
        return pc.all(pc.match_substring_regex(column, _EXACT)).as_py() is not False
    if kind == "id":
        return _are_ids(column)
    if kind == "time":
        found = pc.min_max(column).as_py()
        return found["min"] is None or LEAST < found["min"] <= found["max"] < MOST
    return True


def _are_ids(column: pa.ChunkedArray) -> bool:
    try:
        return pc.all(pc.equal(column.cast(pa.int64()).cast(pa.string()), column)).as_py() is not False
    except pa.ArrowInvalid:  # no number, or one that is too large
        return False


class Columns(msgspec.Struct, frozen=True):
    """Rows of a plain channel, and the same for COPY in its format CSV."""

    rows: pa.Table
    csv: pa.Buffer


def for_copy(channel: Channel, rows: pa.Table) -> Columns:
    """Rows as COPY takes them: null is nothing, and each value is quoted."""
    columns = [
        rows[name].cast(pa.timestamp("us", "UTC")) if kind == "time" else rows[name] for name, kind in channel.fields
    ]
    made = pa.BufferOutputStream()
    csv.write_csv(pa.table(columns, names=[name for name, _ in channel.fields]), made, _AS_CSV)
    return Columns(rows, made.getvalue())
