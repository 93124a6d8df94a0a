"""The rules of the intake, one by one, over the portable one and its compiled twin."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tapeflow.engine import intake as portable
from tapeflow.engine.columns import NONE_TIME, QUOTE, RANGE, TRADE, pack, rows
from tapeflow.engine.intake import Put, Source

try:
    from tapeflow.engine import _kernel
except ImportError:
    _kernel = None  # type: ignore[assignment]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
LATENESS, HORIZON, DELAY = 2 * SECOND, HOUR, SECOND
START = 1_700_000_000 * SECOND
SELL, COARSE, AGGREGATE, ANSWER = 1, 2, 4, 8

NOT_BUILT = pytest.mark.skipif(_kernel is None, reason="the compiled kernel is not built here")


@pytest.fixture(params=[pytest.param("portable"), pytest.param("compiled", marks=NOT_BUILT)])
def new(request: pytest.FixtureRequest) -> Iterator[Any]:
    module = portable if request.param == "portable" else _kernel

    def make(**changes: Any) -> Any:
        limits = {"lateness_us": LATENESS, "horizon_us": HORIZON, "delay_us": DELAY, "range_limit": 1 << 17}
        return module.Intake(**(limits | {"keep_trades": True, "keep_quotes": True} | changes))

    return make


def put(
    intake: Any,
    first: int,
    last: int | None = None,
    *,
    flags: int = 0,
    name: str = "X",
    ts: int | None = None,
    recv: int | None = None,
) -> Put:
    """A trade, or with ``last`` an aggregate; at the second of its id unless a time is given."""
    if last is not None:
        flags |= AGGREGATE
    intake.clock(recv)
    when = START + first * SECOND if ts is None else ts
    number = intake.symbol(name)
    return Put(intake.put(number, flags, first, first, first if last is None else last, 100, 7, when, recv))


def ranges(intake: Any, name: str = "X") -> list[tuple[int, int]]:
    return [(lo, hi) for lo, hi, _, _ in rows(intake.ranges(intake.symbol(name)), RANGE).tolist()]


def taken(packed: bytes) -> list[int]:
    return rows(packed, TRADE)["id"].tolist()


def source(intake: Any, name: str = "X") -> Source:
    return Source(intake.source(intake.symbol(name)))


# -- rule 2: each trade once ---------------------------------------------------------------------------------


def test_each_trade_once_in_any_order(new: Any) -> None:
    for seed in range(10):
        ids = [*range(50), *range(50)]
        random.Random(seed).shuffle(ids)
        intake = new()
        verdicts = [put(intake, number, ts=START) for number in ids]
        assert [number for number, verdict in zip(ids, verdicts, strict=True) if verdict is Put.NEW] == list(
            dict.fromkeys(ids)
        )
        assert verdicts.count(Put.DUPLICATE) == 50
        assert taken(intake.take_trades()) == list(dict.fromkeys(ids))
        assert ranges(intake) == [(0, 49)]
        assert intake.counts()[:6] == (50, 50, 0, 0, 0, 0)


def test_each_aggregate_once_in_any_order(new: Any) -> None:
    runs = [(first, first + 2) for first in range(0, 90, 3)]
    chance = random.Random(1)
    intake = new()
    shuffled = [*runs, *runs]
    chance.shuffle(shuffled)
    verdicts = [put(intake, *run, ts=START) for run in shuffled]
    assert (verdicts.count(Put.NEW), verdicts.count(Put.DUPLICATE)) == (30, 30)
    assert ranges(intake) == [(0, 89)]


def test_a_repeat_is_known_whenever_it_comes(new: Any) -> None:
    intake = new()
    assert put(intake, 1) is Put.NEW
    assert put(intake, 100_000) is Put.NEW
    assert put(intake, 1) is Put.DUPLICATE


def test_symbols_have_ids_of_their_own(new: Any) -> None:
    intake = new()
    assert [put(intake, 5, name=name) for name in ("X", "Y", "x", "X")] == [Put.NEW] * 3 + [Put.DUPLICATE]
    assert intake.symbols() == ["X", "Y", "x"]


def test_a_hole_is_visible_until_it_is_filled(new: Any) -> None:
    intake = new()
    for number in (1, 2, 6, 7):
        put(intake, number)
    assert rows(intake.ranges(0), RANGE).tolist() == [
        (1, 2, START + SECOND, START + 2 * SECOND),
        (6, 7, START + 6 * SECOND, START + 7 * SECOND),
    ]
    for number in (4, 3, 5):
        assert put(intake, number) is Put.NEW
    assert rows(intake.ranges(0), RANGE).tolist() == [(1, 7, START + SECOND, START + 7 * SECOND)]


@pytest.mark.parametrize(("first", "last"), [(3, 6), (1, 7), (0, 2), (4, 8), (7, 12)])
def test_an_aggregate_that_is_partly_seen_is_refused(new: Any, first: int, last: int) -> None:
    intake = new()
    assert put(intake, 2, 3) is Put.NEW
    assert put(intake, 6, 9) is Put.NEW
    assert put(intake, first, last) is Put.OVERLAP
    assert ranges(intake) == [(2, 3), (6, 9)]
    assert taken(intake.take_trades()) == [2, 6]
    assert intake.counts()[:3] == (2, 0, 0)


def test_an_aggregate_inside_what_was_seen_is_a_repeat(new: Any) -> None:
    intake = new()
    put(intake, 1, 3)
    put(intake, 4, 6)
    assert put(intake, 2, 5) is Put.DUPLICATE


def test_a_forgotten_id_goes_to_late(new: Any) -> None:
    intake = new(range_limit=1)
    put(intake, 1, ts=START)
    put(intake, 5, ts=START)
    assert put(intake, 1, ts=START) is Put.LATE
    assert taken(intake.take_late()) == [1]
    assert taken(intake.take_trades()) == [1, 5]
    assert ranges(intake) == [(5, 5)]


def test_a_hundred_thousand_holes_stay_exact(new: Any) -> None:
    intake = new()
    intake.symbol("X")
    ids = list(range(0, 200_000, 2))
    random.Random(3).shuffle(ids)
    for number in ids:
        assert intake.put(0, 0, number, number, number, 1, 1, START, None) == Put.NEW
    assert ranges(intake) == [(number, number) for number in range(0, 200_000, 2)]
    for number in ids[:1000]:
        assert intake.put(0, 0, number, number, number, 1, 1, START, None) == Put.DUPLICATE
    for number in range(1, 200_000, 2):
        assert intake.put(0, 0, number, number, number, 1, 1, START, None) == Put.NEW
    assert ranges(intake) == [(0, 199_999)]


# -- rule 1: one source ----------------------------------------------------------------------------------------


def test_aggregates_of_a_symbol_with_trades_are_ignored(new: Any) -> None:
    intake = new()
    assert source(intake) is Source.NONE
    put(intake, 5)
    assert source(intake) is Source.TRADES
    assert put(intake, 1, 3) is Put.IGNORED
    assert put(intake, 5, 9) is Put.IGNORED
    assert ranges(intake) == [(5, 5)]
    assert intake.counts()[:3] == (1, 0, 2)
    assert put(intake, 1, 3, name="Y") is Put.NEW


def test_the_first_trade_after_aggregates_asks_for_a_switch(new: Any) -> None:
    intake = new()
    put(intake, 1, 3)
    assert source(intake) is Source.AGGREGATES
    assert put(intake, 2) is Put.SWITCH
    assert put(intake, 4) is Put.SWITCH
    assert ranges(intake) == [(1, 3)]
    assert taken(intake.take_trades()) == [1]
    intake.forget(intake.symbol("X"))
    assert (source(intake), ranges(intake)) == (Source.NONE, [])
    assert put(intake, 2) is Put.NEW
    assert source(intake) is Source.TRADES
    assert put(intake, 1, 3) is Put.IGNORED


def test_a_switch_leaves_other_symbols_alone(new: Any) -> None:
    intake = new()
    put(intake, 1, 3)
    put(intake, 1, 3, name="Y")
    intake.forget(intake.symbol("X"))
    assert (source(intake, "Y"), ranges(intake, "Y")) == (Source.AGGREGATES, [(1, 3)])


def test_an_answer_of_trades_fills_the_hole_between_aggregates(new: Any) -> None:
    intake = new()
    put(intake, 1, 3)
    put(intake, 6, 9)
    assert [put(intake, number, flags=ANSWER) for number in (3, 4, 5)] == [Put.DUPLICATE, Put.NEW, Put.NEW]
    assert (source(intake), ranges(intake)) == (Source.AGGREGATES, [(1, 9)])


def test_an_answer_of_aggregates_fills_the_hole_between_trades(new: Any) -> None:
    intake = new()
    put(intake, 1)
    put(intake, 5)
    assert put(intake, 2, 4, flags=ANSWER) is Put.NEW
    assert put(intake, 4, 6, flags=ANSWER) is Put.OVERLAP
    assert (source(intake), ranges(intake)) == (Source.TRADES, [(1, 5)])


@pytest.mark.parametrize("last", [None, 3])
def test_an_answer_chooses_no_source(new: Any, last: int | None) -> None:
    intake = new()
    assert put(intake, 3, last, flags=ANSWER) is Put.NEW
    assert source(intake) is Source.NONE
    assert put(intake, 4, 6) is Put.NEW
    assert source(intake) is Source.AGGREGATES


# -- rule 3: the watermark -------------------------------------------------------------------------------------


def test_the_stamp_is_the_watermark_before_the_event(new: Any) -> None:
    intake = new()
    for at, ts in enumerate((10, 30, 20)):
        put(intake, at, ts=START + ts * SECOND)
    expected = [NONE_TIME, START + 8 * SECOND, START + 28 * SECOND]
    assert rows(intake.take_trades(), TRADE)["ts_watermark"].tolist() == expected
    assert intake.watermark(0) == START + 28 * SECOND


def test_without_receive_times_the_greatest_event_time_counts(new: Any) -> None:
    intake = new()
    assert intake.watermark(intake.symbol("X")) is None
    put(intake, 1, ts=START + 5)
    put(intake, 2, ts=START)
    assert intake.watermark(0) == START + 5 - LATENESS
    assert intake.watermark(intake.symbol("Y")) is None


def test_the_clock_moves_the_watermark_of_a_quiet_symbol(new: Any) -> None:
    intake = new()
    put(intake, 1, ts=START, recv=START + SECOND)
    intake.clock(START + MINUTE)
    assert intake.watermark(0) == START + MINUTE - DELAY - LATENESS
    intake.clock(START + SECOND)
    intake.clock(None)
    assert intake.watermark(0) == START + MINUTE - DELAY - LATENESS


def test_a_clock_that_runs_behind_closes_nothing(new: Any) -> None:
    intake = new()
    put(intake, 1, ts=START, recv=START - HOUR)
    intake.clock(START - HOUR + SECOND)
    assert intake.watermark(0) == START - LATENESS


def test_a_clock_that_runs_ahead_is_taken_back_by_the_least_difference_seen(new: Any) -> None:
    intake = new()
    put(intake, 1, ts=START, recv=START + HOUR + 9 * SECOND)
    put(intake, 2, ts=START + SECOND, recv=START + SECOND + HOUR)
    put(intake, 3, ts=START + 2 * SECOND, recv=START + 2 * SECOND + HOUR + 5 * SECOND)
    intake.clock(START + HOUR + MINUTE)
    assert intake.watermark(0) == START + MINUTE - LATENESS


def test_an_event_that_is_no_trade_moves_the_watermark(new: Any) -> None:
    intake = new()
    intake.touch(intake.symbol("X"), START, None)
    assert intake.watermark(0) == START - LATENESS
    intake.touch(0, None, None)
    assert intake.watermark(0) == START - LATENESS
    assert intake.counts()[0] == 2


# -- rule 4: late ----------------------------------------------------------------------------------------------


def test_beyond_the_horizon_is_late_and_at_it_is_not(new: Any) -> None:
    intake = new()
    put(intake, 1, ts=START + HORIZON + LATENESS)
    assert put(intake, 2, ts=START) is Put.NEW
    assert put(intake, 3, ts=START - 1) is Put.LATE
    assert put(intake, 3, ts=START - 1) is Put.DUPLICATE
    assert taken(intake.take_trades()) == [1, 2]
    (late,) = rows(intake.take_late(), TRADE)
    assert (late["id"], late["ts_event"], late["ts_watermark"]) == (3, START - 1, START + HORIZON)


def test_the_first_trade_is_never_late(new: Any) -> None:
    intake = new()
    intake.clock(START + 9 * HOUR)
    assert put(intake, 1, ts=START, recv=START + 9 * HOUR) is Put.NEW


# -- columns ---------------------------------------------------------------------------------------------------


def test_a_trade_comes_out_as_it_went_in(new: Any) -> None:
    intake = new()
    number = intake.symbol("X")
    intake.put(number, SELL | COARSE | AGGREGATE, 9, 3, 5, 10**17, 2 * 10**17, START, START + 1)
    intake.put(number, AGGREGATE, 10, 6, 6, 1, 2, START, None)
    first, second = rows(intake.take_trades(), TRADE).tolist()
    assert first == (0, 1, 1, 1, 0, 9, 3, 5, 10**17, 2 * 10**17, START, START + 1, NONE_TIME)
    assert second == (0, 0, 0, 1, 0, 10, 6, 6, 1, 2, START, NONE_TIME, START - LATENESS)
    assert intake.take_trades() == b""


def test_put_all_is_put_of_each(new: Any) -> None:
    intake, one_by_one = new(), new()
    for each in (intake, one_by_one):
        each.symbol("X")
        each.symbol("Y")
    trades = [
        (0, 0, 1, 1, 0, 1, 1, 3, 100, 7, START, START + SECOND, NONE_TIME),
        (0, 0, 1, 1, 0, 2, 3, 4, 100, 7, START, NONE_TIME, NONE_TIME),  # overlaps
        (0, 0, 1, 0, 0, 5, 5, 5, 100, 7, START, START + SECOND, NONE_TIME),  # asks for a switch
        (0, 0, 1, 1, 0, 1, 1, 3, 100, 7, START, START + SECOND, NONE_TIME),  # again
        (1, 1, 0, 0, 0, 9, 9, 9, 100, 7, START + HOUR, START + HOUR, NONE_TIME),
        (1, 1, 0, 0, 0, 8, 8, 8, 100, 7, START - HOUR, START + HOUR, NONE_TIME),  # late
    ]
    assert intake.put_all(pack(trades, TRADE)) == 2
    for symbol, side, coarse, aggregate, _, key, first, last, price, size, ts, recv, _ in trades:
        at = None if recv == NONE_TIME else recv
        one_by_one.clock(at)
        one_by_one.put(symbol, side | coarse << 1 | aggregate << 2, key, first, last, price, size, ts, at)
    assert intake.counts() == one_by_one.counts()
    assert intake.counts()[:6] == (3, 1, 0, 2, 1, 0)
    assert intake.state() == one_by_one.state()
    assert intake.take_trades() == one_by_one.take_trades()
    assert intake.take_late() == one_by_one.take_late()


def test_put_all_of_nothing(new: Any) -> None:
    intake = new()
    assert intake.put_all(b"") == 0
    assert set(intake.counts()) == {0}


@pytest.mark.parametrize("keep", [True, False])
def test_quotes_are_kept_where_they_are_wanted(new: Any, keep: bool) -> None:
    quote = (0, 0, 9, 1, 2, 3, 4, START, NONE_TIME)
    intake = new(keep_quotes=keep)
    intake.symbol("X")
    intake.put_quote(quote)
    assert rows(intake.take_quotes(), QUOTE).tolist() == ([quote] if keep else [])
    assert intake.take_quotes() == b""


# -- state -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_restored_it_goes_on_as_if_nothing_had_happened(new: Any, seed: int) -> None:
    chance = random.Random(seed)
    whole, cut = new(range_limit=4), new(range_limit=4)
    for _ in range(300):
        first = chance.randrange(60)
        name = chance.choice("XYZ")
        last = first + chance.randrange(3) if name == "Z" else None
        ts, recv = START + chance.randrange(90) * MINUTE, START + chance.randrange(90) * MINUTE
        flags = chance.choice((0, SELL, ANSWER))
        assert put(cut, first, last, flags=flags, name=name, ts=ts, recv=recv) is put(
            whole, first, last, flags=flags, name=name, ts=ts, recv=recv
        )
        state = cut.state()
        assert state == whole.state()
        cut = new(range_limit=4)
        cut.restore(state)
