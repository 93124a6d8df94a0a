"""The compiled kernel and its portable twin give the same bytes, from the same trades, cut anywhere."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeflow.domain.window import sliding, tumbling
from tapeflow.engine import columns
from tapeflow.engine import intake as portable_intake
from tapeflow.engine import windows as portable_windows

kernel = pytest.importorskip("tapeflow.engine._kernel", reason="the compiled kernel is not built here")

LIMITS = {
    "lateness_us": 2_000_000,
    "horizon_us": 20_000_000,
    "delay_us": 1_000_000,
    "range_limit": 5,
    "keep_trades": True,
    "keep_quotes": True,
    "depth": 2,
    "symbol_limit": 100,
}


def layout(windows):
    return [(w.size_us, w.slide_us, w.origin_us, w.pane_us) for w in windows]


CANDLES = layout([tumbling("1s"), tumbling("5s"), tumbling("7s"), tumbling("1m"), tumbling("1w")])
MEANS = layout([sliding("3s", "500ms"), sliding("2s", "3s"), sliding("2500ms", "1500ms"), sliding("10s", "10s")])

trades = st.lists(
    st.tuples(
        st.integers(0, 2),  # symbol
        st.integers(0, 3),  # side and unit
        st.integers(0, 400),  # id
        st.integers(0, 3),  # further ids of an aggregate
        st.integers(1, 10**12),
        st.integers(1, 10**12),
        st.integers(0, 60_000),  # milliseconds
        st.one_of(st.none(), st.integers(0, 70_000)),
    ),
    max_size=80,
)


def put(intake, trade, start):
    symbol, flags, first, more, price, size, ms, recv = trade
    aggregate = symbol == 2
    last = first + more if aggregate else first
    ts = start + ms * 1000 + (0 if flags & 2 else first)
    ts_recv = None if recv is None else start + recv * 1000
    intake.clock(ts_recv)
    flags |= aggregate << 2
    return intake.put(intake.symbol(f"S{symbol}"), flags, first, first, last, price, size, ts, ts_recv)


def take(intake, windows):
    """All that waits, as rows that a failure can show; floats as their bits."""
    packed = (
        (intake.take_trades(), columns.TRADE),
        (intake.take_late(), columns.TRADE),
        (windows.take_candles(), columns.CANDLE_ROW),
        (windows.take_means(), columns.MEAN_ROW),
    )
    ranges = [columns.rows(intake.ranges(i), columns.RANGE).tolist() for i in range(len(intake.symbols()))]
    return [columns.rows(*pair).tolist() for pair in packed], intake.counts(), ranges


def new(module_intake, module_windows):
    return module_intake.Intake(**LIMITS), module_windows.Windows(candles=CANDLES, means=MEANS, horizon_us=20_000_000)


@given(trades, st.integers(0, 80), st.booleans(), st.sampled_from([0, 1_700_000_000_000_000]))
@settings(max_examples=1000, deadline=None)
def test_same_bytes(events, cut, swap, start):
    compiled, portable = new(kernel, kernel), new(portable_intake, portable_windows)
    for n, event in enumerate(events):
        verdicts = [put(intake, event, start) for intake, _ in (compiled, portable)]
        assert verdicts[0] == verdicts[1]
        if n == cut:  # each restores the state of the other (or its own)
            for intake, windows in (compiled, portable):
                windows.add(intake)
            taken = [take(*pair) for pair in (compiled, portable)]
            assert taken[0] == taken[1]
            states = [(intake.state(), windows.state()) for intake, windows in (compiled, portable)]
            assert states[0] == states[1]
            compiled, portable = new(kernel, kernel), new(portable_intake, portable_windows)
            for (intake, windows), state in zip((compiled, portable), states[::-1] if swap else states, strict=True):
                intake.restore(state[0])
                windows.restore(state[1])
    for intake, windows in (compiled, portable):
        windows.add(intake)
        windows.advance(intake)
    assert take(*compiled) == take(*portable)
    for _, windows in (compiled, portable):
        windows.forming()
    assert take(*compiled) == take(*portable)


@pytest.mark.parametrize("seed", range(4))
def test_same_rows_over_many_horizons(seed):
    """Long enough that what no trade can reach any more is dropped, in both and at different moments."""
    rng = random.Random(seed)
    compiled, portable = new(kernel, kernel), new(portable_intake, portable_windows)
    for n in range(6_000):
        late = rng.choice((0, 0, 0, 0, 500, 3_000, 19_000, 30_000))
        ms = max(0, n * 60 - late)
        event = (rng.randrange(2), rng.randrange(2) | 2 * (seed % 2), n * 5, 0, rng.randint(1, 10**14), 10**9, ms, None)
        for intake, windows in (compiled, portable):
            put(intake, event, 1_700_000_000_000_000)
            if n % 97 == 0:
                windows.add(intake)
        if n % 997 == 0:
            assert take(*compiled) == take(*portable)
    for intake, windows in (compiled, portable):
        windows.add(intake)
        windows.forming()
    assert take(*compiled) == take(*portable)


@given(st.integers(0, 10**38), st.integers(0, 17))
@settings(max_examples=500, deadline=None)
def test_nearest_is_correctly_rounded(value, digits):
    power = 10**digits
    assert kernel.nearest(value >> 64, value & (2**64 - 1), power) == value / power


@pytest.mark.parametrize(
    "value", [0, 1, 2**53 - 1, 2**53, 2**53 + 1, 2**54 + 2, 2**64, 2**127 - 1, (2**53 + 1) * 10**8]
)
def test_nearest_at_the_edges(value):
    for power in (1, 10, 10**8, 10**16):
        assert kernel.nearest(value >> 64, value & (2**64 - 1), power) == value / power
