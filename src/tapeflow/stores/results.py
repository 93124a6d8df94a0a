"""Results held in memory as columns, until they are written or handed out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tapeflow.engine.columns import NONE_TIME, BookRows, Rows
from tapeflow.engine.results import StepRow
from tapeflow.flow.nodes import Candles, Flow, Indicator, Mean
from tapeflow.stores.channels import CHANNELS, custom
from tapeflow.stores.table import Coded, Column, LevelsColumn, Table, Wide, rank, rows_in_order, sort_and_choose

SIDES = ("buy", "sell")
_STEP_ROW = np.dtype([(name, "<i8") for name in StepRow._fields[:7]])
SOURCES = ("trades", "venue")


class Results:
    """A sink that keeps the rows of some channels and gives each as a `Table`, sorted, with each key once.

    ``symbols`` (upper case) keeps only those; ``all_revisions`` keeps every revision of a window, not just the last.
    """

    def __init__(
        self,
        flow: Flow,
        venue: str,
        channels: Iterable[str],
        *,
        price_scale: int,
        size_scale: int,
        symbols: frozenset[str] | None = None,
        all_revisions: bool = False,
    ) -> None:
        self._candles: list[Candles] = list(flow.of(Candles))
        self._means: list[Mean] = [node for node in flow.of(Mean) if node.input == "trades"]
        self._venue = venue
        self._channels = tuple(channels)
        self._scales = (price_scale, size_scale)
        self._symbols = symbols
        self._all_revisions = all_revisions
        self._columns: dict[str, list[Rows]] = defaultdict(list)
        self._rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._retracted: dict[str, dict[str, int]] = defaultdict(dict)
        self._steps: list[StepRow] = []
        self._step_names = [[n.step.name for n in flow.of(Indicator) if n.input == c.id] for c in self._candles]
        self._levels: list[Rows] = []
        self._n_levels = 0
        self.names: list[str] = []

    # -- the sink ----------------------------------------------------------------------------------------

    def columns(self, channel: str, rows: Rows) -> None:
        if channel in self._channels:
            self._columns[channel].append(rows)

    def books(self, rows: BookRows) -> None:
        if "book" in self._channels:
            moved = rows.rows.copy()
            moved["first_level"] += self._n_levels
            self._n_levels += len(rows.levels)
            self._columns["book"].append(moved)
            self._levels.append(rows.levels)

    def steps(self, rows: list[StepRow]) -> None:
        if "indicators" in self._channels:
            self._steps.extend(rows)

    def rows(self, channel: str, rows: list[dict[str, Any]]) -> None:
        if channel in self._channels:
            self._rows[channel].extend(rows)

    def retract(self, symbol: str) -> None:
        for channel in ("trades", "candles", "moving_average", "late"):
            self._retracted[channel][symbol] = sum(len(chunk) for chunk in self._columns[channel])
        self._retracted["indicators"][symbol] = len(self._steps)

    @property
    def retracted(self) -> set[str]:
        """Symbols whose rows so far are void, also those of earlier results."""
        return {symbol for of_channel in self._retracted.values() for symbol in of_channel}

    # -- tables ------------------------------------------------------------------------------------------

    def table(self, channel: str) -> Table:
        """The rows of a channel so far."""
        if channel == "indicators" and self._steps:
            return self._from_steps()
        if not self._columns[channel]:
            return self._from_rows(channel, self._kept(self._rows[channel]))
        table = self._from_columns(channel)
        if not self._rows[channel]:
            return table
        return self._from_rows(channel, _values(table) + self._kept(self._rows[channel]))

    def _kept(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self._symbols is None:
            return rows
        return [row for row in rows if "symbol" not in row or row["symbol"].upper() in self._symbols]

    def table_of(self, channel: str, rows: list[dict[str, Any]]) -> Table:
        """Rows of values as a table of a channel."""
        return self._from_rows(channel, rows)

    def _from_rows(self, name: str, rows: list[dict[str, Any]]) -> Table:
        channel = CHANNELS.get(name) or custom(name, rows)
        for row in rows:
            row["venue"] = self._venue
        ordered = rows_in_order(channel, rows, all_revisions=self._all_revisions)
        columns: dict[str, Column] = {field: [row.get(field) for row in ordered] for field, _ in channel.fields}
        return Table(channel, columns, *self._scales)

    def _from_columns(self, channel: str) -> Table:
        rows = np.concatenate(self._columns[channel])
        rows = rows[self._wanted(channel, rows)]
        build = {
            "trades": self._trades,
            "late": self._trades,
            "quotes": self._quotes,
            "quotes.latest": self._newest_quotes,
            "book": self._book_rows,
            "candles": self._candle_rows,
            "moving_average": self._mean_rows,
        }[channel]
        columns: dict[str, Column] = {
            "venue": [],
            **build(rows, rank(self.names) if self.names else np.empty(0, np.int64)),
        }
        columns["venue"] = Coded(np.zeros(len(columns["symbol"]), np.int32), [self._venue])
        return Table(CHANNELS[channel], columns, *self._scales)

    def _from_steps(self) -> Table:
        numbers = np.array([row[:7] for row in self._steps], np.int64).reshape(-1, 7)
        rows = numbers.view(_STEP_ROW).ravel()
        at = np.flatnonzero(self._wanted("indicators", rows))
        rows = rows[at]
        intervals = [node.interval for node in self._candles]
        names = sorted({name for of_fold in self._step_names for name in of_fold})
        code = np.full((len(intervals), max(map(len, self._step_names))), -1, np.int64)
        for fold, of_fold in enumerate(self._step_names):
            code[fold, : len(of_fold)] = [names.index(name) for name in of_fold]
        name = code[rows["fold"], rows["step"]]
        symbol, interval = rank(self.names)[rows["symbol"]], rank(intervals)[rows["fold"]]
        order = [rows["ts_end"], symbol, interval, name, rows["revision"]]
        same = [symbol, interval, name, rows["ts_start"]]
        kept = sort_and_choose(order, same, rows["revision"], all_revisions=self._all_revisions)
        rows, name, at = rows[kept], name[kept], at[kept]
        plain = ("ts_start", "ts_end", "bars", "revision")
        columns: dict[str, Column] = {field: np.ascontiguousarray(rows[field]) for field in plain}
        columns |= {
            "venue": Coded(np.zeros(len(rows), np.int32), [self._venue]),
            "symbol": self._name(rows["symbol"]),
            "interval": Coded(rows["fold"], intervals),
            "name": Coded(name, names),
            "values": [self._steps[i].values for i in at.tolist()],
            "closed": np.ones(len(rows), bool),
        }
        return Table(CHANNELS["indicators"], columns, *self._scales)

    def _wanted(self, channel: str, rows: Rows) -> npt.NDArray[Any]:
        wanted = np.ones(len(rows), bool)
        if self._symbols is not None:
            mine = np.array([name.upper() in self._symbols for name in self.names], bool)
            wanted &= mine[rows["symbol"]]
        for symbol, given in self._retracted[channel].items():
            wanted[:given] &= rows["symbol"][:given] != self.names.index(symbol)
        return wanted

    def _name(self, numbers: npt.NDArray[Any]) -> Coded:
        return Coded(numbers, self.names)

    def _trades(self, rows: Rows, ranks: npt.NDArray[Any]) -> dict[str, Column]:
        """Each trade once: the intake has seen to that, but for ids so old that it had forgotten them."""
        symbol = ranks[rows["symbol"]]
        rows = rows[sort_and_choose([rows["ts_event"], symbol, rows["id"]], [], None, all_revisions=False)]
        aggregate = rows["aggregate"].astype(bool)
        columns: dict[str, Column] = {
            "symbol": self._name(rows["symbol"]),
            "side": Coded(rows["side"], SIDES),
            "first_id": _ids(rows["first_id"], aggregate),
            "last_id": _ids(rows["last_id"], aggregate),
        }
        plain = ("id", "price", "size", "ts_event", "ts_recv", "ts_watermark")
        return columns | {name: np.ascontiguousarray(rows[name]) for name in plain}

    def _quotes(self, rows: Rows, ranks: npt.NDArray[Any]) -> dict[str, Column]:
        symbol = ranks[rows["symbol"]]
        ts = np.where(rows["ts_event"] == NONE_TIME, rows["ts_recv"], rows["ts_event"])
        rows = rows[sort_and_choose([ts, symbol, rows["id"]], [symbol, rows["id"]], None, all_revisions=False)]
        return self._quote_columns(rows)

    def _quote_columns(self, rows: Rows) -> dict[str, Column]:
        plain = ("id", "bid", "bid_size", "ask", "ask_size", "ts_event", "ts_recv")
        columns: dict[str, Column] = {name: np.ascontiguousarray(rows[name]) for name in plain}
        return columns | {"symbol": self._name(rows["symbol"])}

    def _newest_quotes(self, rows: Rows, ranks: npt.NDArray[Any]) -> dict[str, Column]:
        return self._quote_columns(rows[sort_and_choose([ranks[rows["symbol"]]], [], None, all_revisions=False)])

    def _book_rows(self, rows: Rows, ranks: npt.NDArray[Any]) -> dict[str, Column]:
        symbol = ranks[rows["symbol"]]
        ts = np.where(rows["ts_event"] == NONE_TIME, rows["ts_recv"], rows["ts_event"])
        rows = rows[sort_and_choose([ts, symbol, rows["id"]], [symbol, rows["id"]], None, all_revisions=False)]
        levels = np.concatenate(self._levels)
        starts, bids, asks = (rows[name].astype(np.int64) for name in ("first_level", "n_bids", "n_asks"))
        columns: dict[str, Column] = {name: np.ascontiguousarray(rows[name]) for name in ("id", "ts_event", "ts_recv")}
        return columns | {
            "symbol": self._name(rows["symbol"]),
            "bids": LevelsColumn(levels, starts, bids),
            "asks": LevelsColumn(levels, starts + bids, asks),
        }

    def _candle_rows(self, rows: Rows, ranks: npt.NDArray[Any]) -> dict[str, Column]:
        intervals = [node.interval for node in self._candles]
        symbol, interval = ranks[rows["symbol"]], rank(intervals)[rows["fold"]]
        order = [rows["ts_end"], symbol, interval, rows["revision"]]
        same = [symbol, interval, rows["ts_start"]]
        rows = rows[sort_and_choose(order, same, rows["revision"], all_revisions=self._all_revisions)]
        plain = ("ts_start", "ts_end", "open", "high", "low", "close", "count", "revision")
        columns: dict[str, Column] = {name: np.ascontiguousarray(rows[name]) for name in plain}
        exact = rows["exact"].astype(bool)
        quote: Column = Wide(rows["quote_lo"], rows["quote_hi"])
        vwap: Column = np.ascontiguousarray(rows["vwap"])
        if not exact.all():
            quote, vwap = _where(quote, exact), _where(vwap, exact)
        return columns | {
            "symbol": self._name(rows["symbol"]),
            "interval": Coded(rows["fold"], intervals),
            "volume": Wide(rows["volume_lo"], rows["volume_hi"]),
            "quote_volume": quote,
            "taker_buy_volume": Wide(rows["taker_lo"], rows["taker_hi"]),
            "vwap": vwap,
            "source": Coded(rows["venue"], SOURCES),
            "closed": rows["closed"].astype(bool),
        }

    def _mean_rows(self, rows: Rows, ranks: npt.NDArray[Any]) -> dict[str, Column]:
        size = np.array([node.window.size_us // 1000 for node in self._means], np.int64)[rows["fold"]]
        slide = np.array([node.window.slide_us // 1000 for node in self._means], np.int64)[rows["fold"]]
        symbol = ranks[rows["symbol"]]
        order = [rows["ts_end"], symbol, size, slide, rows["revision"]]
        same = [symbol, size, slide, rows["ts_start"]]
        at = sort_and_choose(order, same, rows["revision"], all_revisions=self._all_revisions)
        rows = rows[at]
        plain = ("ts_start", "ts_end", "mean", "count", "revision")
        columns: dict[str, Column] = {name: np.ascontiguousarray(rows[name]) for name in plain}
        return columns | {
            "symbol": self._name(rows["symbol"]),
            "window_ms": size[at],
            "slide_ms": slide[at],
            "closed": rows["closed"].astype(bool),
        }


def _where(column: Column, known: npt.NDArray[Any]) -> list[Any]:
    values = column if isinstance(column, list) else column.tolist()
    return [value if k else None for value, k in zip(values, known.tolist(), strict=True)]


def _ids(ids: npt.NDArray[Any], shown: npt.NDArray[Any]) -> list[int | None]:
    return [id if show else None for id, show in zip(ids.tolist(), shown.tolist(), strict=True)]


def _values(table: Table) -> list[dict[str, Any]]:
    names = [name for name, _ in table.channel.fields]
    columns = [c if isinstance(c, list) else c.tolist() for c in (table.columns[name] for name in names)]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
