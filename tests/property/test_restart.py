"""A pipeline abandoned anywhere and started again gives the store that a replay of its tape gives: same rows, once."""

from __future__ import annotations

import ast
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import tapeflow as tf
from tapeflow.app.pipeline import Pipeline
from tapeflow.domain.errors import StoreError
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Flow
from tapeflow.sim.sample import sample_frames
from tapeflow.stores.channels import CHANNELS as CHANNELS_OF_ALL
from tapeflow.stores.channels import NUMBERED, REVISED
from tapeflow.stores.duckdb import DuckStore
from tapeflow.stores.results import Results
from tapeflow.stores.states import States
from tapeflow.tape.playback import GiveUp, Said, write_note
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.records import Kind, Record
from tapeflow.tape.writer import TapeWriter

CHANNELS = ("trades", "quotes", "candles", "moving_average", "indicators", "late", "quarantine")
STORED = (*CHANNELS, "coverage")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
#: The first trade missing of this one is never answered.
NEVER = "ETHUSDT"


def flow() -> Flow:
    made = Builder("restarted", lateness="1s", horizon="5s")  # so short that only the hold keeps a hole open
    candles = made.trades().candles("1s", "5s", "1m")
    for name in ("sma_3", "rsi_3"):
        candles.indicator(name)
    made.trades().moving_average("3s", "500ms")
    made.quotes()
    return made.build()


# -- a tape ------------------------------------------------------------------------------------------------


