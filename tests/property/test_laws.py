"""The laws of the engine: order, repeats, batches and restarts change nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeflow.domain.candle import CandleFold, MeanFold, StampedTrade
from tapeflow.engine.kernels import COMPILED
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Flow
from tapeflow.sim.sample import sample_frames
from tapeflow.testing.engines import Message, run
from tapeflow.testing.folds import check_fold

KERNELS = [
    pytest.param(False, id="portable"),
    pytest.param(True, id="compiled", marks=pytest.mark.skipif(COMPILED is None, reason="the kernel is not built")),
]
START_MS = 1_722_988_800_000


def small_flow() -> Flow:
    flow = Builder("small", lateness="1s", horizon="30m")
    candles = flow.trades().candles("1s", "5s", "1m", "1w")
    for name in ("sma_2", "ema_2", "rsi_2", "macd_2_3_2", "bollinger_2_2", "linreg_2"):
        candles.indicator(name)
    flow.trades().moving_average("3s", "500ms").moving_average("2500ms", "1s")
    return flow.build()


FLOW = small_flow()


def trade(id: int, ms: int, price: int, size: int, *, sell: bool = False, symbol: str = "BTCUSDT") -> Message:
    text = {"e": "trade", "E": START_MS + ms, "s": symbol, "t": id, "p": decimal(price), "q": decimal(size)}
    text |= {"T": START_MS + ms, "m": sell, "M": True}
    return None, json.dumps(text, separators=(",", ":")).encode()


def decimal(value: int) -> str:
    return f"{value // 10**8}.{value % 10**8:08d}"


@st.composite
def tapes(draw: st.DrawFn) -> list[Message]:
    times = draw(st.lists(st.integers(0, 90_000), min_size=1, max_size=40))
    messages = []
    for id, ms in enumerate(sorted(times)):
        price, size = draw(st.integers(1, 10**14)), draw(st.integers(1, 10**12))
        symbol = draw(st.sampled_from(("BTCUSDT", "ETHUSDT")))
        messages.append(trade(id, ms, price, size, sell=draw(st.booleans()), symbol=symbol))
    return messages


def last_values(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """What no order may change: everything but how often a row was revised."""
    chosen = ("trades", "candles", "moving_average", "indicators")
    return {channel: [{k: v for k, v in row.items() if k != "revision"} for row in rows[channel]] for channel in chosen}


@pytest.mark.parametrize("compiled", KERNELS)
@given(tape=tapes(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_order_repeat_and_batching_gives_the_same_last_rows(
    compiled: bool, tape: list[Message], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(tape + data.draw(st.lists(st.sampled_from(tape), max_size=10))))
    batches = data.draw(st.lists(st.integers(1, 9), max_size=20))
    assert last_values(run(shuffled, flow=FLOW, batches=batches, compiled=compiled)) == last_values(
        run(tape, flow=FLOW, compiled=compiled)
    )


@pytest.mark.parametrize("compiled", KERNELS)
@given(tape=tapes(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_revision_is_the_same_in_any_batching_and_after_any_restart(
    compiled: bool, tape: list[Message], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(tape))
    batches = data.draw(st.lists(st.integers(1, 9), max_size=20))
    cuts = data.draw(st.lists(st.integers(0, len(tape)), max_size=5))
    patience = data.draw(st.sampled_from((0, 1, 1 << 14)))
    changed = run(shuffled, flow=FLOW, revisions=True, batches=batches, cuts=cuts, patience=patience, compiled=compiled)
    assert changed == run(shuffled, flow=FLOW, revisions=True, compiled=not compiled and COMPILED is not None)


@given(tape=tapes(), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_late_trade_is_a_revision_everywhere_it_matters(tape: list[Message], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(tape) - 1))
    late = json.loads(tape[at][1])
    far = trade(10_000, 200_000, 10**8, 10**8, symbol=late["s"])
    rows = run([*tape[:at], *tape[at + 1 :], far, tape[at]], flow=FLOW, revisions=True)
    ts = late["T"] * 1000
    for row in rows["candles"] + rows["moving_average"]:
        holds = row["symbol"] == late["s"] and row["ts_start"] <= ts < row["ts_end"]
        is_last = not any(
            other["revision"] > row["revision"] and key(other) == key(row)
            for other in rows["candles"] + rows["moving_average"]
        )
        if holds and is_last and row["ts_end"] <= (START_MS + 199_000) * 1000:
            assert row["revision"] > 0


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["symbol"], row.get("interval"), row.get("window_ms"), row["ts_start"])


def test_a_late_close_revises_the_indicators_after_it() -> None:
    tape = [trade(i, i * 1000, (100 + i) * 10**8, 10**8) for i in range(20)]
    late = trade(100, 5_999, 500 * 10**8, 10**8)
    rows = run([*tape, late, trade(101, 25_000, 10**8, 10**8)], flow=FLOW, revisions=True)
    revised = [r for r in rows["indicators"] if r["interval"] == "1s" and r["name"] == "ema_2" and r["revision"]]
    starts = [(r["ts_start"] // 1000 - START_MS) // 1000 for r in revised]
    assert starts[:5] == [5, 6, 7, 8, 9]  # its own bar and every one after: the average remembers
    assert all(r["revision"] == 1 for r in revised)
    sma = [r for r in rows["indicators"] if r["interval"] == "1s" and r["name"] == "sma_2"]
    assert [(r["ts_start"] // 1000 - START_MS) // 1000 for r in sma if r["revision"] and r["bars"] < 19] == [5, 6]


@pytest.mark.parametrize("compiled", KERNELS)
def test_a_restart_at_every_frame_changes_nothing(compiled: bool) -> None:
    frames: list[Message] = list(sample_frames(seed=3, seconds=6))
    frames.insert(50, (None, b'{"broken'))
    whole = run(frames, revisions=True, compiled=compiled)
    assert run(frames, revisions=True, compiled=compiled, cuts=range(0, len(frames), 7)) == whole
    assert whole["book"]
    assert whole["klines"]
    assert len(whole["quarantine"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("compiled", KERNELS)
def test_a_restart_at_each_single_frame_changes_nothing(compiled: bool) -> None:
    frames: list[Message] = list(sample_frames(seed=4, seconds=5))
    assert run(frames, compiled=compiled, cuts=range(len(frames))) == run(frames, compiled=compiled)


stamped = st.builds(
    StampedTrade,
    symbol=st.just(0),
    side=st.integers(0, 1),
    coarse=st.integers(0, 1),
    aggregate=st.just(0),
    id=st.integers(0, 9),
    first_id=st.integers(0, 9),
    last_id=st.integers(9, 12),
    price=st.integers(1, 2**63 - 1),
    size=st.integers(1, 10**12),
    ts_event=st.integers(0, 5000),
    ts_recv=st.none(),
    ts_watermark=st.none(),
)


@given(st.lists(stamped, max_size=12))
def test_candle_and_mean_keep_the_laws_of_a_fold(events: list[StampedTrade]) -> None:
    check_fold(CandleFold(), events)
    check_fold(MeanFold(), events)


@pytest.mark.skipif(COMPILED is None, reason="the kernel is not built")
@pytest.mark.parametrize("lost", [(), (3,), (40,)], ids=["whole", "a delta lost before", "a delta lost after"])
def test_kernel_and_twin_give_the_same_books_and_all_else(lost: tuple[int, ...]) -> None:
    """Deltas are held by the kernel until their snapshot comes; the twin reads each at once."""
    frames: list[Message] = list(sample_frames(seed=8, seconds=8))
    deltas = [i for i, (_, frame) in enumerate(frames) if b"btcusdt@depth" in frame]
    gone = {deltas[n] for n in lost}
    frames = [frame for i, frame in enumerate(frames) if i not in gone]
    compiled, portable = (run(frames, revisions=True, compiled=way) for way in (True, False))
    assert compiled == portable
    assert compiled["book"]
    gaps = [row for row in compiled["coverage"] if row["stream"] == "book"]
    assert bool(gaps) == (40 in lost)  # what came before the snapshot is in it
    without = [frame for frame in frames if b"lastUpdateId" not in frame[1]]
    assert run(without, compiled=True) == run(without, compiled=False)
