"""Trades a second through Kafka and Flink: ``python bench/flink.py [-n TRADES] [--only NAME,...]``.

One job at parallelism 1: candles of 1 s and the mean of 3 s every 0.5 s over 50 symbols, 1 % of the trades late.
``plain`` writes it with Flink's window functions (late trades are dropped, open and close go by arrival), ``corrected``
with keyed aggregations (late trades correct their windows, open and close go by arrival), ``right`` the same with open
and close by time and id, ``units`` with these by the coarser unit where times differ in it, ``folds`` is our flow,
``rocksdb`` is the same with its state on disk, ``steps`` has five indicators beside, ``default`` is the contract's
default flow: nine intervals, their indicators, the mean. The three that are compared run twice, in turn, and their
ratios are printed. Kafka and Flink are those that TAPEFLOW_KAFKA and TAPEFLOW_FLINK name; where TAPEFLOW_DATA is the
folder of their `tapeflow stack`, each job has a task manager that has run no other.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import random

from cluster.flink_answer import Bus
from servers import CACHE
from tapeflow.flow import catalogue
from tapeflow.flow.builder import Builder
from tapeflow.flow.nodes import Flow
from tapeflow.runners.flink.rest import Rest
from tapeflow.runners.flink.spec import Spec, folds_of
from tapeflow.runners.flink.submit import Client, submit
from tapeflow.stack import flink as service
from tapeflow.stack import processes
from tapeflow.stack.service import Place
from tapeflow.stack.stack import Stack
from topic import RESULTS, Raw, topic_of

PARTITIONS = 4

#: Whose processor time stands beside that of ``folds``.
BASELINES = ("plain", "corrected", "right", "units")


def trades(count: int) -> list[Raw]:
    """Trades of 50 symbols with Zipf activity, 1,400 a second, 1 % of them up to 3 s out of order."""
    chance = random.Random(1)
    names = [f"S{number:02}USDT" for number in range(50)]
    weights = [1 / (rank + 1) for rank in range(50)]
    chosen = chance.choices(range(50), weights, k=count)
    ids, prices, found, ts = [0] * 50, [10 ** chance.randint(8, 12) for _ in names], [], 1_700_000_000_000_000
    for at in chosen:
        ts += int(chance.expovariate(1400) * 1e6)
        ids[at] += 1
        prices[at] += chance.randint(-9, 9) * max(1, prices[at] // 100_000)
        arrives = ts + (chance.random() * 3e6 if chance.random() < 0.01 else 0)
        raw = Raw(names[at], ids[at], prices[at], chance.randint(1, 10**10), chance.randint(0, 1), ts, int(arrives))
        found.append((arrives, raw))
    return [raw for _, raw in sorted(found, key=lambda pair: pair[0])]


def flows() -> dict[str, Flow]:
    folds, steps = Builder("folds"), Builder("steps")
    folds.trades().candles("1s")
    folds.trades().moving_average("3s", "500ms")
    candles = steps.trades().candles("1s")
    for name in catalogue.INDICATORS:
        candles.indicator(name)
    steps.trades().moving_average("3s", "500ms")
    made = folds.build()
    return {"folds": made, "rocksdb": made, "steps": steps.build(), "default": catalogue.default()}


class Seen(NamedTuple):
    """A checkpoint as it was seen: when, how much of the topic it holds, what had been worked by then."""

    at: float
    read: int
    cpu_s: float


def measured(bus: Bus, topic: str, group: str, job: str, rest: Rest) -> list[Seen]:
    """All checkpoints until one holds the whole topic."""
    seen = [Seen(time.monotonic(), 0, cpu_s())]
    while True:
        if (state := rest.get(f"/jobs/{job}")["state"]) not in ("INITIALIZING", "CREATED", "RUNNING"):
            sys.exit(f"{group} is {state}: {rest.get(f'/jobs/{job}/exceptions')['exceptionHistory']['entries'][:1]}")
        ends, done = bus.ends(topic, group)
        read = sum(done)
        if read > seen[-1].read:
            seen.append(Seen(time.monotonic(), read, cpu_s()))
        if read == sum(ends):
            return seen
        time.sleep(0.1)


def told(seen: list[Seen]) -> dict[str, float]:
    """From the job's start to its end; and as it goes on, between its first checkpoint and the last before the end."""
    start, *between, end = seen
    found = {"cpu_us_per_row_from_start": round((end.cpu_s - start.cpu_s) / end.read * 1e6, 1)}
    if len(between) > 1 and (rows := between[-1].read - between[0].read) > end.read / 5:
        found["cpu_us_per_row"] = round((between[-1].cpu_s - between[0].cpu_s) / rows * 1e6, 1)
        found["rows_per_s"] = round(rows / (between[-1].at - between[0].at))
    return found