def records(seed: int, seconds: int = 40) -> list[Record]:
    """What a live run puts on its tape: frames of two connections, holes and their answers, ticks, notes, failures."""
    chance = random.Random(seed)
    found: list[Record] = []
    lost: dict[str, list[dict[str, Any]]] = {symbol: [] for symbol in SYMBOLS}
    holes = {symbol: sorted(chance.sample(range(2, 30), 2)) for symbol in SYMBOLS}
    start = tick = 0
    for at, frame in sample_frames(seed=seed, symbols=SYMBOLS, seconds=seconds):
        start = start or at
        while at - tick > 250_000:
            tick = tick + 250_000 if tick else at
            found.append((Kind.TICK, "clock", tick, tick, "", b""))
        data = json.loads(frame).get("data", {})
        second = (at - start) // 1_000_000
        if data.get("e") == "trade" and any(first <= second < first + 3 for first in holes[data["s"]]):
            lost[data["s"]].append(data)
            if chance.random() < 0.02:
                found.append((Kind.DISCONNECT, "c1", at, at, "closed by the venue", b""))
            continue
        found.append((Kind.FRAME, f"c{chance.randrange(2)}", at, at, "", frame))
        if chance.random() < 0.05:  # the overlap of two connections
            found.append((Kind.FRAME, "c2", at, at, "", frame))
        if chance.random() < 0.01:
            found.append(chance.choice(others(at, chance)))
        for symbol in SYMBOLS:
            ready = [data for data in lost[symbol][symbol == NEVER :] if data["T"] < (at - 12_000_000) // 1000]
            if ready and chance.random() < 0.05:
                found.append(answer(symbol, ready[:7], at))
                lost[symbol] = [data for data in lost[symbol] if data not in ready[:7]]
    end = found[-1][2]
    never = lost[NEVER].pop(0)["t"]
    for symbol in SYMBOLS:
        found += [answer(symbol, lost[symbol][n : n + 7], end) for n in range(0, len(lost[symbol]), 7)]
    note = write_note(GiveUp(NEVER, never, never, "not_at_venue")).decode()
    found.append((Kind.NOTE, "feed", end, end, note, b""))
    found += [(Kind.TICK, "clock", end + n * 1_000_000, end + n * 1_000_000, "", b"") for n in range(1, 8)]
    return found


def others(at: int, chance: random.Random) -> list[Record]:
    """Records that change no row."""
    note = write_note(Said("clock_step", "set by an hour")).decode()
    bad = b'[{"id":1,"price":"1","qty":"1","quoteQty":"1","time":1,"isBuyerMaker":true,"isBestMatch":true}]'
    request = "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1&limit=1"
    return [
        (Kind.NOTE, "feed", at, at, note, b""),
        (Kind.CONNECT, "c3", at, at, "wss://venue", b""),
        (Kind.SEND, "c3", at, at, "", b'{"method":"SUBSCRIBE"}'),
        (Kind.REQUEST, "rest", at, at, f"GET {request}", b""),
        (Kind.ANSWER, "rest", at, at, f"429 {request}", bad),
        (Kind.ANSWER, "rest", at, at, f"0 {request}", bad),
        (Kind.FRAME, "c1", at, at, "", b'{"cut short'),
    ]


def answer(symbol: str, trades: list[dict[str, Any]], at: int) -> Record:
    rows = [
        {"id": t["t"], "price": t["p"], "qty": t["q"], "quoteQty": "1", "time": t["T"], "isBuyerMaker": t["m"]}
        | {"isBestMatch": True}
        for t in trades
    ]
    head = f"200 /api/v3/historicalTrades?symbol={symbol}&fromId={trades[0]['t']}&limit={len(trades)}"
    return (Kind.ANSWER, "rest", at, at, head, json.dumps(rows).encode())


def append(folder: Path, some: list[Record], block: int = 50) -> int:
    """Put records on a tape in blocks; the position after them."""
    with TapeWriter(folder, segment_bytes=200_000) as writer:
        for n in range(0, len(some), block):
            writer.extend(some[n : n + block])
            writer.commit()
        return writer.position


# -- what is compared ----------------------------------------------------------------------------------------


def stored(folder: Path) -> dict[str, list[str]]:
    store = DuckStore(folder / "results.duckdb", STORED)
    try:
        return {channel: lines(store.read(channel)) for channel in STORED}
    finally:
        store.close()


def replayed(folder: Path, **options: Any) -> dict[str, list[str]]:
    done = tf.replay([folder / "tape"], flow=flow(), channels=list(STORED), **options)
    return {channel: lines(done.arrow(channel)) for channel in STORED}


def lines(table: Any) -> list[str]:
    """Rows that are closed, as text, in any order."""
    return sorted(repr(row).replace("Etc/UTC", "UTC") for row in table.to_pylist() if row.get("closed", True))


def assert_same(folder: Path) -> None:
    expected, found = replayed(folder), stored(folder)
    assert all(len(expected[c]) > 5 for c in ("trades", "quotes", "candles", "moving_average", "indicators"))
    for channel in STORED:
        extra, missing = set(found[channel]) - set(expected[channel]), set(expected[channel]) - set(found[channel])
        assert not extra | missing, (channel, sorted(extra)[:3], sorted(missing)[:3])
        assert len(found[channel]) == len(expected[channel]), f"{channel}: rows that stand there twice"


# -- a pipeline that dies -------------------------------------------------------------------------------------


class Died(Exception):
    """The pipeline is abandoned here."""


class Dying:
    """A store that is the end of the pipeline before or after a commit."""

    def __init__(self, store: DuckStore, chance: random.Random, odds: float) -> None:
        self._store, self._chance, self._odds = store, chance, odds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, results: Results, position: int, **more: Any) -> int:
        if self._chance.random() < self._odds / 2:
            raise Died
        if self._chance.random() < self._odds / 2:
            raise StoreError("the disk is full")  # the pipeline tries the same again
        count = self._store.commit(results, position, **more)
        if self._chance.random() < self._odds:
            raise Died
        return count


