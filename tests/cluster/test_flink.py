"""Real Kafka and Flink give what the embedded engine gives; also when they are killed in the middle."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from cluster.flink_answer import (
    Bus,
    cases,
    check,
    differences,
    first_rows,
    flow,
    recorded,
    run_upgraded,
    spec_of,
    spec_topics,
)
from paging import until
from servers import CACHE, Servers
from tapeflow import indicators
from tapeflow.domain.errors import RunnerError
from tapeflow.flow.builder import Builder
from tapeflow.runners.flink.request import Request
from tapeflow.runners.flink.rest import ENDED, Rest
from tapeflow.runners.flink.submit import Client, compiled, stop, submit
from tapeflow.stack import flink as service
from tapeflow.stack.stack import Stack
from topic import RESULTS, answer, market

OWN = '''"""How much the close is above that of some bars before.

First value: at bar ``bars``.
"""
from typing import ClassVar
import msgspec
from tapeflow.domain.step import Step

class Climb(msgspec.Struct, frozen=True):
    """>>> Climb(1).name
    'climb_1'
    """
    bars: int = 2
    kind: ClassVar[str] = "climb"
    fields: ClassVar[tuple[str, ...]] = ("climb",)

    @property
    def name(self) -> str:
        return f"climb_{self.bars}"

    @property
    def lookback(self) -> int:
        return self.bars

    def zero(self) -> tuple:
        return ()

    def on_event(self, state, close):
        state = (*state, close)
        if len(state) <= self.bars:
            return state, None
        return state[1:], {"climb": close - state[0]}

    def on_time(self, state, instant):
        return state, None
'''

pytestmark = pytest.mark.slow


def flink(servers: Servers) -> tuple[Bus, str, Stack]:
    kafka = servers.kafka()
    return Bus(kafka), servers.flink(), servers.stack


def test_one_answer(servers: Servers) -> None:
    bus, address, _ = flink(servers)
    assert check(bus, address, "late", market(2, 3000, late=0.4, late_s=120.0, doubled=0.1, coarse=0.1), 2) == []


def test_a_symbol_that_is_quiet_for_longer_than_state_is_kept_loses_nothing(servers: Servers) -> None:
    bus, address, _ = flink(servers)
    assert check(bus, address, "quiet", cases(3000)["quiet"], 2) == []


def test_one_answer_where_intervals_do_not_end_together(servers: Servers) -> None:
    bus, address, _ = flink(servers)
    assert check(bus, address, "uneven", cases(3000)["uneven"], 2) == []


def test_one_answer_for_what_the_venue_really_sent(servers: Servers) -> None:
    bus, address, _ = flink(servers)
    assert check(bus, address, "recorded", recorded(3000), 1) == []


def test_a_job_goes_on_over_an_upgrade_a_stop_and_other_parallelism(servers: Servers) -> None:
    bus, address, _ = flink(servers)
    said: list[str] = []
    wanted = answer(flow(), market(11, 3000, late=0.05, late_s=60.0))
    spec = spec_of(bus, "upgraded", flow(), 1)
    bus.make(spec_topics(spec), 4)
    try:
        run_upgraded(bus, address, spec, wanted, said.append)
        assert differences(bus, spec, wanted) == []
        first, *others = said
        assert f"{spec.name}: no earlier state was found: there is none in" in first
        assert [line.split(": ")[1].split(" ")[0] for line in others] == ["stopping", "goes", "goes"]
        other = msgspec.structs.replace(spec, folds=msgspec.structs.replace(spec.folds, horizon_us=300_000_000))
        rest = Rest(address)
        job = submit(other, address, client(), said.append)
        assert "is of other windows, steps, topics, guarantee or form of state; begins at the start" in said[-1]
        with pytest.raises(RunnerError, match="could not be submitted"):
            submit(other, address, client(), said.append, more={"table.optimizer.agg-phase-strategy": "no such"})
        assert rest.find(other.name).state == "RUNNING", "nothing is stopped for what cannot run"
        rest.cancel(job)
    finally:
        bus.remove(spec_topics(spec))


def test_a_job_that_another_has_begun_while_one_compiles_is_taken_over(servers: Servers, tmp_path: Path) -> None:
    bus, address, _ = flink(servers)
    spec, go = spec_of(bus, "twice", flow(), 1), tmp_path / "go"
    late = script(tmp_path / "python", f'while [ ! -e "{go}" ]; do sleep 0.1; done\nexec "$PYTHON" "$@"')
    bus.make(spec_topics(spec), 1)
    said: list[str] = []
    try:
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(submit, spec, address, late, said.append)
            try:
                first = submit(spec, address, client(), said.append)
            finally:
                go.touch()
            job = second.result()
        assert f"{spec.name}: stopping job {first} with a savepoint" in said
        assert living(address, spec.name) == [job]
        Rest(address).cancel(job)
    finally:
        bus.remove(spec_topics(spec))


def test_of_two_jobs_begun_at_the_same_moment_one_goes_on(servers: Servers, tmp_path: Path) -> None:
    bus, address, _ = flink(servers)
    spec = spec_of(bus, "together", flow(), 1)
    # Each has found that no job runs, and is told to begin one, before any does.
    come = f'$(ls "{tmp_path}" | grep -c "^[0-9]")'
    wait = f'read line || exit; touch "{tmp_path}/$$"; while [ {come} -lt 2 ]; do sleep 0.1; done; echo "$line"'
    both = script(tmp_path / "python", f'{{ {wait}; }} | "$PYTHON" "$@"')
    bus.make(spec_topics(spec), 1)
    try:
        with ThreadPoolExecutor(2) as pool:
            begun = [pool.submit(submit, spec, address, both, lambda _: None) for _ in range(2)]
        refused = [str(one.exception()) for one in begun if one.exception()]
        (job,) = [one.result() for one in begun if not one.exception()]
        assert [f"another submit has begun job {job} at the same moment" in said for said in refused] == [True]
        assert living(address, spec.name) == [job]
        Rest(address).cancel(job)
    finally:
        bus.remove(spec_topics(spec))


def test_a_job_that_does_not_come_to_run_can_be_replaced_and_ended(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapeflow.runners.flink.submit._START_S", 3.0)
    bus, address, _ = flink(servers)
    spec, said = spec_of(bus, "stuck", flow(), 1), list[str]()
    large = msgspec.structs.replace(spec, parallelism=100)
    bus.make(spec_topics(spec), 1)
    try:
        with pytest.raises(RunnerError, match=r"do not run after 3 s: it may lack slots"):
            submit(large, address, client(), said.append)
        (stuck,) = living(address, spec.name)
        monkeypatch.setattr("tapeflow.runners.flink.submit._SAVEPOINT_S", 3.0)
        with pytest.raises(RunnerError, match=f"it makes no savepoint: `tapeflow stop --cancel {stuck}` ends it"):
            stop(Rest(address), Rest(address).find(spec.name))
        monkeypatch.undo()
        monkeypatch.setattr("tapeflow.runners.flink.submit._SAVEPOINT_S", 10.0)
        job = submit(spec, address, client(), said.append)
        assert living(address, spec.name) == [job]
        assert any("it is ended without a savepoint" in text for text in said)
        until(lambda: Rest(address).checkpoint(job), 60)
        command = [sys.executable, "-m", "tapeflow", "stop", "--cancel", job, "--address", address]
        place = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        assert living(address, spec.name) == []
        again = submit(spec, address, client(), said.append)
        assert place.startswith("file:/")
        assert said[-1].endswith(place.removeprefix("file:"))
        Rest(address).cancel(again)
    finally:
        for left in living(address, spec.name):  # or it takes the slots of others
            Rest(address).cancel(left)
        bus.remove(spec_topics(spec))


def client() -> Client:
    return Client(service.python(CACHE), service.connector(CACHE))


def script(path: Path, body: str) -> Client:
    """A client whose Python, of the environment as ``PYTHON``, is begun by a script."""
    path.write_text(f'#!/bin/sh\nPYTHON="{client().python}"\n{body}\n')
    path.chmod(0o755)
    return msgspec.structs.replace(client(), python=path)


def living(address: str, name: str) -> list[str]:
    return [job.id for job in Rest(address).jobs() if job.name == name and job.state not in ENDED]


def test_kills_of_task_manager_and_job_manager_lose_and_double_nothing(servers: Servers) -> None:
    bus, address, stack = flink(servers)
    killed = (stack, ("flink-taskmanager", "flink-jobmanager"))
    assert check(bus, address, "killed", market(6, 3000, late=0.05, late_s=60.0), 1, killed=killed) == []


def test_state_on_disk_gives_the_same_answer_over_a_kill(servers: Servers) -> None:
    bus, address, stack = flink(servers)
    killed = (stack, ("flink-taskmanager",))
    raws = market(9, 3000, late=0.05, late_s=60.0)
    assert check(bus, address, "disk", raws, 2, killed=killed, disk=True) == []


def test_candles_of_the_venue_stand_in_where_trades_are_missing(servers: Servers) -> None:
    bus, address, _ = flink(servers)
    assert check(bus, address, "past", market(10, 3000, late=0.05, late_s=60.0), 2) == []


def test_what_a_message_says_is_read_once_for_all_that_is_computed_of_it(servers: Servers, tmp_path: Path) -> None:
    bus, address, _ = flink(servers)
    plan = tmp_path / "plan"
    asked = Request(spec_of(bus, "explained", flow(), 1), address, "", str(client().connector), plan=str(plan))
    with compiled(asked, client()):
        folds = plan.read_text().partition("Optimized Execution Plan")[2].partition("Abstract Syntax Tree")[0]
    assert folds.count("default_database, parsed]]") == 1  # one scan of the stream, whatever reads it
    assert "default_database, trades]]" not in folds
    assert "GlobalGroupAggregate" in folds


def test_rows_come_without_a_checkpoint(servers: Servers) -> None:
    bus, address, _ = flink(servers)
    assert first_rows(bus, address, market(7, 2000, late=0.0)) == set(RESULTS)


@pytest.mark.usefixtures("own_indicators")
def test_an_indicator_of_ones_own(servers: Servers, tmp_path: Path) -> None:
    (tmp_path / "climb.py").write_text(OWN)
    indicators.add_folder(str(tmp_path))
    made = Builder("own", horizon="10m")
    made.trades().candles("1s").indicator("climb_3")
    bus, address, _ = flink(servers)
    raws = market(8, 2000, late=0.03, late_s=30.0)
    assert check(bus, address, "own", raws, 2, own=(made.build(), str(tmp_path))) == []