def cpu_s() -> float:
    """What the task managers of this machine, and their Python, have worked."""
    ticks, groups = {}, set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (path / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            ticks[path.name] = (int(fields[2]), int(fields[11]) + int(fields[12]))
            if b"TaskManagerRunner" in (path / "cmdline").read_bytes():
                groups.add(int(fields[2]))
    return sum(worked for group, worked in ticks.values() if group in groups) / os.sysconf("SC_CLK_TCK")


def fresh() -> None:
    """A new task manager, so that no job finds what Java has compiled for another."""
    data = os.environ.get("TAPEFLOW_DATA")
    if data is None:
        return
    old = [one for one in Stack(Place(Path(data), CACHE)).servers() if one.name == "flink-taskmanager"]
    processes.stop([(one.pid, one.began) for one in old], signal.SIGTERM, 20)
    command = (sys.executable, "-m", "tapeflow", "stack", "up", "--data", data, "--services", "flink")
    subprocess.run(command, check=True, capture_output=True)


def run(name: str, flow: Flow | None, bus: Bus, source: str, client: Client) -> float:
    """One job over a topic, those of plain SQL without a flow; its figures as a line of JSON, the processor time of a
    row as its value."""
    fresh()
    address, job_name = os.environ["TAPEFLOW_FLINK"], f"{source.partition('.')[0]}-{name}-{time.time_ns() // 10**9}"
    topics = {channel: f"{job_name}.{channel}" for channel in RESULTS}
    bus.make(list(topics.values()), PARTITIONS)
    if flow is None:
        command = (str(client.python), str(Path(__file__).with_name("flink_plain.py")), name, address, bus.servers)
        given = (source, job_name, client.connector.as_uri())
        done = subprocess.run((*command, *given), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr[-3000:])
        job = done.stdout.split()[-1]
    else:
        spec = Spec(job_name, folds_of(flow, 8, 8), source, topics, bus.servers, transaction_timeout_ms=60_000)
        more = {"state.backend.type": "rocksdb"} if name == "rocksdb" else {}
        job = submit(spec, address, client, print, anew=True, more=more)
    found = told(measured(bus, source, job_name, job, Rest(address)))
    state = Rest(address).get(f"/jobs/{job}/checkpoints")["latest"]["completed"]["state_size"]
    print(json.dumps({"job": name, **found, "state_mib": round(state / 2**20, 1)}), flush=True)
    Rest(address).cancel(job)
    bus.remove(list(topics.values()))
    return found.get("cpu_us_per_row", found["cpu_us_per_row_from_start"])


def ratios(took: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Ours beside each baseline, by the mean of their runs, and the ratio of each pair."""
    ours = took.get("folds", ())
    for name in BASELINES:
        if ours and (theirs := took.get(name)):
            pairs = ", ".join(f"{mine / its:.2f}" for mine, its in zip(ours, theirs, strict=False))
            yield f"folds: {statistics.mean(ours) / statistics.mean(theirs):.2f} times {name} ({pairs})"


def main() -> None:
    reading = argparse.ArgumentParser()
    reading.add_argument("-n", type=int, default=2_500_000, help="trades; a tenth for steps and default")
    reading.add_argument("--only", default="right,units,folds,right,units,folds,plain,corrected,rocksdb,steps,default")
    asked = reading.parse_args()
    bus, made = Bus(os.environ["TAPEFLOW_KAFKA"]), flows()
    client = Client(service.python(CACHE), service.connector(CACHE))
    wanted = asked.only.split(",")
    for names, marks, count in (
        ({"plain", "corrected", "right", "units", "folds", "rocksdb"}, "folds", asked.n),
        ({"steps", "default"}, "default", asked.n // 10),
    ):
        if not names & set(wanted):
            continue
        source = f"bench{time.time_ns() // 10**6 % 10**8}.trades"
        bus.make([source], PARTITIONS)
        rows = topic_of(made[marks], trades(count))
        print(f"{count} trades, {len(rows) - count} time rows", flush=True)
        bus.write(source, rows, poison=())
        del rows
        took: dict[str, list[float]] = {}
        for name in [name for name in wanted if name in names]:
            took.setdefault(name, []).append(run(name, made.get(name), bus, source, client))
        print("\n".join(ratios(took)), flush=True)
        bus.remove([source])


if __name__ == "__main__":
    main()