def life(folder: Path, chance: random.Random, end: int, *, is_last: bool, begun_at: int | None = None) -> bool:
    """One life of a pipeline, step by step, to the end of the tape or to its death; True if it got there.

    ``begun_at`` is where the tape ended when the life began, if it has grown since.
    """
    store = DuckStore(folder / "results.duckdb", STORED)
    dying = Dying(store, chance, 0.0 if is_last else 0.25)
    pipeline = Pipeline(
        flow(), "binance", folder / "tape", dying, States(folder / "state"),
        channels=CHANNELS, act=lambda _: None, tell=lambda _: None,
    )  # fmt: skip
    try:
        pipeline.restore(end if begun_at is None else begun_at)
        while pipeline.progress.played < end:
            pipeline._play_some()
            pipeline._is_stopping = pipeline.progress.played >= end  # the last commit has the last coverage
            if pipeline.progress.played > pipeline.progress.committed and (is_last or chance.random() < 0.8):
                pipeline._commit()
            if pipeline.progress.played >= pipeline.progress.committed and chance.random() < 0.4:
                pipeline._commit(with_state=True)
            if not is_last and chance.random() < 0.15:
                raise Died
    except Died:
        return False
    else:
        return True
    finally:
        store.close()
        if hasattr(pipeline, "_reader"):
            pipeline._reader.close()


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many commits of a short tape."""
    monkeypatch.setattr("tapeflow.app.pipeline.BATCH", 40)
    monkeypatch.setattr("tapeflow.app.committer.RETRY_S", 0.0)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("seed", range(3))
def test_however_often_it_dies_the_store_is_the_replay_of_the_tape(tmp_path: Path, seed: int) -> None:
    chance, all_records = random.Random(seed), records(seed, 40)
    deaths = end = 0
    while end < len(all_records):
        end = append(tmp_path / "tape", all_records[end : end + chance.randrange(50, 250)], chance.choice([7, 50, 400]))
        for _ in range(chance.randrange(1, 4)):
            deaths += not life(tmp_path, chance, end, is_last=False)
        if chance.random() < 0.2:
            for torn in sorted((tmp_path / "state").iterdir())[-1:]:
                torn.write_bytes(torn.read_bytes()[:-5])
    assert life(tmp_path, chance, end, is_last=True)
    assert life(tmp_path, chance, end, is_last=True)  # nothing new: nothing is written
    assert deaths > 3
    assert_same(tmp_path)


@pytest.mark.usefixtures("small_steps")
def test_records_that_a_power_failure_took_leave_no_second_row(tmp_path: Path) -> None:
    """The store outlives the end of its tape, and other records get the positions that were lost."""
    all_records = records(5, 30)
    lost_from, lost_to = 900, 1200
    assert append(tmp_path / "tape", all_records[:lost_to]) == lost_to
    assert life(tmp_path, random.Random(1), lost_to, is_last=True)
    for file in (tmp_path / "tape").iterdir():
        file.unlink()
    gone = [r for r in all_records[lost_from:lost_to] if r[0] == Kind.FRAME]
    found_again = [
        r for r in gone if json.loads(r[5] if b"cut" not in r[5] else b"{}").get("data", {}).get("e") == "trade"
    ]
    trades = [json.loads(r[5])["data"] for r in found_again]
    at = all_records[lost_to][2]
    answers = [answer(s, [t for t in trades if t["s"] == s], at) for s in SYMBOLS]
    answers += [r for r in all_records[lost_from:lost_to] if r[0] == Kind.ANSWER]
    end = append(tmp_path / "tape", [*all_records[:lost_from], *all_records[lost_to:], *answers, *all_records[-7:]])
    assert life(tmp_path, random.Random(2), end, is_last=True, begun_at=lost_from)
    found, expected = stored(tmp_path), replayed(tmp_path)
    assert found["trades"]
    ids = [identity(row) for row in found["trades"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == {identity(row) for row in expected["trades"]}


def identity(row: str) -> str:
    """Symbol and id of a row as text."""
    symbol, id = (
        row.split("'symbol': '")[1].split("'", maxsplit=1)[0],
        row.split("'id': '")[1].split("'", maxsplit=1)[0],
    )
    return f"{symbol} {id}"


@pytest.mark.parametrize("compiled", [False, None], ids=["portable", "compiled"])
def test_a_replay_gives_the_same_bytes_whatever_the_batches(tmp_path: Path, compiled: bool | None) -> None:
    append(tmp_path / "tape", records(11, 20), 33)
    found = []
    for batch in (1, 7, 100_000):
        done = tf.replay([tmp_path / "tape"], flow=flow(), channels=list(STORED), batch=batch, compiled=compiled)
        done.write(tmp_path / f"out{batch}")
        found.append({path.name: path.read_bytes() for path in (tmp_path / f"out{batch}").iterdir()})
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == len(STORED)
    assert all(found[0][f"{name}.ndjson"] for name in STORED if name != "late")


@pytest.mark.usefixtures("small_steps")
def test_rows_have_the_same_numbers_however_often_it_dies(tmp_path: Path) -> None:
    """What a client has seen is a number: it must mean the same after any death, and none may be left out."""
    chance, all_records = random.Random(8), records(8, 40)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    end = 0
    while end < len(all_records):
        end = append(broken / "tape", all_records[end : end + chance.randrange(50, 250)], chance.choice([7, 50, 400]))
        for _ in range(chance.randrange(1, 4)):
            life(broken, chance, end, is_last=False)
    assert life(broken, chance, end, is_last=True)
    append(whole / "tape", all_records)
    assert life(whole, chance, end, is_last=True)
    found = numbers_of(whole)
    assert found == numbers_of(broken)
    revisions = [key for key in found if key[0] == "candles_revised"]
    assert revisions
    for channel in NUMBERED:
        names = [name for name in key_of(channel) if name not in ("ts_start", "id")]
        series: dict[tuple[Any, ...], list[int]] = {}
        for table, seq, row in found:
            if table.removesuffix("_revised") == channel:
                values = ast.literal_eval(row)
                series.setdefault(tuple(values[name] for name in names), []).append(seq)
        assert series
        for seqs in series.values():
            assert sorted(seqs) == list(range(1, len(seqs) + 1))


def key_of(channel: str) -> tuple[str, ...]:
    return CHANNELS_OF_ALL[channel].key


def numbers_of(folder: Path) -> set[tuple[str, int, str]]:
    """(table, number, row as text) of all rows, also of those that were replaced."""
    with duckdb.connect(str(folder / "results.duckdb"), read_only=True) as db:
        tables = [*NUMBERED, *(f"{channel}_revised" for channel in REVISED)]
        return {
            (table, row["seq"], str({name: str(value) for name, value in row.items()}))
            for table in tables
            for row in db.sql(f"SELECT * FROM {table}").to_arrow_table().to_pylist()
        }


# -- and one that is killed -----------------------------------------------------------------------------------

CHILD = """
import os, sys, threading, time
from pathlib import Path
sys.path[:0] = [{src!r}, {tests!r}]
import importlib.util
spec = importlib.util.spec_from_file_location("test_restart", {this!r})
module = importlib.util.module_from_spec(spec)
sys.modules["test_restart"] = module
spec.loader.exec_module(module)
import tapeflow.app.pipeline as p
p.BATCH = 400
folder, end, live_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
store = module.DuckStore(folder / "results.duckdb", module.STORED)
pipeline = p.Pipeline(module.flow(), "binance", folder / "tape", store, module.States(folder / "state"),
    channels=module.CHANNELS, act=lambda _: None, tell=lambda _: None, state_s=0.05)
