"""kill -9 at random of every part of a cluster: ``python tests/cluster/kills.py [--kills N] [--seed S] [--brokers 3]``.

A stack of its own, a simulated venue, collector, sink and gateway as processes, a flow on Flink, exactly once. After
the last kill all goes on until it is whole; then topics, tables and gateway are compared with the venue's truth by
brute force: 0 lost, 0 doubled. Recovery is timed from the kill until the database has a window that ends after it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from math import fsum
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cluster.cluster import Role, rows, settings, wrong_trades
from cluster.flink_answer import Bus as Topics
from cluster.flink_answer import last, told_of
from live.running import Venue
from live.truth import _candles, _truth
from servers import CACHE
from tapeflow.stack.plan import is_running
from tapeflow.stack.service import Place
from tapeflow.stack.stack import Stack

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
PREFIX = "kills."
ROLES = ("collector", "sink", "gateway")
PARTS = (*ROLES, "kafka", "postgres", "flink-taskmanager", "flink-jobmanager")
INTERVALS = {"1s": 1_000_000, "5s": 5_000_000}
WINDOW_US, SLIDE_US, BARS = 3_000_000, 500_000, 20
#: A loaded machine takes its time; what is awaited is known.
PATIENCE_S = 300.0
#: A part that is to come back after so many tries has not.
TRIES = 3
FLOW = """
[store]
channels = ["trades", "candles", "moving_average", "indicators", "coverage", "late", "quarantine"]
[feed]
history = 0
[flow]
name = "kills"
[flow.candles]
intervals = ["1s", "5s"]
indicators = ["sma_20"]
[[flow.moving_average]]
window = "3s"
slide = "500ms"
[flink]
checkpoint = "1s"
latency = "100ms"
"""
_WINDOW = "venue, symbol, window_ms, slide_ms, ts_start"
#: By table: what tells rows apart, and of which columns a series is known.
KEYS = {
    "trades": ("venue, symbol, id", "symbol"),
    "candles": ("venue, symbol, interval, ts_start", "symbol, interval"),
    "moving_average": (_WINDOW, "symbol, window_ms, slide_ms"),
    "indicators": ("venue, symbol, interval, name, ts_start", "symbol, interval, name"),
}

Say = Callable[[str], None]
Windows = dict[tuple[Any, ...], Any]


class Outcome(NamedTuple):
    """What came of it."""

    compared: dict[str, int]
    wrong: list[str]
    took: list[tuple[str, float]]
    ended: list[str]


class Whole:
    """A whole cluster in a folder, its parts by name."""

    def __init__(self, folder: Path, brokers: int, rate: int, say: Say) -> None:
        self.folder, self.brokers, self.say = folder, brokers, say
        self.stack = Stack(Place(folder / "stack", CACHE))
        self.ended: list[str] = []
        self.roles: dict[str, Role] = {}
        self.venue: Venue | None = None
        self.rate = rate

    def start(self) -> None:
        self.up("--services", "kafka,postgres,flink", "--brokers", str(self.brokers))
        self.found = self.stack.variables()
        self.venue = Venue(self.folder, "--rate", str(self.rate), "--symbols", "5", "--days", "1")
        bus = settings(self.found["TAPEFLOW_KAFKA"], PREFIX, self.found["TAPEFLOW_POSTGRES"], FLOW)
        self.roles = {name: Role(self.folder / name, self.venue, SYMBOLS, name, bus) for name in ROLES}
        self.roles["collector"].start()
        self.roles["collector"].until_live()
        self.submit()
        self.roles["sink"].start()
        self.until("the tables", lambda: self.rows("SELECT 1 FROM moving_average LIMIT 1"))
        self.roles["gateway"].start()
        self.until("the gateway", self.serves)

    def up(self, *options: str) -> None:
        """``tapeflow stack up`` as a command: a process that stays keeps killed servers as zombies."""
        command = [sys.executable, "-m", "tapeflow", "stack", "up", "--data", str(self.stack.place.data), *options]
        for at in range(TRIES):
            done = subprocess.run([*command, "--cache", str(CACHE)], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            self.say(f"  stack up, try {at + 1}: {done.stderr.strip()[-600:]}")
            time.sleep(2)
        raise AssertionError("the servers do not come back")

    def submit(self) -> None:
        command = [
            sys.executable,
            "-m",
            "tapeflow",
            "submit",
            str(self.roles["collector"].config),
            "--cache",
            str(CACHE),
        ]
        for at in range(TRIES):
            done = subprocess.run(
                command, env=os.environ | self.stack.variables(), capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return
            self.say(f"  submit, try {at + 1}: {done.stderr.strip()[-600:]}")
            time.sleep(2)
        raise AssertionError("the job cannot be submitted")

    # -- kills -------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """SIGKILL, and back again."""
        if name in self.roles:
            self.roles[name].kill()
            self.roles[name].start()
            return
        server = next(one for one in self.stack.servers() if one.name == name)
        os.kill(server.pid, signal.SIGKILL)
        while is_running(server):
            time.sleep(0.02)
        self.up()
        if self.stack.variables() != self.found:
            raise AssertionError(f"servers are elsewhere: {self.stack.variables()}, were {self.found}")
        if name == "flink-jobmanager":
            self.submit()

    def servers(self, name: str) -> list[str]:
        """The servers of a part."""
        return [one.name for one in self.stack.servers() if name in (one.name, one.service)]

    def revive(self) -> None:
        """Start again whatever role has ended by itself; that is told."""
        for name, role in self.roles.items():
            if role.process is not None and (status := role.process.poll()) is not None:
                self.ended.append(f"{name} has ended by itself with {status}: {role.text(6)}")
                self.say(f"  {self.ended[-1]}")
                role.start()

    # -- how it is ---------------------------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        url = self.found["TAPEFLOW_POSTGRES"]
        try:
            with psycopg.connect(url, options="-c search_path=tapeflow", connect_timeout=10) as db:
                return db.execute(query, values or None).fetchall()  # type: ignore[call-overload,no-any-return]
        except psycopg.Error:
            return []  # not made yet, or away

    def newest_us(self) -> int:
        """Until when the database has windows."""
        found = self.rows(f"SELECT {_us('max(ts_end)')} FROM moving_average")
        return found[0][0] or 0 if found else 0

    def serves(self) -> bool:
        """Whether the gateway's own process, as it is now, answers."""
        gateway = self.roles["gateway"]
        try:
            told = json.loads((gateway.data / "gateway.json").read_bytes())
            if gateway.process is None or told["pid"] != gateway.process.pid or not told.get("api"):
                return False
            self.address = told["api"]
            self.ask("/v1/symbols")
        except (OSError, ValueError):
            return False
        return True

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=10) as answer:
            return json.load(answer)

    def until(self, what: str, is_so: Callable[[], Any]) -> float:
        """Wait; how long it took. Roles that end meanwhile are started again."""
        began = time.monotonic()
        while not is_so():
            if time.monotonic() - began > PATIENCE_S:
                said = "\n".join(f"-- {name}\n{role.text(15)}" for name, role in self.roles.items())
                raise AssertionError(f"{what}: not so after {PATIENCE_S} s\n{said}")
            self.revive()
            time.sleep(0.1)
        return time.monotonic() - began

    def recovered(self, name: str, killed_us: int) -> bool:
        """Whether what came after a kill has come through all parts."""
        return self.newest_us() > killed_us and (name != "gateway" or self.serves())

    def drain(self) -> None:
        """No hole is open, and all that the collector has made is published; then it is stopped."""
        collector = self.roles["collector"]
        self.until("the end", lambda: self.recovered("gateway", time.time_ns() // 1000 - 10_000_000))
        collector.until_whole(PATIENCE_S)
        assert collector.stop() == 0, collector.text()
        self.roles = {name: role for name, role in self.roles.items() if name != "collector"}

    def stop(self) -> None:
        for role in self.roles.values():
            if role.process is not None:
                role.kill()
        if self.venue is not None:
            self.venue.stop()
        if self.stack.servers():
            self.stack.down(lambda _: None, wipe=True)


def _us(time: str) -> str:
    return f"(extract(epoch FROM {time}) * 1000000)::bigint"


# -- truth -----------------------------------------------------------------------------------------------------


class Truth(NamedTuple):
    """What must be: windows by channel and key, of those that are closed, and the trades that were published."""

    windows: dict[str, Windows]
    trades: dict[str, list[tuple[Any, ...]]]


def truth_of(venue: Venue, published: Sequence[dict[str, Any]]) -> Truth:
    """By brute force over the venue's truth between the first and the last trade that was published."""
    windows: dict[str, Windows] = {"candles": {}, "moving_average": {}, "indicators": {}}
    trades: dict[str, list[tuple[Any, ...]]] = {}
    for symbol in SYMBOLS:
        own = [row for row in published if row["symbol"] == symbol]
        found = [row for row in own if "id" in row]
        closed_us = max(row["ts_watermark"] for row in own if "id" not in row and "candle" not in row)
        times = [row["ts_event"] for row in found]
        first = min(int(row["first_id"] or row["id"]) for row in found)
        end = max(int(row["last_id"] or row["id"]) for row in found)
        trades[symbol] = _truth(venue.rest, symbol, min(times), max(times), first, end)
        for interval, size in INTERVALS.items():
            candles = _candles(trades[symbol], size, min(times), closed_us)
            windows["candles"] |= {(symbol, interval, ts): row for ts, row in candles.items()}
            starts = sorted(candles)
            for at, ts in enumerate(starts):
                if at >= BARS - 1:
                    closes = [float(candles[each][3]) for each in starts[at - BARS + 1 : at + 1]]
                    windows["indicators"][symbol, interval, ts] = fsum(closes) / BARS
        means = _means(trades[symbol], min(times), closed_us)
        windows["moving_average"] |= {(symbol, ts): row for ts, row in means.items()}
    return Truth(windows, trades)


def _means(trades: Sequence[tuple[Any, ...]], start: int, end: int) -> dict[int, tuple[float, int]]:
    held: dict[int, list[Decimal]] = defaultdict(list)
    for at, _, price, *_ in trades:
        for ts in range(at // SLIDE_US * SLIDE_US, at - WINDOW_US, -SLIDE_US):
            if start < ts and ts + WINDOW_US <= end:
                held[ts].append(price)
    # The contract: the float nearest to the exact sum, by the count.
    return {ts: (float(sum(prices)) / len(prices), len(prices)) for ts, prices in held.items()}


_CANDLE = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "count")


def of_tables(whole: Whole) -> dict[str, Windows]:
    """The windows in the database."""
    at = _us("ts_start")
    candles = whole.rows(f"SELECT symbol, interval, {at}, {', '.join(_CANDLE)} FROM candles")
    means = whole.rows(f"SELECT symbol, {at}, mean, count FROM moving_average")
    steps = whole.rows(f"SELECT symbol, interval, {at}, (values->>'sma')::float8 FROM indicators")
    return {
        "candles": {row[:3]: row[3:] for row in candles},
        "moving_average": {row[:2]: row[2:] for row in means},
        "indicators": {row[:3]: row[3] for row in steps},
    }


def of_topics(topics: Topics, published: Sequence[dict[str, Any]]) -> tuple[dict[str, Windows], list[str]]:
    """The last row of each closed window in the topics, and what must never stand there."""
    made: dict[str, Windows] = {}
    wrong: list[str] = []
    for channel in ("candles", "moving_average", "indicators"):
        known, found = last(topics.read(f"{PREFIX}{channel}"), channel, told_of(published))
        wrong += found
        made[channel] = dict(_told(channel, known.values()))
    return made, wrong


def _told(channel: str, known: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for row in known:
        if not row["closed"]:
            continue
        if channel == "candles":
            values = (*(Decimal(row[name]) for name in _CANDLE[:-1]), row["count"])
            yield (row["symbol"], row["interval"], row["ts_start"]), values
        elif channel == "moving_average":
            yield (row["symbol"], row["ts_start"]), (row["mean"], row["count"])
        else:
            yield (row["symbol"], row["interval"], row["ts_start"]), row["values"]["sma"]


def differences(where: str, found: dict[str, Windows], truth: Truth) -> list[str]:
    """Where windows are not what they must be. Those cut by the first trade or open at the end are not compared."""
    wrong = []
    for channel, expected in truth.windows.items():
        for key, want in sorted(expected.items()):
            if found[channel].get(key) != want:
                wrong.append(f"{where} {channel} {key}: {found[channel].get(key)}, true {want}")
    return wrong


def wrong_tables(whole: Whole, truth: Truth) -> list[str]:
    """Trades that are not there once, keys that are twice, numbers of a series with a hole or a repeat."""
    wrong = []
    for symbol, trades in truth.trades.items():
        spans = [
            (int(first or id), int(end or id))
            for id, first, end in whole.rows("SELECT id, first_id, last_id FROM trades WHERE symbol = %s", symbol)
        ]
        spans.sort()
        for before, after in pairwise(spans):
            if after[0] != before[1] + 1:
                wrong.append(f"table trades {symbol}: {after[0]} follows {before[1]}")
        if not spans or (spans[0][0], spans[-1][1]) != (trades[0][1], trades[-1][1]):
            wrong.append(f"table trades {symbol}: {spans[:1]} to {spans[-1:]}, true {trades[0][1]} to {trades[-1][1]}")
    for table, (key, series) in KEYS.items():
        twice = whole.rows(f"SELECT {key}, count(*) FROM {table} GROUP BY {key} HAVING count(*) > 1")
        wrong += [f"table {table}: twice: {row}" for row in twice[:10]]
        revised = "" if table == "trades" else f" UNION ALL SELECT {series}, seq FROM {table}_revised"
        odd = whole.rows(
            f"SELECT {series}, min(seq), max(seq), count(*), count(DISTINCT seq) FROM "
            f"(SELECT {series}, seq FROM {table}{revised}) a GROUP BY {series} "
            "HAVING min(seq) <> 1 OR max(seq) <> count(*) OR count(DISTINCT seq) <> count(*)"
        )
        wrong += [f"table {table}: seq min, max, rows, distinct: {row}" for row in odd]
    return wrong


def wrong_gateway(whole: Whole, truth: Truth) -> list[str]:
    """Candles of a second as the gateway gives them."""
    wrong = []
    for symbol in SYMBOLS:
        expected = {key[2]: row for key, row in truth.windows["candles"].items() if key[:2] == (symbol, "1s")}
        starts = sorted(expected)[-5000:]
        path = f"/v1/candles?symbol={symbol}&interval=1s&start={starts[0]}&end={starts[-1] + 1}&limit=10000"
        found = {row["ts_start"]: row for row in whole.ask(path)["data"]}
        for ts in starts:
            told = found.get(ts) and (*(Decimal(found[ts][name]) for name in _CANDLE[:-1]), found[ts]["count"])
            if told != expected[ts]:
                wrong.append(f"gateway {symbol} {ts}: {told}, true {expected[ts]}")
    return wrong


def compare(whole: Whole, until_s: float) -> tuple[dict[str, int], list[str]]:
    """All against the truth, again and again until it is equal or patience ends: the last rows take their way."""
    assert whole.venue is not None
    bootstrap = whole.found["TAPEFLOW_KAFKA"]
    published = rows(bootstrap, f"{PREFIX}trades")
    count, lasting = wrong_trades(whole.venue, published)
    lasting = [f"topic trades: {text}" for text in lasting]
    truth = truth_of(whole.venue, published)
    end = time.monotonic() + until_s
    while True:
        topics, strange = of_topics(Topics(bootstrap), published)
        wrong = strange + differences("topic", topics, truth)
        wrong += differences("table", of_tables(whole), truth) + wrong_tables(whole, truth)
        wrong += wrong_gateway(whole, truth)
        if not wrong or time.monotonic() > end:
            compared = {"trades": count} | {channel: len(found) for channel, found in truth.windows.items()}
            return compared, lasting + wrong
        whole.revive()
        time.sleep(2)


# -- the run ---------------------------------------------------------------------------------------------------


def kills(
    folder: Path, number: int, seed: int, *, brokers: int = 1, parts: Sequence[str] = PARTS, say: Say = print,
    rate: int = 200, until_s: float = 120.0, each: bool = False, stopping: Callable[[], bool] = lambda: False,
) -> Outcome:  # fmt: skip
    """Kill so many parts, compare. ``each``: one after the other, not at random; ``stopping`` ends the kills early."""
    chance = random.Random(seed)
    whole = Whole(folder, brokers, rate, say)
    took: list[tuple[str, float]] = []
    try:
        began = time.monotonic()
        whole.start()
        say(f"all is there after {time.monotonic() - began:.0f} s")
        for at in range(number):
            if stopping():
                break
            name = parts[at % len(parts)] if each else chance.choice(parts)
            victim = chance.choice(whole.servers(name)) if name not in ROLES else name
            time.sleep(chance.uniform(0.0, 2.0))
            whole.revive()
            killed_us, since = time.time_ns() // 1000, time.monotonic()
            whole.kill(victim)
            text = f"{at + 1}: {victim}, back after {time.monotonic() - since:.1f} s"
            if at + 1 == number or chance.random() < 0.6:
                whole.until(victim, lambda name=name, at=killed_us: whole.recovered(name, at))  # type: ignore[misc]
                took.append((victim, time.monotonic() - since))
                text += f", whole after {took[-1][1]:.1f} s"
            say(text)
        whole.drain()
        compared, wrong = compare(whole, until_s)
        return Outcome(compared, wrong, took, whole.ended)
    finally:
        whole.stop()


def told(outcome: Outcome) -> Iterator[str]:
    """The figures in words."""
    by_part: dict[str, list[float]] = defaultdict(list)
    for name, seconds in outcome.took:
        by_part[name].append(seconds)
        by_part["all"].append(seconds)
    for name, times in sorted(by_part.items()):
        worst = f"{max(times):.1f} s (worst of {len(times)})"
        yield f"{name}: whole after {statistics.median(times):.1f} s (median), {worst}"
    if outcome.ended:
        yield f"ended by themselves: {dict(Counter(text.partition(':')[0] for text in outcome.ended))}"
    yield f"compared with the venue's truth: {outcome.compared}; {len(outcome.wrong)} wrong"
    if outcome.wrong:
        yield f"wrong: {dict(Counter(' '.join(text.split()[:2]) for text in outcome.wrong))}"
    yield from outcome.wrong[:30]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--brokers", type=int, default=1, choices=(1, 3))
    options.add_argument("--rate", type=int, default=200)
    options.add_argument("--minutes", type=float, default=1e9, help="no kill after so many")
    options.add_argument("--parts", default=",".join(PARTS))
    options.add_argument("--until", type=float, default=120.0, help="seconds that the end may take")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended
    end = time.monotonic() + chosen.minutes * 60
    folder = Path(tempfile.mkdtemp(prefix="tapeflow-kills-"))
    folder.chmod(0o755)  # under root the user postgres must enter it
    done: list[str] = []

    def say(text: str) -> None:
        done.append(text)
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    try:
        outcome = kills(
            folder, chosen.kills, chosen.seed, brokers=chosen.brokers, parts=chosen.parts.split(","), say=say,
            rate=chosen.rate, until_s=chosen.until, stopping=lambda: time.monotonic() > end,
        )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    number = sum(text.partition(":")[0].isdigit() for text in done)
    print(f"{number} kills, seed {chosen.seed}, {chosen.brokers} broker(s)")
    for text in told(outcome):
        print(text)
    sys.exit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
