"""The forming indicators of a gateway are those of the embedded engine, from what topics and database tell it."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tapeflow import venues
from tapeflow.api.topics import Topic, Topics
from tapeflow.app import forming as under_test
from tapeflow.app.forming import Forming
from tapeflow.app.present import GatewayPast, Present
from tapeflow.domain.errors import StoreError
from tapeflow.engine.embedded import Engine
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Flow
from tapeflow.stores.channels import CHANNELS
from tapeflow.stores.encoded import Encoded
from tapeflow.stores.pages import Asked, Page
from tapeflow.stores.render import schema_of, table_of
from tapeflow.stores.results import Results
from tapeflow.stores.series import series_of
from tapeflow.stores.swapped import SwappedResults
from topic import Raw, _packed, market

US, SECOND = 1_700_000_000_000_000, 1_000_000
STEPS = ("sma_3", "ema_5", "rsi_3", "macd_3_6_2", "bollinger_4_2")
KINDS = ("candles", "indicators")
Row = dict[str, Any]


def flow(*steps: str, intervals: Sequence[str] = ("1s", "5s")) -> Flow:
    made = Builder("forming", lateness="2s", horizon="10m")
    candles = made.trades().candles(*intervals)
    for name in steps or STEPS:
        candles.indicator(name)
    return made.build()


class Database:
    """What sinks have written of the topics; ``is_away`` as a database that does not answer."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[tuple[Any, ...], Row]] = {name: {} for name in KINDS}
        self.counts: dict[tuple[str, str], int] = {}
        self.is_away = False
        self.asked = 0

    def keeps(self, channel: str) -> bool:
        return channel in self.rows

    def write(self, channel: str, row: Row) -> None:
        key = (channel, series_of(channel, row))
        self.counts[key] = self.counts.get(key, 0) + 1
        self.rows[channel][tuple(row[name] for name in CHANNELS[channel].key)] = row

    def count(self, channel: str, series: str) -> int:
        self.asked += 1
        if self.is_away:
            raise StoreError("the database is away")
        return self.counts.get((channel, series), 0)

    def page(self, asked: Asked) -> Page:
        assert asked.newest
        rows = self.rows[asked.channel].values()
        found = [row for row in rows if all(row[name] == value for name, value in asked.key.items())]
        found.sort(key=lambda row: row["ts_start"])
        return Page(table_of(found[-asked.limit :], schema_of(asked.known, 8, 8)))


class Both:
    """An engine, and a gateway that is told what it gives but the forming indicators."""

    def __init__(self, flow: Flow, *, is_followed: bool = True) -> None:
        self.flow, self.venue = flow, venues.create("binance")
        self.sink = SwappedResults(self.results)
        self.engine = Engine(flow, self.venue, self.sink, channels=KINDS)
        self.database, self.said = Database(), list[str]()
        self.topics = Topics(flow, "binance")
        self.present = Present(self.topics, ())
        self.forming = Forming(flow, self.present, self.database, self.said.append)
        self.unwritten: list[tuple[str, Row]] = []
        self.is_followed = is_followed

    def results(self) -> Results:
        return Results(self.flow, "binance", KINDS, price_scale=8, size_scale=8, all_revisions=True)

    def feed(self, raws: Sequence[Raw]) -> None:
        """Have both see these trades."""
        self.engine.feed_trades(_packed(self.engine, raws))
        self.engine.flush()
        self.tell()

    def tell(self) -> None:
        """Have the gateway see what the engine has given since, and the database too."""
        results = self.sink.take(self.engine.symbols)
        closed = [(channel, row) for channel in KINDS for row in lines(results, channel)]
        self.unwritten += [(channel, json.loads(row)) for channel, row in closed]
        now = self.now()
        self.take([*closed, *(("candles", row) for row in lines(now, "candles"))])
        self.write()
        if self.is_followed:
            self.follow()

    def now(self) -> Results:
        results = self.results()
        self.engine.forming(range(len(self.engine.symbols)), results)
        results.names = self.engine.symbols
        return results

    def take(self, rows: Sequence[tuple[str, bytes]]) -> None:
        finished, moved = Encoded(self.present.names), set[tuple[str, Any]]()
        for channel, row in rows:
            self.present.take(channel, row, finished, moved)
        finished.names = self.present.names
        self.forming.take(finished, moved)

    def write(self) -> None:
        for channel, row in self.unwritten:
            self.database.write(channel, row)
        self.unwritten.clear()

    def follow(self) -> None:
        self.forming.watch(frozenset(self.every()))
        self.take([])
        assert self.forming.begin()

    def every(self) -> list[Topic]:
        asked = {"channel": "indicators.forming", "symbols": ["*"]}
        found = [self.topics.find(asked | {"interval": one}, self.engine.symbols) for one in self.topics.intervals]
        return [topic for topics in found for topic in topics]

    def gateways(self) -> list[Row]:
        return in_order(map(json.loads, self.forming.rows(self.every())))

    def engines(self) -> list[Row]:
        """The engine's own."""
        return in_order(map(json.loads, lines(self.now(), "indicators")))

    def is_settled(self) -> bool:
        """No revision waits for the next second: then the engine has not computed it yet."""
        return not self.engine._outlet._stage._dirty