pipeline.restore(end)
pipeline.start()
if live_s >= 0:
    time.sleep(live_s)
    os._exit(0)
pipeline.stop()
store.close()
"""


@pytest.mark.slow
def test_a_process_that_ends_at_any_time_loses_and_doubles_nothing(tmp_path: Path) -> None:
    chance, all_records = random.Random(21), records(21, 40)
    here = Path(__file__).resolve()
    script = CHILD.format(src=str(here.parents[2] / "src"), tests=str(here.parents[1]), this=str(here))

    def child(end: int, seconds: float) -> None:
        command = [sys.executable, "-c", script, str(tmp_path), str(end), str(seconds)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONWARNINGS": "error"}, timeout=60)

    for part in parts(all_records, 8):
        end = append(tmp_path / "tape", part)
        child(end, chance.uniform(0.0, 0.4))
    child(end, -1.0)
    assert_same(tmp_path)


def parts(some: list[Record], number: int) -> Iterator[list[Record]]:
    size = -(-len(some) // number)
    for at in range(0, len(some), size):
        yield some[at : at + size]


def test_the_tape_of_these_tests_has_what_it_should(tmp_path: Path) -> None:
    append(tmp_path / "tape", records(0, 30))
    with TapeReader(tmp_path / "tape") as reader:
        kinds = [kind for block in reader.blocks() for kind in block.kinds.tolist()]
    assert set(kinds) == set(Kind)
    done = tf.replay([tmp_path / "tape"], flow=flow())
    assert (done.summary.duplicates > 0, done.summary.late, done.summary.answers > 2) == (True, 0, True)
    reasons = {(row["state"], row["reason"]) for row in done.rows("coverage") if row["stream"] == "trades"}
    assert reasons == {("complete", None), ("gap", "not_at_venue")}
