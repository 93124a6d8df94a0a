"""What runs is known by the system, not by the file; what hinders is said at once; what was begun is ended."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from tapeflow.domain.errors import SettingsError, StackError
from tapeflow.stack import machine, processes
from tapeflow.stack.plan import SERVICES, Wanted
from tapeflow.stack.service import HOST, Compose, Place, Progress, Server
from tapeflow.stack.stack import Stack

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="the stack runs on Linux")


class Sleeper:
    """A service that needs nothing and does nothing."""

    name = "sleeper"
    sizes = (1, 2)
    parts: tuple[str, ...] = ()
    ports = ("client",)
    stop = signal.SIGTERM
    program: tuple[str, ...] = ("sleep", "60")
    interrupts = False
    never_ready = False
    problems: tuple[str, ...] = ()

    def memory_mib(self, size: int) -> int:
        return 1

    def lacks(self, place: Place, peers: Sequence[Server]) -> Iterator[str]:
        yield from self.problems

    def missing_bytes(self, place: Place) -> int:
        return 0

    def fetch(self, place: Place, progress: Progress | None) -> None: ...

    def prepare(self, place: Place, server: Server, peers: Sequence[Server]) -> None: ...

    def command(self, place: Place, server: Server, peers: Sequence[Server]) -> tuple[str, ...]:
        return self.program

    def waits_for(self, server: Server, peers: Sequence[Server]) -> str:
        if self.interrupts:
            raise KeyboardInterrupt
        is_ready = processes.is_running(server.pid, server.began) and not self.never_ready
        return "" if is_ready else "it is not ready"

    def variables(self, place: Place, peers: Sequence[Server]) -> Mapping[str, str]:
        return {"SLEEPER": str(len(peers))}

    def compose(self, size: int) -> Compose:
        return Compose({}, ())


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch) -> Sleeper:
    """The only service there is."""
    made = Sleeper()
    for name in list(SERVICES):
        monkeypatch.delitem(SERVICES, name)  # type: ignore[arg-type]
    monkeypatch.setitem(SERVICES, made.name, made)  # type: ignore[arg-type]
    return made


@pytest.fixture
def stack(tmp_path: Path, sleeper: Sleeper) -> Iterator[Stack]:
    made = Stack(Place(tmp_path / "stack", tmp_path / "cache"))
    yield made
    if (tmp_path / "stack" / "stack.json").exists():
        made.down(lambda _: None)


def up(stack: Stack, **wanted: Mapping[str, int]) -> list[str]:
    said: list[str] = []
    stack.up(Wanted(**wanted), said.append)  # type: ignore[arg-type]
    return said


def states(stack: Stack) -> list[str]:
    return [one.state for one in stack.states()]


def test_servers_are_started_once_and_stopped(stack: Stack) -> None:
    up(stack, sizes={"sleeper": 2})
    first = stack.servers()
    assert [one.name for one in first] == ["sleeper-1", "sleeper-2"]
    assert states(stack) == ["ready", "ready"]
    assert [os.getsid(one.pid) for one in first] == [one.pid for one in first]
    assert all("runs already" in said for said in up(stack))
    assert stack.servers() == first
    assert stack.variables() == {"SLEEPER": "2"}

    said: list[str] = []
    stack.down(said.append)
    assert said == ["sleeper-2: stopped", "sleeper-1: stopped"]
    assert states(stack) == ["stopped", "stopped"]
    assert not any(processes.is_running(one.pid, one.began) for one in first)
    with pytest.raises(StackError, match="nothing runs"):
        stack.variables()


def test_a_server_that_was_killed_is_dead_and_comes_back_on_its_port(stack: Stack) -> None:
    up(stack)
    before = stack.servers()[0]
    os.kill(before.pid, signal.SIGKILL)
    until = time.monotonic() + 10
    while states(stack) != ["dead"]:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert f"process {before.pid} is gone" in stack.states()[0].detail
    up(stack)
    assert states(stack) == ["ready"]
    assert stack.servers()[0].ports == before.ports


def test_a_process_that_ended_before_it_was_looked_at_does_not_run(tmp_path: Path) -> None:
    pid, _ = processes.start(("true",), tmp_path / "log")
    os.waitpid(pid, 0)
    assert not processes.is_running(pid, -1)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_pid_of_another_program_is_no_server_and_is_left_alone(stack: Stack, *, is_there: bool) -> None:
    up(stack)
    server = stack.servers()[0]
    stack.down(lambda _: None)
    other = subprocess.Popen(["sleep", "60"])
    try:
        if not is_there:
            other.kill()
            other.wait()
        stale = msgspec.structs.replace(server, pid=other.pid, began=1)
        (stack.place.data / "stack.json").write_bytes(msgspec.json.encode({"servers": [stale]}))
        assert states(stack) == ["dead"]
        stack.down(lambda _: None)
        assert is_there is (other.poll() is None)
        up(stack)
        assert states(stack) == ["ready"]
    finally:
        other.kill()
        other.wait()


def test_all_that_hinders_is_said_before_anything_is_started(
    stack: Stack, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper.problems = ("java: there is none; install it",)
    monkeypatch.setattr(machine, "_free_mib", lambda: 0)
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError) as caught:
            up(stack, ports={"sleeper": port})
    assert str(caught.value).splitlines() == [
        "nothing was started:",
        f"  sleeper: port {port} of {HOST} is taken; end what uses it, or choose another with --sleeper-port",
        "  java: there is none; install it",
        "  memory: 1 MiB are needed, 0 MiB are free; end something, or start fewer servers",
    ]
    assert stack.servers() == ()


def test_a_port_that_was_taken_meanwhile_is_left_for_another(stack: Stack) -> None:
    up(stack)
    before = stack.servers()[0].ports["client"]
    stack.down(lambda _: None)
    with socket.create_server((HOST, before)):
        up(stack)
    assert stack.servers()[0].ports["client"] != before


def test_an_interruption_ends_what_was_started(stack: Stack, sleeper: Sleeper) -> None:
    sleeper.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        up(stack, sizes={"sleeper": 2})
    assert states(stack) == ["stopped", "stopped"]


def test_a_server_that_ends_at_once_is_told_with_its_log(stack: Stack, sleeper: Sleeper) -> None:
    sleeper.program = ("sh", "-c", "echo no settings; exit 3")
    sleeper.never_ready = True
    with pytest.raises(StackError, match="sleeper has ended; the end of its log:\nno settings"):
        up(stack)


def test_a_server_that_is_never_ready_is_given_up(
    stack: Stack, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapeflow.stack.stack._DEADLINE_S", 0.2)
    sleeper.never_ready = True
    with pytest.raises(StackError, match="sleeper is not ready after 0 s: it is not ready"):
        up(stack)
    assert states(stack) == ["stopped"]


def test_a_server_that_does_not_stop_is_killed(
    stack: Stack, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tapeflow.stack.stack._PATIENCE_S", 0.3)
    sleeper.program = ("sh", "-c", f"trap '' TERM; touch {tmp_path}/deaf; while :; do sleep 1; done")
    up(stack)
    while not (tmp_path / "deaf").exists():
        time.sleep(0.01)
    said: list[str] = []
    stack.down(said.append, wipe=True)
    assert said[0] == "sleeper: killed, since it did not stop"
    assert not stack.place.data.exists()


def test_a_wish_that_cannot_be_is_refused(stack: Stack) -> None:
    for wish, match in (
        (Wanted(services=("flink",)), "no service 'flink'; there are sleeper"),
        (Wanted(sizes={"sleeper": 5}), "expected 1 or 2 servers, got 5"),
    ):
        with pytest.raises(SettingsError, match=match):
            stack.up(wish, lambda _: None)
    assert not stack.place.data.exists()
    up(stack)
    with pytest.raises(StackError, match="made with 1 servers, not 2"):
        up(stack, sizes={"sleeper": 2})
    with pytest.raises(StackError, match="it runs on port"):
        up(stack, ports={"sleeper": 1234})
    with pytest.raises(SettingsError, match="no server 'kafka'"):
        stack.tail("kafka", 1)


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        ('openjdk version "17.0.15" 2025-04-15', None),
        ('java version "1.8.0_392"', "this is Java 8; install Java 17"),
        ("what?", "does not say its version"),
        (None, "there is none; install Java 17"),
    ],
)
def test_java_is_looked_at(
    says: str | None, problem: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = shutil.which("sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    if says is not None:
        (tmp_path / "java").write_text(f"#!{shell}\necho '{says}' >&2\n")
        (tmp_path / "java").chmod(0o755)
    found = list(machine.lacks_java())
    assert (not found) if problem is None else problem in found[0]


def test_what_a_killed_server_has_left_is_ended(tmp_path: Path) -> None:
    pid, began = processes.start(("sh", "-c", "sleep 61 & wait"), tmp_path / "log")
    children = Path(f"/proc/{pid}/task/{pid}/children")
    until = time.monotonic() + 10
    while not children.read_text().split() and time.monotonic() < until:
        time.sleep(0.01)
    child = int(children.read_text().split()[0])
    processes.end_orphans(pid)
    assert processes.is_running(pid, began)  # it is there: nothing of it is an orphan
    os.kill(pid, signal.SIGKILL)
    while processes.is_running(pid, began):
        time.sleep(0.01)
    processes.end_orphans(pid)
    while Path(f"/proc/{child}/stat").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not Path(f"/proc/{child}/stat").exists()
    assert not Path(f"/proc/{pid}").exists()  # nobody takes it for running: its number is forgotten


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed before"])
def test_what_servers_have_left_is_ended_with_the_stack(stack: Stack, sleeper: Sleeper, *, is_killed: bool) -> None:
    sleeper.program = ("sh", "-c", "sleep 62 & wait")  # the shell ends alone
    stack.up(Wanted(("sleeper",)), lambda _: None)
    (server,) = stack.servers()
    children, until = Path(f"/proc/{server.pid}/task/{server.pid}/children"), time.monotonic() + 10
    while not children.read_text().split() and time.monotonic() < until:
        time.sleep(0.01)
    child = int(children.read_text().split()[0])
    if is_killed:
        os.kill(server.pid, signal.SIGKILL)
    stack.down(lambda _: None)
    while Path(f"/proc/{child}/stat").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not Path(f"/proc/{child}/stat").exists()


def test_what_a_killed_server_has_left_is_gone_when_it_starts_again(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path)
    (place.scratch("one") / "left").mkdir()
    assert list(place.scratch("one").iterdir()) == []
