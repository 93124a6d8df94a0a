"""Windows without trades, as candles at the close before."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SOURCE = "previous"
_PRICES = ("open", "high", "low", "close")
_NONE = ("volume", "quote_volume", "taker_buy_volume", "count")


def fill(rows: pa.Table, interval: int, start: int, end: int, most: int) -> pa.Table:
    """Candles of every window that begins in ``[start, end)``, at most so many.

    ``rows`` are those there are, ascending, of one symbol and interval; one before ``start`` tells the close. Windows
    before the first row there is are left out: nothing is known of them.
    """
    if not rows.num_rows:
        return rows
    at = rows.column("ts_start").cast(pa.int64()).to_numpy()
    first = at[0] + max(0, -(-(start - at[0]) // interval)) * interval
    grid = np.arange(first, max(first, min(end, first + most * interval)), interval, dtype=np.int64)
    source = np.searchsorted(at, grid, side="right") - 1
    made = rows.take(pa.array(source))
    is_empty = pa.array(at[source] != grid)
    columns = {name: made.column(name) for name in made.column_names}
    for name in _PRICES:
        columns[name] = pc.if_else(is_empty, made.column("close"), made.column(name))
    for name in _NONE:
        columns[name] = pc.if_else(is_empty, pa.scalar(0).cast(made.schema.field(name).type), made.column(name))
    for name, ts in (("ts_start", grid), ("ts_end", grid + interval)):
        columns[name] = pa.chunked_array([pa.array(ts).cast(made.schema.field(name).type)])
    columns["vwap"] = pc.if_else(is_empty, pa.scalar(None, pa.float64()), made.column("vwap"))
    columns["source"] = pc.if_else(is_empty, SOURCE, made.column("source"))
    columns["closed"] = pc.if_else(is_empty, True, made.column("closed"))  # noqa: FBT003
    columns["revision"] = pc.if_else(is_empty, pa.scalar(0, pa.int64()), made.column("revision"))
    return pa.table(columns).cast(made.schema)
