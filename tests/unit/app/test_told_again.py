"""What a life of a collector tells after another one: nothing again of what is published, all that it did not tell.

The venue's candles are what may be told again.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tapeflow.app.collector import events_of, windows_of
from tapeflow.app.pipeline import Pipeline
from tapeflow.engine.closings import Closings
from tapeflow.engine.results import VENUE_CANDLES
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Candles, Flow
from tapeflow.stores.events import lines
from tapeflow.stores.results import Results
from tapeflow.stores.states import States
from tapeflow.tape.records import Kind
from tapeflow.tape.writer import TapeWriter

SECOND = 1_000_000
US = 1_722_988_800 * SECOND


class Topic:
    """A ledger that keeps the rows of the topics of trades and quotes, as a bus does: nothing replaces itself."""

    replaces = False

    def __init__(self) -> None:
        self.position, self.fingerprint, self.epoch = 0, "", "e"
        self.rows: list[dict[str, Any]] = []
        self.quotes: list[dict[str, Any]] = []

    def commit(self, results: Results, position: int, **_: Any) -> int:
        self.rows += [json.loads(line) for line in lines(results, "trades")[1]]
        self.quotes += [json.loads(line) for line in lines(results, "quotes")[1]]
        self.position = position
        return results.size

    def claim(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint


def flow(*intervals: str) -> Flow:
    made = Builder("told", lateness="1s", horizon="30m")
    made.trades().candles(*intervals)
    return made.build()


def life(folder: Path, topic: Topic, whole: Flow, end: int, *, tells: bool = True) -> Counter[str]:
    """Play the tape up to its end; what was published, by interval of the venue's candles."""
    pipeline = Pipeline(
        events_of(whole, with_klines=False),
        "binance",
        folder / "tape",
        topic,  # type: ignore[arg-type]
        States(folder / "state"),
        channels=("trades", "quotes", VENUE_CANDLES),
        act=lambda _: None,
        tell=lambda _: None,
        closings=Closings(windows_of(whole, "trades")),
        told=tuple(whole.of(Candles)) if tells else (),
    )
    pipeline.restore(end)
    before = len(topic.rows)
    while pipeline.progress.played < end:
        pipeline._play_some()
        pipeline._commit()
        pipeline._committer.wait()
    pipeline._commit(with_state=True)
    pipeline._committer.wait()
    pipeline._reader.close()
    return Counter(row["candle"]["interval"] if "candle" in row else "other" for row in topic.rows[before:])


def trades(first: int, since: int) -> list[Any]:
    found = []
    for at in range(10):
        ts = US + (since + at) * SECOND
        row = {"e": "trade", "E": ts // 1000, "s": "X", "t": first + at, "p": "5", "q": "1", "T": ts // 1000}
        body = json.dumps(row | {"m": False, "M": True}).encode()
        found.append((Kind.FRAME, "c1", ts + 50_000, ts + 50_000, "", body))
    return found


def past(at: int, interval: str = "1s") -> Any:
    rows = []
    for back in range(30, 0, -1):
        start = (US - back * SECOND) // 1000
        rows.append([start, "5", "9", "4", "7", "33", start + 999, "99", 3, "1", "3", "0"])
    head = f"200 /api/v3/klines?symbol=X&interval={interval}&limit=500"
    return (Kind.ANSWER, "c1", at, at, head, json.dumps(rows).encode())


def add(folder: Path, records: list[Any]) -> int:
    with TapeWriter(folder / "tape") as writer:
        writer.extend(records)
        writer.commit()
        return writer.position


def test_an_interval_that_is_new_is_told_what_is_known(tmp_path: Path) -> None:
    topic = Topic()
    end = add(tmp_path, [past(US + SECOND), *trades(1, 2)])
    assert life(tmp_path, topic, flow("1s"), end)["1s"] == 30
    end = add(tmp_path, trades(100, 20))
    found = life(tmp_path, topic, flow("1s", "5s"), end)
    assert (found["1s"], found["5s"]) == (30, 6)
    end = add(tmp_path, [past(US + 40 * SECOND), *trades(200, 50)])
    assert set(life(tmp_path, topic, flow("1s", "5s"), end)) == {"other"}, "once"


def test_a_life_that_told_nothing_is_followed_by_one_that_does(tmp_path: Path) -> None:
    topic = Topic()
    end = add(tmp_path, [past(US + SECOND), *trades(1, 2)])
    assert set(life(tmp_path, topic, flow("1s"), end, tells=False)) == {"other"}
    end = add(tmp_path, trades(100, 20))
    assert life(tmp_path, topic, flow("1s"), end)["1s"] == 30
    ids = [row["id"] for row in topic.rows if "id" in row]
    assert len(ids) == len(set(ids)) == 20


def quotes(first: int, since: int) -> list[Any]:
    found = []
    for at in range(10):
        ts = US + (since + at) * SECOND
        row = {"u": first + at, "s": "X", "b": "4", "B": "1", "a": "6", "A": "1"}
        found.append((Kind.FRAME, "c1", ts + 60_000, ts + 60_000, "", json.dumps(row).encode()))
    return found


def changed_flow() -> Flow:
    """Another source, another lateness, another interval, another horizon and name."""
    made = Builder("changed", lateness="3s", horizon="10m")
    made.trades().candles("1s", "5s")
    made.quotes().latest()
    return made.build()


def test_a_changed_flow_publishes_nothing_again_and_leaves_nothing_out(tmp_path: Path) -> None:
    topic = Topic()
    end = add(tmp_path, [past(US + SECOND), *trades(1, 2), *quotes(1, 12)])
    life(tmp_path, topic, flow("1s"), end)
    assert not topic.quotes, "the flow has none"
    before = topic.fingerprint
    again = trades(5, 20)[:6]  # the last six of the first life: the changed flow has to know them
    end = add(tmp_path, [*again, *trades(11, 30), *quotes(11, 40)])
    found = life(tmp_path, topic, changed_flow(), end)
    assert topic.fingerprint != before
    assert [int(row["id"]) for row in topic.rows if "id" in row] == list(range(1, 21)), "each once, none left out"
    assert [int(row["id"]) for row in topic.quotes] == list(range(11, 21)), "what is new begins with what comes now"
    assert (found["1s"], found["5s"]) == (30, 6), "candles are told again for whoever computes others now"
    instants = [row["ts_watermark"] for row in topic.rows if "id" not in row and "candle" not in row]
    assert max(instants) > US + 30 * SECOND, "windows close as the changed flow has it"
    end = add(tmp_path, trades(21, 60))
    assert set(life(tmp_path, topic, changed_flow(), end)) == {"other"}
    assert len({row["id"] for row in topic.rows if "id" in row}) == 30