def lines(results: Results, channel: str) -> list[bytes]:
    """Rows as they came."""
    given = results.in_order(channel, results.series(channel))
    return [] if given is None else list(given.table.json_lines())


opened = lines


def in_order(rows: Any) -> list[Row]:
    return sorted(rows, key=lambda row: (row["symbol"], row["interval"], row["name"], row["ts_start"]))


def without(rows: list[Row], *names: str) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def trade(id: int, at: float, price: int, symbol: str = "S00USDT") -> Raw:
    ts = US + round(at * SECOND)
    return Raw(symbol, id, price * 10**8, 10**8, id % 2, ts, ts)


def test_without_late_trades_all_fields_are_the_engines() -> None:
    both, compared = Both(flow()), 0
    raws = market(1, 2500, late=0.0)
    for at in range(0, len(raws), 23):
        both.feed(raws[at : at + 23])
        assert both.gateways() == both.engines()
        compared += len(both.gateways())
    assert compared > 2000


@pytest.mark.parametrize("first", [0, 30])
def test_with_late_trades_values_and_bars_are_the_engines(first: int) -> None:
    """Whether the gateway follows from the beginning, or from a moment when the database has many candles."""
    both, compared = Both(flow(), is_followed=False), 0
    raws = market(2, 3000, late=0.05, late_s=40.0)
    for batch, at in enumerate(range(0, len(raws), 31)):
        both.is_followed = batch >= first
        both.feed(raws[at : at + 31])
        if both.is_followed and both.is_settled():
            found, wanted = both.gateways(), both.engines()
            assert without(found, "revision") == without(wanted, "revision")
            assert all(mine["revision"] <= row["revision"] for mine, row in zip(found, wanted, strict=True))
            compared += len(found)
    assert compared > 500


def test_a_chain_longer_than_what_is_kept_differs_in_the_last_digits_only() -> None:
    both = Both(flow(intervals=("1s",)), is_followed=False)
    raws, compared = market(3, 3000, late=0.02, late_s=20.0, rate=3.0, symbols=1), 0
    bars = 0
    for at in range(0, len(raws), 17):
        both.is_followed = at > 2000
        both.feed(raws[at : at + 17])
        if both.is_followed and both.is_settled():
            found, wanted = both.gateways(), both.engines()
            assert without(found, "revision", "values") == without(wanted, "revision", "values")
            for mine, row in zip(found, wanted, strict=True):
                for name, value in row["values"].items():
                    assert math.isclose(mine["values"][name], value, rel_tol=1e-12, abs_tol=1e-9 * 10**5)
            compared += len(found)
            bars = max([bars, *(row["bars"] for row in found)])
    (series,) = both.forming._series.values()
    assert len(series.tails._starts) == series.tails.limit < bars - 100
    assert compared > 500


