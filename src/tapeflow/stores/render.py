"""Arrow tables as JSON, NDJSON, CSV, Arrow and Parquet, by the rules of the contract.

In the texts times are integers, microseconds since 1970 UTC, and exact values canonical decimal texts; in Arrow and
Parquet they are `timestamp[us, UTC]` and decimals. Everything is done by columns.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import BytesIO
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from tapeflow.domain.number import decimal_text
from tapeflow.engine.kernels import COMPILED
from tapeflow.stores import row_text
from tapeflow.stores.channels import Channel, Kind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENCODER = msgspec.json.Encoder()


def objects(rows: pa.Table) -> list[dict[str, Any]]:
    """One object a row, as JSON has it."""
    names = rows.column_names
    columns = [_values(rows.column(name)) for name in range(len(names))]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def json_array(rows: pa.Table) -> bytes:
    """A list of one JSON object a row."""
    return b"[%b]" % (row_text.text(rows, ",", _values) if COMPILED is not None else portable_text(rows, ","))


def ndjson(rows: pa.Table) -> bytes:
    """One JSON object a line."""
    if not rows.num_rows:
        return b""
    made = row_text.text(rows, "\n", _values) if COMPILED is not None else portable_text(rows, "\n")
    return made + b"\n"


def portable_text(rows: pa.Table, between: str) -> bytes:
    """The objects of rows one after the other: what `tapeflow.stores.row_text` gives, without the kernel."""
    return between.encode().join(json_lines(rows))


def json_lines(rows: pa.Table) -> Iterator[bytes]:
    """One JSON object a row."""
    for batch in rows.to_batches(max_chunksize=1 << 15):
        yield from map(_ENCODER.encode, objects(pa.Table.from_batches([batch])))


def csv(rows: pa.Table) -> bytes:
    """A head line, then a line for each row; null is empty, lists and maps are JSON texts."""
    names = [f"{name}_{at}" if name in rows.column_names[:at] else name for at, name in enumerate(rows.column_names)]
    made = pa.table([_cells(rows.column(at)) for at in range(len(names))], names=names)
    out = BytesIO()
    pyarrow.csv.write_csv(made, out, pyarrow.csv.WriteOptions(quoting_style="needed"))
    return out.getvalue()


def arrow_stream(rows: pa.Table) -> bytes:
    """The Arrow IPC stream."""
    out = BytesIO()
    with pa.ipc.new_stream(out, rows.schema) as writer:
        writer.write_table(rows)
    return out.getvalue()


def parquet(rows: pa.Table) -> bytes:
    """One Parquet file, with zstd."""
    out = BytesIO()
    pq.write_table(rows, out, compression="zstd")
    return out.getvalue()


def table_of(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Objects as `objects` gives them, as a table again; a field that is left out is null."""
    arrays = [_array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


# -- texts -----------------------------------------------------------------------------------------------


def _values(column: pa.ChunkedArray) -> list[Any]:
    """The JSON values of a column."""
    kind = column.type
    if pa.types.is_decimal128(kind):
        return _decimals(column)
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64()).to_pylist()  # type: ignore[no-any-return]
    if _is_levels(kind):
        return _levels(column)
    if pa.types.is_map(kind):
        return [None if row is None else _plain(dict(row)) for row in column.to_pylist()]
    values: list[Any] = column.to_pylist()
    if _is_plain(kind):
        return values
    return [_plain(value) for value in values]


def _is_plain(kind: pa.DataType) -> bool:
    tests: tuple[Callable[[pa.DataType], bool], ...] = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_null,
    )
    return any(test(kind) for test in tests)


def _decimals(column: pa.ChunkedArray | pa.Array) -> list[str | None]:
    """Canonical texts of decimals: from their 128-bit integers, without a Python number for each."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    count, scale = len(array), array.type.scale
    if not count:
        return []
    words = np.frombuffer(array.buffers()[1], np.uint64, 2 * count, 16 * array.offset).reshape(-1, 2)
    texts: list[str | None] = _texts(words, scale)
    if array.null_count:
        present = array.is_valid().to_pylist()
        return [text if there else None for text, there in zip(texts, present, strict=True)]
    return texts


def _texts(words: Any, scale: int) -> list[str | None]:
    if COMPILED is not None:
        return COMPILED.decimal_texts(np.ascontiguousarray(words), 16, scale)  # type: ignore[no-any-return]
    low, high = words[:, 0].tolist(), words[:, 1].view(np.int64).tolist()
    return [decimal_text(hi << 64 | lo, scale) for lo, hi in zip(low, high, strict=True)]


def _is_levels(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind)
        and pa.types.is_struct(kind.value_type)
        and [field.name for field in kind.value_type] == ["price", "size"]
        and all(pa.types.is_decimal128(field.type) for field in kind.value_type)
    )


def _levels(column: pa.ChunkedArray) -> list[Any]:
    """Levels of a book: lists of pairs."""
    rows: list[Any] = []
    for chunk in column.chunks:
        flat = chunk.flatten()  # without what null rows may hide
        pairs = list(zip(*(_decimals(flat.field(name)) for name in ("price", "size")), strict=True))
        ends = np.concatenate(
            [[0], np.cumsum(pc.fill_null(pc.list_value_length(chunk), 0).to_numpy(zero_copy_only=False))]
        )
        present = chunk.is_valid().to_pylist()
        spans = pairwise(ends.tolist())
        rows += [pairs[a:b] if there else None for (a, b), there in zip(spans, present, strict=True)]
    return rows


def _plain(value: Any) -> Any:
    """The JSON form of a value of any type that SQL can make."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return _decimal(value)
        case datetime():
            return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)
        case bytes():
            return base64.b64encode(value).decode()
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {str(name): _plain(item) for name, item in value.items()}
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


def _decimal(value: Decimal) -> str:
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _cells(column: pa.ChunkedArray) -> pa.Array:
    """The cells of a CSV column."""
    kind = column.type
    if _is_plain(kind):
        return column
    values = _values(column)
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64())
    return pa.array(
        [v if v is None or isinstance(v, str) else _ENCODER.encode(v).decode() for v in values], pa.string()
    )


# -- back ------------------------------------------------------------------------------------------------


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(kind):
        return pa.array([None if value is None else Decimal(value) for value in values], kind)
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    if pa.types.is_map(kind):
        return pa.array([None if value is None else list(value.items()) for value in values], kind)
    if _is_levels(kind):
        names = ("price", "size")
        rows = [
            None if v is None else [dict(zip(names, map(Decimal, pair), strict=True)) for pair in v] for v in values
        ]
        return pa.array(rows, kind)
    if pa.types.is_binary(kind):
        return pa.array([None if value is None else base64.b64decode(value) for value in values], kind)
    return pa.array(values, kind)


def schema_of(channel: Channel, price_scale: int, size_scale: int) -> pa.Schema:
    """The Arrow schema of a channel's rows."""
    price, size = pa.decimal128(38, price_scale), pa.decimal128(38, size_scale)
    kinds: dict[Kind, pa.DataType] = {
        "text": pa.string(),
        "id": pa.string(),
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "bytes": pa.binary(),
        "time": pa.timestamp("us", "UTC"),
        "price": price,
        "size": size,
        "quote": pa.decimal128(38, price_scale + size_scale),
        "levels": pa.list_(pa.struct([("price", price), ("size", size)])),
        "values": pa.map_(pa.string(), pa.float64()),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in channel.fields])
