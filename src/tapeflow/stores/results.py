"""Results held in memory as columns, until they are written or handed out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tapeflow.engine.columns import NONE_TIME, TIME, BookRows, Rows
from tapeflow.engine.results import VENUE_CANDLES, StepRow
from tapeflow.flow.nodes import Candles, Flow, Indicator, Mean
from tapeflow.stores.channels import CHANNELS, Channel, custom, numbered
from tapeflow.stores.numbers import Code, codes_of, codes_of_steps, codes_of_values
from tapeflow.stores.table import Coded, Column, LevelsColumn, Masked, Table, Wide, rank, rows_in_order, sort_and_choose

SIDES = ("buy", "sell")
_STEP_ROW = np.dtype([(name, "<i8") for name in StepRow._fields[:7]])
SOURCES = ("trades", "venue")


class Given(NamedTuple):
    """Rows as they came: a table, and for each row its series and its number in it (0 where rows have none)."""

    table: Table
    codes: list[Code]
    numbers: list[int]


class Results:
    """A sink that keeps the rows of some channels and gives each as a `Table`, sorted, with each key once.

    ``symbols`` (upper case) keeps only those; ``all_revisions`` keeps every revision of a window, not just the last.
    ``numbered`` is for rows that have numbers (`tapeflow.stores.numbers`): tables then have them as ``seq``.
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
        numbered: bool = False,
    ) -> None:
        self._numbered = numbered
        self._candles: list[Candles] = list(flow.of(Candles))
        self._means: list[Mean] = [node for node in flow.of(Mean) if node.input == "trades"]
        self._venue = venue
        self._channels = tuple(channels)
        self._scales = (price_scale, size_scale)
        self._symbols = symbols
        self._all_revisions = all_revisions
        self._step_names = [[n.step.name for n in flow.of(Indicator) if n.input == c.id] for c in self._candles]
        self._begin()

    def _begin(self) -> None:
        """Be without rows."""
        self._columns: dict[str, list[Rows]] = defaultdict(list)
        self._rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._retracted: dict[str, dict[str, int]] = defaultdict(dict)
        self._steps: list[StepRow] = []
        self._step_numbers: list[int] = []
        self._levels: list[Rows] = []
        self._n_levels = 0
        self.names: list[str] = []

    def only(self, channels: Collection[str]) -> Results:
        """The rows of some channels, but none of ``book``; columns and rows are shared."""
        made: Results = self.empty()
        made._columns = defaultdict(list, {name: self._columns[name] for name in channels if name in self._columns})
        made._rows = defaultdict(list, {name: self._rows[name] for name in channels if name in self._rows})
        if "indicators" in channels:
            made._steps, made._step_numbers = self._steps, self._step_numbers
        made.names = self.names
        return made

    def empty(self, channels: Iterable[str] | None = None) -> Results:
        """Results like these, of other ``channels`` if they are given, without rows."""
        made: Results = copy(self)
        if channels is not None:
            made._channels = tuple(channels)
        made._begin()
        return made

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

    def times(self, rows: list[tuple[int, int, int, int]]) -> None:
        """`TIME` rows among the trades, and the venue's candles, that came with them; the last rows of a batch."""
        self._columns["time"].append(np.array(rows, TIME))

    def raw(self, channel: str) -> Rows | None:
        """The rows of a channel as the columns that they came in; None if there are none."""
        chunks = self._columns.get(channel)
        return np.concatenate(chunks) if chunks else None

    def values(self, channel: str) -> list[dict[str, Any]]:
        """The rows of a channel that came as values."""
        return self._rows.get(channel, [])

    def steps(self, rows: list[StepRow], numbers: Sequence[int] = ()) -> None:
        if "indicators" in self._channels:
            self._steps.extend(rows)
            self._step_numbers.extend(numbers)

    def rows(self, channel: str, rows: list[dict[str, Any]]) -> None:
        if channel not in self._channels:
            return
        if channel == VENUE_CANDLES:
            place = self._count("trades")
            rows = [{**row, "place": place} for row in rows]
        self._rows[channel].extend(rows)

    def _count(self, channel: str) -> int:
        return sum(len(chunk) for chunk in self._columns[channel])

    def retract(self, symbol: str) -> None:
        for channel in ("trades", "candles", "moving_average", "late"):
            self._retracted[channel][symbol] = self._count(channel)
        self._retracted["indicators"][symbol] = len(self._steps)

    def merge(self, later: Results) -> None:
        """Take over the rows that came after these."""
        for channel, counts in later._retracted.items():
            had = len(self._steps) if channel == "indicators" else self._count(channel)
            self._retracted[channel] |= {symbol: had + count for symbol, count in counts.items()}
        trades, candles = self._count("trades"), len(self._rows[VENUE_CANDLES])
        for rows in later._columns.get("time", ()):
            moved = rows.copy()
            moved["place"] += trades + candles
            self._columns["time"].append(moved)
        self._rows[VENUE_CANDLES] += [row | {"place": row["place"] + trades} for row in later.values(VENUE_CANDLES)]
        for channel, chunks in later._columns.items():
            if channel not in ("book", "time") and channel in self._channels:
                self._columns[channel] += chunks
        before = 0
        for rows, levels in zip(later._columns.get("book", ()), later._levels, strict=True):
            moved = rows.copy()
            moved["first_level"] -= before
            before += len(levels)
            self.books(BookRows(moved, levels))
        for channel, values in later._rows.items():
            if channel in self._channels and channel != VENUE_CANDLES:
                self._rows[channel] += values
        self.steps(later._steps, later._step_numbers)
        self.names = later.names

    @property
    def venue(self) -> str:
        """The venue of all rows."""
        return self._venue

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

    def in_order(self, channel: str, wanted: Collection[Code], *, newest: bool = False) -> Given | None:
        """The rows of some series as they came, every revision, or the ``newest`` of each; None if there are none."""
        if channel == "indicators":
            return self._steps_in_order(wanted)
        columns = self._columns_in_order(channel, wanted, newest=newest) if self._columns.get(channel) else None
        values = self._values_in_order(channel, wanted, newest=newest) if self._rows.get(channel) else None
        if columns is None or values is None:
            return columns or values
        # Means of trades come as columns, those of klines as values.
        table = self.table_in_order(CHANNELS[channel], _values(columns.table) + _values(values.table))
        return Given(table, columns.codes + values.codes, columns.numbers + values.numbers)

    def whole(self, channel: str) -> Table | None:
        """All rows of a channel but ``indicators`` as they came; None if there are none."""
        rows = self.raw(channel)
        if rows is not None:
            return self._table_in_order(channel, rows)
        values = self._rows.get(channel)
        return self.table_in_order(CHANNELS[channel], values) if values else None

    def put_values(self, channel: str, rows: list[dict[str, Any]]) -> None:
        """Rows of values in the place of those that came."""
        self._rows[channel] = rows

    def table_in_order(self, known: Channel, values: list[dict[str, Any]]) -> Table:
        """Rows of values as they come, as a table."""
        columns: dict[str, Column] = {field: [row.get(field) for row in values] for field, _ in known.fields}
        return Table(known, columns | {"venue": [self._venue] * len(values)}, *self._scales)

    def _values_in_order(self, channel: str, wanted: Collection[Code], *, newest: bool) -> Given | None:
        values = [row for row in self._rows[channel] if codes_of_values([row])[0] in wanted]
        if newest:
            values = list({codes_of_values([row])[0]: row for row in values}.values())
        if not values:
            return None
        table = self.table_in_order(CHANNELS[channel], values)
        return Given(table, list(codes_of_values(values)), [row.get("seq", 0) for row in values])

    def _columns_in_order(self, channel: str, wanted: Collection[Code], *, newest: bool) -> Given | None:
        rows = np.concatenate(self._columns[channel])
        codes = codes_of(rows).tolist()
        at = [i for i, code in enumerate(codes) if code in wanted]
        if newest:
            at = list({codes[i]: i for i in at}.values())
        if not at:
            return None
        mine = rows if len(at) == len(rows) else rows[at]
        seq = mine["seq"].tolist() if _seq(mine) else [0] * len(mine)
        return Given(self._table_in_order(channel, mine), [codes[i] for i in at], seq)

    def _table_in_order(self, channel: str, rows: Rows) -> Table:
        build = {
            "trades": self._trade_columns,
            "late": self._trade_columns,
            "candles": self._candle_columns,
            "moving_average": self._mean_columns,
            "quotes": self._quote_columns,
            "book": self._book_columns,
        }
        columns = build[channel](rows)
        columns["venue"] = Coded(np.zeros(len(rows), np.int32), [self._venue])
        return Table(CHANNELS[channel], columns, *self._scales)

    def _steps_in_order(self, wanted: Collection[Code]) -> Given | None:
        codes = codes_of_steps(self._steps)
        at = [i for i, code in enumerate(codes) if code in wanted]
        if not at:
            return None
        numbers = np.array([self._steps[i][:7] for i in at], np.int64).reshape(-1, 7)
        rows = numbers.view(_STEP_ROW).ravel()
        _, place = self._step_codes()
        table = self._step_table(rows, place[rows["fold"], rows["step"]], np.array(at))
        table.channel = CHANNELS["indicators"]
        seq = [self._step_numbers[i] for i in at] if self._step_numbers else [0] * len(at)
        return Given(table, [codes[i] for i in at], seq)

    def symbols_of(self, channel: str) -> set[str]:
        """The symbols that have rows in columns."""
        numbers = {n for chunk in self._columns.get(channel, ()) for n in chunk["symbol"].tolist()}
        return {self.names[number] for number in numbers}

    @property
    def size(self) -> int:
        """How many rows there are."""
        columns = sum(len(chunk) for chunks in self._columns.values() for chunk in chunks)
        return columns + len(self._steps) + sum(map(len, self._rows.values()))

    def series(self, channel: str) -> set[Code]:
        """The series that have rows here."""
        if channel == "indicators":
            return set(codes_of_steps(self._steps))
        if channel in ("tickers",):
            return set(codes_of_values(self._rows.get(channel, ())))
        found: set[Code] = set(codes_of_values(self._rows.get(channel, ())) if channel == "moving_average" else ())
        for chunk in self._columns.get(channel, ()):
            found.update(codes_of(chunk).tolist())
        return found

    def _kept(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self._symbols is None:
            return rows
        return [row for row in rows if "symbol" not in row or row["symbol"].upper() in self._symbols]

    def table_of(self, channel: str, rows: list[dict[str, Any]]) -> Table:
        """Rows of values as a table of a channel."""
        return self._from_rows(channel, rows)

    def _from_rows(self, name: str, rows: list[dict[str, Any]]) -> Table:
        channel = self._channel(name) if name in CHANNELS else custom(name, rows)
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
        return self._made(channel, columns)

    def _made(self, channel: str, columns: dict[str, Column]) -> Table:
        columns["venue"] = Coded(np.zeros(len(columns["symbol"]), np.int32), [self._venue])
        return Table(self._channel(channel), columns, *self._scales)

    def _channel(self, name: str) -> Channel:
        return numbered(CHANNELS[name]) if self._numbered else CHANNELS[name]

    def _from_steps(self) -> Table:
        numbers = np.array([row[:7] for row in self._steps], np.int64).reshape(-1, 7)
        rows = numbers.view(_STEP_ROW).ravel()
        at = np.flatnonzero(self._wanted("indicators", rows))
        rows = rows[at]
        intervals = [node.interval for node in self._candles]
        _, code = self._step_codes()
        name = code[rows["fold"], rows["step"]]
        symbol, interval = rank(self.names)[rows["symbol"]], rank(intervals)[rows["fold"]]
        revision = np.array(self._step_numbers, np.int64)[at] if self._step_numbers else rows["revision"]
        order = [rows["ts_end"], symbol, interval, name, revision]
        same = [symbol, interval, name, rows["ts_start"]]
        kept = sort_and_choose(order, same, revision, all_revisions=self._all_revisions)
        return self._step_table(rows[kept], name[kept], at[kept])

    def _step_codes(self) -> tuple[list[str], npt.NDArray[Any]]:
        """The names of all steps in order, and the place of each by fold and step."""
        names = sorted({name for of_fold in self._step_names for name in of_fold})
        code = np.full((len(self._candles), max(map(len, self._step_names), default=0)), -1, np.int64)
        for fold, of_fold in enumerate(self._step_names):
            code[fold, : len(of_fold)] = [names.index(name) for name in of_fold]
        return names, code

    def _step_table(self, rows: Rows, name: npt.NDArray[Any], at: npt.NDArray[Any]) -> Table:
        names, _ = self._step_codes()
        intervals = [node.interval for node in self._candles]
        plain = ("ts_start", "ts_end", "bars", "revision")
        columns: dict[str, Column] = {field: np.ascontiguousarray(rows[field]) for field in plain}
        columns |= {
            "symbol": self._name(rows["symbol"]),
            "interval": Coded(rows["fold"], intervals),
            "name": Coded(name, names),
            "values": [self._steps[i].values for i in at.tolist()],
            "closed": np.array([self._steps[i].closed for i in at.tolist()], bool),
        }
        if self._numbered and self._step_numbers:
            columns["seq"] = [self._step_numbers[i] for i in at.tolist()]
        return self._made("indicators", columns)

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
        return self._trade_columns(
            rows[sort_and_choose([rows["ts_event"], symbol, rows["id"]], [], None, all_revisions=False)]
        )

    def _trade_columns(self, rows: Rows) -> dict[str, Column]:
        aggregate = rows["aggregate"].astype(bool)
        columns: dict[str, Column] = {
            "symbol": self._name(rows["symbol"]),
            "side": Coded(rows["side"], SIDES),
            "first_id": Masked(rows["first_id"], aggregate),
            "last_id": Masked(rows["last_id"], aggregate),
        }
        plain = ("id", "price", "size", "ts_event", "ts_recv", "ts_watermark", *_seq(rows))
        columns["coarse"] = rows["coarse"].astype(bool)
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
        chosen = sort_and_choose([ts, symbol, rows["id"]], [symbol, rows["id"]], None, all_revisions=False)
        return self._book_columns(rows[chosen])

    def _book_columns(self, rows: Rows) -> dict[str, Column]:
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
        revision = _revision(rows)
        order = [rows["ts_end"], symbol, interval, revision]
        same = [symbol, interval, rows["ts_start"]]
        return self._candle_columns(rows[sort_and_choose(order, same, revision, all_revisions=self._all_revisions)])

    def _candle_columns(self, rows: Rows) -> dict[str, Column]:
        intervals = [node.interval for node in self._candles]
        plain = ("ts_start", "ts_end", "open", "high", "low", "close", "count", "revision", *_seq(rows))
        columns: dict[str, Column] = {name: np.ascontiguousarray(rows[name]) for name in plain}
        exact = rows["exact"].astype(bool)
        quote = Wide(rows["quote_lo"], rows["quote_hi"])
        return columns | {
            "symbol": self._name(rows["symbol"]),
            "interval": Coded(rows["fold"], intervals),
            "volume": Wide(rows["volume_lo"], rows["volume_hi"]),
            "quote_volume": quote if exact.all() else _where(quote, exact),
            "taker_buy_volume": Wide(rows["taker_lo"], rows["taker_hi"]),
            "vwap": Masked(rows["vwap"], exact),
            "source": Coded(rows["venue"], SOURCES),
            "closed": rows["closed"].astype(bool),
        }

    def _mean_rows(self, rows: Rows, ranks: npt.NDArray[Any]) -> dict[str, Column]:
        size = np.array([node.window.size_us // 1000 for node in self._means], np.int64)[rows["fold"]]
        slide = np.array([node.window.slide_us // 1000 for node in self._means], np.int64)[rows["fold"]]
        symbol = ranks[rows["symbol"]]
        revision = _revision(rows)
        order = [rows["ts_end"], symbol, size, slide, revision]
        same = [symbol, size, slide, rows["ts_start"]]
        return self._mean_columns(rows[sort_and_choose(order, same, revision, all_revisions=self._all_revisions)])

    def _mean_columns(self, rows: Rows) -> dict[str, Column]:
        size = np.array([node.window.size_us // 1000 for node in self._means], np.int64)[rows["fold"]]
        slide = np.array([node.window.slide_us // 1000 for node in self._means], np.int64)[rows["fold"]]
        plain = ("ts_start", "ts_end", "mean", "count", "revision", *_seq(rows))
        columns: dict[str, Column] = {name: np.ascontiguousarray(rows[name]) for name in plain}
        return columns | {
            "symbol": self._name(rows["symbol"]),
            "window_ms": size,
            "slide_ms": slide,
            "closed": rows["closed"].astype(bool),
        }


def _revision(rows: Rows) -> Rows:
    """What tells the rows of a window apart: their numbers where they have them, of which each is one."""
    found: Rows = rows["seq"] if _seq(rows) else rows["revision"]
    return found


def _seq(rows: Rows) -> tuple[str, ...]:
    return ("seq",) if "seq" in (rows.dtype.names or ()) else ()


def _where(column: Wide, known: npt.NDArray[Any]) -> list[int | None]:
    return [value if k else None for value, k in zip(column.tolist(), known.tolist(), strict=True)]


def _values(table: Table) -> list[dict[str, Any]]:
    names = [name for name, _ in table.channel.fields]
    columns = [c if isinstance(c, list) else c.tolist() for c in (table.columns[name] for name in names)]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