def test_a_gap_and_several_windows_at_once() -> None:
    both = Both(flow("sma_3", intervals=("1s",)))
    both.feed([trade(id, at, 100 + id) for id, at in enumerate([0.1, 1.1, 2.1, 60.1, 61.2, 62.3, 63.4, 63.5], 1)])
    found = both.gateways()
    assert found == both.engines()
    assert [((row["ts_start"] - US) // SECOND, row["bars"]) for row in found] == [(61, 5), (62, 6), (63, 7)]
    assert [row["values"]["sma"] for row in found] == pytest.approx([104.0, 105.0, 106 + 1 / 3])


def test_a_revised_close_changes_what_forms() -> None:
    both = Both(flow("sma_3", intervals=("1s",)))
    both.feed([*(trade(id, id - 0.5, 100) for id in range(1, 9)), trade(9, 7.6, 100)])
    before = both.gateways()
    both.feed([trade(100, 4.9, 400)])  # late for a window that is among the three of the first one open
    changed = both.gateways()  # at once, the engine a second of the symbol later
    both.feed([trade(10, 8.1, 100), trade(11, 8.2, 100)])
    assert both.gateways() == both.engines()
    firsts = [rows[0] for rows in (before, changed, both.gateways())]
    assert [(row["ts_start"] - US) // SECOND for row in firsts] == [5, 5, 6]
    assert [row["values"]["sma"] for row in firsts] == [100.0, 200.0, 200.0]
    assert [row["revision"] for row in firsts] == [0, 0, 1]


def test_nothing_forms_before_a_first_value_and_after_the_window_has_closed() -> None:
    both = Both(flow("sma_3", intervals=("1s",)))
    both.feed([trade(1, 0.5, 100), trade(2, 1.5, 100)])
    assert both.gateways() == both.engines() == []
    for id, at, forming in ((3, 3.5, [3]), (4, 3.6, [3]), (5, 9.5, [9]), (6, 9.6, [9])):
        both.feed([trade(id, at, 130)])
        if id != 3:  # a window closes with what comes after its end
            assert [(row["ts_start"] - US) // SECOND for row in both.gateways()] == forming
        assert both.gateways() == both.engines()


def test_a_closed_row_comes_before_its_candle() -> None:
    """Topics have no order between them: the window of the row forms no more, the next one does."""
    both = Both(flow("sma_3", intervals=("1s",)))
    both.feed([trade(id, id - 0.5, 100 * id) for id in range(1, 7)])
    first, second, *_ = both.gateways()
    closed = json.dumps(first | {"closed": True}).encode()
    both.take([("indicators", closed)])
    assert both.gateways()[0] == second


def test_a_database_that_is_behind_is_waited_for() -> None:
    both = Both(flow("sma_3", intervals=("1s",)), is_followed=False)
    both.write = lambda: None  # type: ignore[method-assign]
    both.feed([trade(id, id - 0.5, 100 * id) for id in range(1, 20)])
    both.forming.watch(frozenset(both.every()))
    both.take([])
    assert not both.forming.begin()
    assert both.gateways() == []
    both.feed([trade(id, id - 0.5, 100 * id) for id in range(20, 25)])  # what comes now is not lost
    missing = both.unwritten[-4:]
    del both.unwritten[-4:]
    Both.write(both)
    assert both.forming.begin()
    assert both.gateways() == both.engines() != []
    assert missing[0][1]["ts_start"] > max(row["ts_start"] for row in both.database.rows["indicators"].values())


def test_a_database_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "AWAY_S", 0.01)
    both = Both(flow("sma_3", intervals=("1s",)), is_followed=False)
    both.feed([trade(id, id - 0.5, 100 * id) for id in range(1, 20)])
    both.database.is_away = True
    both.forming.start()
    try:
        both.forming.watch(frozenset(both.every()))
        both.take([])
        until(lambda: both.database.asked > 2)
        assert both.said == ["the database is away; forming indicators wait for it"]
        both.database.is_away = False
        until(lambda: both.gateways() != [])
        assert both.gateways() == both.engines()
    finally:
        both.forming.stop()


def test_who_asks_waits_for_the_series_and_it_is_kept_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Both(flow("sma_3", intervals=("1s",)), is_followed=False)
    both.feed([trade(id, id - 0.5, 100 * id) for id in range(1, 20)])
    both.forming.start()
    over = threading.Event()

    def following() -> None:
        while not over.wait(0.005):
            both.take([])

    thread = threading.Thread(target=following)
    thread.start()
    try:
        assert in_order(map(json.loads, both.forming.ask(both.every()))) == both.engines() != []
        assert both.forming.status() == {"series": 1, "series_waiting": 0}
        monkeypatch.setattr(under_test, "KEPT_S", 0.0)
        until(lambda: both.forming.status()["series"] == 0)
    finally:
        over.set()
        thread.join()
        both.forming.stop()


def test_only_what_is_followed_is_given_and_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "FORMING_S", 3600.0)
    both = Both(flow("sma_3", "ema_5"), is_followed=False)
    both.feed([trade(id, id - 0.5, 100 * id, f"S0{id % 2}USDT") for id in range(1, 40)])
    (wanted,) = (t for t in both.every() if (t.symbol, *dict(t.params).values()) == ("S01USDT", "1s", "sma_3"))
    both.forming.watch(frozenset([wanted]))
    both.take([])
    assert both.forming.begin()
    code = wanted.code(both.present.number("S01USDT"))
    assert {given for given, _ in both.forming.moved()} == {code}
    both.is_followed = False
    both.feed([trade(40, 39.6, 9), trade(41, 39.7, 9, "S01USDT")])
    assert both.forming.moved() == []  # so soon
    monkeypatch.setattr(under_test, "FORMING_S", 0.0)
    assert [json.loads(row) for _, row in both.forming.moved()] == [
        row for row in both.engines() if (row["symbol"], row["interval"], row["name"]) == ("S01USDT", "1s", "sma_3")
    ]
    assert both.forming.moved() == []  # nothing has changed
    both.forming.watch(frozenset())
    both.take([])
    assert both.forming.status()["series"] == 0


@pytest.mark.parametrize("lacking", ["rows", "candles"])
def test_what_is_not_kept_long_enough_gives_nothing_rather_than_something_wrong(lacking: str) -> None:
    both = Both(flow("ema_5", intervals=("1s",)), is_followed=False)
    both.feed([trade(id, id - 0.5, 100 * id) for id in range(1, 90)])
    if lacking == "rows":
        both.database.rows["indicators"].clear()
    else:
        kept = both.database.rows["candles"]
        for key in list(kept)[:-20]:
            del kept[key]
    both.follow()
    assert both.gateways() == []
    both.is_followed = True
    both.feed([trade(id, id - 0.5, 100 * id) for id in range(90, 92)])
    assert (both.gateways() == both.engines()) is (lacking == "rows")


def test_who_asks_for_a_symbol_that_is_unknown_gives_it_no_number() -> None:
    both = Both(flow("sma_3", intervals=("1s",)))
    both.feed([trade(1, 0.5, 100), trade(2, 3.5, 100)])
    past = GatewayPast(both.present, both.forming, SimpleNamespace(epoch="e"), threading.Event())  # type: ignore[arg-type]
    params = (("interval", "1s"),)
    assert past.rows(Topic("candles.forming", "S00USDT", params)) != []
    for channel in ("candles.forming", "quotes", "tickers"):
        assert past.rows(Topic(channel, "NOBODY", params)) == []
    assert both.forming.ask([Topic("indicators.forming", "NOBODY", (*params, ("name", "sma_3")))]) == []
    assert both.present.names == ["S00USDT"]


def until(what: Any) -> None:
    end = time.monotonic() + 10
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)
