"""Where windows are said to close among events: once each, after what is on time and before what is late."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeflow.domain.window import Window, sliding, tumbling
from tapeflow.engine.closings import Closings
from tapeflow.engine.columns import NONE_TIME

SECOND = 1_000_000
#: Some are made of others, some are not: an event in the same three seconds may be in other five.
WINDOWS = [
    *map(tumbling, ("1s", "3s", "5s", "7s", "1m", "1w")),
    sliding("3s", "500ms"),
    sliding("2s", "750ms"),
]

Event = tuple[int, int, int]  # symbol, time, stamp


def story(seed: int, count: int = 300) -> tuple[list[Event], dict[int, int]]:
    """Events of two symbols with stamps as an intake gives them: the watermark before each, by times and by ticks."""
    made = random.Random(seed)
    newest, marks, events = {1: 0, 2: 0}, {1: NONE_TIME, 2: NONE_TIME}, []
    for _ in range(count):
        symbol = made.choice((1, 1, 1, 2))
        if made.random() < 0.1:  # the clock moves a quiet symbol on
            marks[symbol] = max(marks[symbol], newest[symbol] + made.choice((0, 400_000, 30 * SECOND)))
        jump = made.choice((0, 1, 90_000, 700_000, 20 * SECOND, -3 * SECOND))
        ts = max(0, newest[symbol] + jump)
        events.append((symbol, ts, marks[symbol]))
        newest[symbol] = max(newest[symbol], ts)
        marks[symbol] = max(marks[symbol], newest[symbol] - 2 * SECOND)
    return events, marks


def told(
    events: list[Event], marks: dict[int, int], cuts: list[int], windows: list[Window] = WINDOWS
) -> list[tuple[int, int, int]]:
    """The rows of a story taken in pieces: (events of the symbol before it, symbol, instant)."""
    closings = Closings(windows)
    found: list[tuple[int, int, int]] = []
    for start, stop in zip([0, *cuts], [*cuts, len(events)], strict=True):
        columns = zip(*events[start:stop], strict=True) if stop > start else ((), (), ())
        arrays = [np.array(column, np.int64) for column in columns]
        now = {s: next((e[2] for e in events[stop:] if e[0] == s), marks[s]) for s in (1, 2)}
        for place, symbol, instant in closings.add(*arrays, now):
            found.append((sum(e[0] == symbol for e in events[: start + place]), symbol, instant))
        again = Closings(windows)
        again.restore(closings.state())
        closings = again
    return sorted(found)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 300), max_size=12))
def test_rows_depend_on_no_batch_and_no_restart(seed: int, cuts: list[int]) -> None:
    events, marks = story(seed)
    assert told(events, marks, sorted(cuts)) == told(events, marks, [])


@pytest.mark.parametrize("seed", range(20))
def test_each_window_with_an_event_on_time_is_closed_once_in_its_place(seed: int) -> None:
    events, marks = story(seed)
    rows = told(events, marks, [])
    assert len(rows) == len({row[1:] for row in rows}), "an instant is said once"
    for symbol in (1, 2):
        mine = [event for event in events if event[0] == symbol]
        places = {instant: place for place, of, instant in rows if of == symbol}
        for window in WINDOWS:
            ends = {end for _, ts, _ in mine for end in window.ends(ts)}
            for end in ends:
                check(window, end, mine, places, marks[symbol])


def check(window: Window, end: int, events: list[Event], places: dict[int, int], last: int) -> None:
    inside = [i for i, (_, ts, _) in enumerate(events) if end - window.size_us <= ts < end]
    on_time = [i for i in inside if events[i][2] < end]
    late = [i for i in inside if events[i][2] >= end]
    if not on_time or last < end:
        return  # closed by its first late event, or not yet
    place = places[end]
    assert max(on_time) < place
    assert not late or place <= min(late)
    first = next((i for i, event in enumerate(events) if event[2] >= end), len(events))
    assert place == first, "as soon as a stamp, or the end, says so"


@pytest.mark.parametrize("windows", [WINDOWS, [tumbling("1m")]])
@pytest.mark.parametrize("seed", range(20))
def test_after_what_is_late_the_next_second_is_said(seed: int, windows: list[Window]) -> None:
    events, marks = story(seed)
    rows = told(events, marks, [], windows)
    late = [
        (at, symbol, stamp // SECOND * SECOND + SECOND)
        for at, (symbol, ts, stamp) in enumerate(events)
        if any(window.ends(ts)[0] <= stamp for window in windows)
    ]
    assert late
    for at, symbol, instant in late:
        after = [event[2] for event in events[at + 1 :] if event[0] == symbol]
        first = next((i for i, stamp in enumerate([*after, marks[symbol]]) if stamp >= instant), None)
        before = sum(event[0] == symbol for event in events[: at + 1])
        assert [place for place, of, said in rows if (of, said) == (symbol, instant)] == (
            [] if first is None else [before + first]
        )


def test_for_what_has_no_time_no_window_waits() -> None:
    closings = Closings(WINDOWS)
    nothing = np.array([NONE_TIME] * 3, np.int64)
    assert closings.add(np.array([1] * 3, np.int64), nothing, nothing, {1: 1_700_000_000 * SECOND}) == []
    assert closings.state() == []


def test_without_windows_nothing_is_said() -> None:
    assert Closings([]).add(*(np.array([1], np.int64),) * 3, {1: 10}) == []
