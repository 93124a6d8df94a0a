"""A stack: servers of several services in one folder, started, watched and stopped together.

``stack.json`` in the folder says what was started; what of it still runs the system says. Data stay until they are
wiped, so that a stack that was stopped, or whose servers were killed, goes on where it was.
"""

from __future__ import annotations

import collections
import contextlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from tapeflow import files
from tapeflow.domain.errors import SettingsError, StackError
from tapeflow.stack import machine, processes
from tapeflow.stack.plan import SERVICES, Plan, Wanted, by_service, is_running, plan, refuse
from tapeflow.stack.service import HOST, Place, Progress, Server

#: A server that is not ready after so long will not be; a loaded machine takes a fifth of it.
_DEADLINE_S = 120.0
#: A server that has not stopped after so long is killed.
_PATIENCE_S = 20.0
_ROOM = 512 << 20
_TICK_S = 0.1

Say = Callable[[str], None]
#: Shows the progress of something with a name, while it is entered.
Bar = Callable[[str], contextlib.AbstractContextManager[Progress | None]]


class State(msgspec.Struct, frozen=True):
    """How a server is. ``waiting``: it runs and is not ready, ``detail`` says why; ``dead``: it ended by itself."""

    name: str
    service: str
    state: Literal["ready", "waiting", "dead", "stopped"]
    pid: int
    ports: dict[str, int]
    resident_mib: int
    age_s: float
    detail: str
    log: str


class _Kept(msgspec.Struct, frozen=True):
    """What ``stack.json`` holds; ``pid`` 0 is a server that was stopped."""

    servers: tuple[Server, ...] = ()


class Stack:
    """The stack of a folder."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._path = place.data / "stack.json"

    # -- what there is -----------------------------------------------------------------------------------------

    def servers(self) -> tuple[Server, ...]:
        """All servers that were ever started here, in order; raises `StackError`."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Kept).servers
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.DecodeError) as error:
            raise StackError(f"{self._path}: {error}; end its servers by hand and remove the file") from error

    def states(self) -> list[State]:
        """How each server is now."""
        return [self._state(server) for server in self.servers()]

    def _state(self, server: Server) -> State:
        state: Literal["ready", "waiting", "dead", "stopped"]
        resident, age, detail = 0, 0.0, ""
        if is_running(server):
            detail = SERVICES[server.service].waits_for(server, by_service(self.servers())[server.service])
            state = "waiting" if detail else "ready"
            resident, age = processes.resident_mib(server.pid), round(processes.age_s(server.began), 1)
        elif server.pid:
            state, detail = "dead", f"process {server.pid} is gone; tapeflow stack up starts it again"
        else:
            state = "stopped"
        log = str(self.place.log(server.name))
        pid = server.pid if state in ("ready", "waiting") else 0
        return State(server.name, server.service, state, pid, server.ports, resident, age, detail, log)

    def variables(self) -> dict[str, str]:
        """How clients find what runs; raises `StackError` where nothing does."""
        found: dict[str, str] = {}
        for name, peers in by_service(self.servers()).items():
            if any(map(is_running, peers)):
                found |= SERVICES[name].variables(self.place, peers)
        if not found:
            raise StackError(f"nothing runs in {self.place.data}; start it: tapeflow stack up")
        return found

    def tail(self, name: str, lines: int) -> dict[str, list[str]]:
        """The last lines that a server, or each server of a service, has said; raises `SettingsError`."""
        servers = self.servers()
        found = [one.name for one in servers if name in (one.name, one.service)]
        if not found:
            there = ", ".join(one.name for one in servers) or "none yet"
            raise SettingsError(f"no server {name!r} in {self.place.data}; there are {there}")
        return {each: _tail(self.place.log(each), lines) for each in found}

    # -- up ----------------------------------------------------------------------------------------------------

    def up(self, wanted: Wanted, say: Say, bar: Bar | None = None) -> None:
        """Have the services run and ready. All that hinders is said before anything is started; raises `StackError`.

        If it fails or is interrupted, what it has started is stopped again; what ran before goes on.
        """
        machine.refuse_system()
        refuse(wanted)
        with self._alone():
            before = self.servers()
            made = plan(wanted, before)
            missing = [one for one in made.servers if not is_running(one)]
            self._check(made, missing)
            for name in dict.fromkeys(one.service for one in missing):
                self._fetch(name, say, bar)
            for one in made.servers:
                if one not in missing:
                    say(f"{one.name}: runs already on {_at(one)}, process {one.pid}")
            current = {one.name: one for one in (*before, *made.servers)}
            self._start(made, missing, current, say)

    def _check(self, made: Plan, missing: Sequence[Server]) -> None:
        """Raise all that hinders, at once."""
        found = list(made.problems)
        names = dict.fromkeys(one.service for one in missing)
        for name in names:
            found += SERVICES[name].lacks(self.place, made.peers[name])
        if missing:
            found += machine.lacks_memory(
                sum(SERVICES[one.service].memory_mib(len(made.peers[one.service])) for one in missing)
            )
            found += machine.lacks_disk(self.place.data, _ROOM)
        fetched = sum(SERVICES[name].missing_bytes(self.place) for name in names)
        if fetched:
            found += machine.lacks_disk(self.place.cache, 2 * fetched)  # Maven keeps a copy of its own
        if found:
            raise StackError("nothing was started:\n  " + "\n  ".join(found))

    def _fetch(self, name: str, say: Say, bar: Bar | None) -> None:
        service = SERVICES[name]
        missing = service.missing_bytes(self.place)
        if not missing:
            service.fetch(self.place, None)
            return
        say(f"{name}: fetching {missing >> 20} MiB into {self.place.cache}, once")
        began = time.monotonic()
        with bar(name) if bar else contextlib.nullcontext() as progress:
            service.fetch(self.place, progress)
        say(f"{name}: fetched in {time.monotonic() - began:.1f} s, checksums are right")

    def _start(self, made: Plan, missing: Sequence[Server], current: dict[str, Server], say: Say) -> None:
        """Start what is missing, all before any is waited for: brokers are ready together or not at all."""
        started: list[Server] = []
        began = time.monotonic()
        try:
            for server in missing:
                say(f"{server.name}: starting")
                one = self._started(server, made.peers[server.service])
                started.append(one)
                current[one.name] = one
                self._keep(current.values())  # at once: a kill of this process must not lose it
            for name in [one.name for one in made.servers]:
                self._wait(current[name], made.peers[current[name].service])
                if current[name] in started:
                    say(f"{name}: ready on {_at(current[name])} after {time.monotonic() - began:.1f} s")
        except BaseException:  # Ctrl-C too
            self._stop(started, current)
            raise

    def _started(self, server: Server, peers: Sequence[Server]) -> Server:
        service = SERVICES[server.service]
        service.prepare(self.place, server, peers)
        pid, began = processes.start(service.command(self.place, server, peers), self.place.log(server.name))
        return msgspec.structs.replace(server, pid=pid, began=began)

    def _wait(self, server: Server, peers: Sequence[Server]) -> None:
        until = time.monotonic() + _DEADLINE_S
        while why := SERVICES[server.service].waits_for(server, peers):
            if not is_running(server):
                raise StackError(f"{server.name} has ended; the end of its log:\n{self._end_of(server)}")
            if time.monotonic() > until:
                raise StackError(f"{server.name} is not ready after {_DEADLINE_S:.0f} s: {why}\n{self._end_of(server)}")
            time.sleep(_TICK_S)

    def _end_of(self, server: Server) -> str:
        return "\n".join(_tail(self.place.log(server.name), 15))

    # -- down --------------------------------------------------------------------------------------------------

    def down(self, say: Say, *, wipe: bool = False) -> None:
        """Stop all, the last service first; with ``wipe`` nothing of it is left."""
        if not self._path.exists():
            raise StackError(f"{self.place.data} has no stack; give the folder of one with --data")
        with self._alone():
            servers = self.servers()
            living = [one for one in servers if is_running(one)]
            killed = self._stop(living, {one.name: one for one in servers})
            for one in servers:  # of those that had been killed before, too: a worker may wait for its server for ever
                processes.end_orphans(one.pid)
            for one in reversed(living):
                say(f"{one.name}: " + ("killed, since it did not stop" if one.pid in killed else "stopped"))
            if wipe:
                self._wipe(servers)
                say(f"{self.place.data}: wiped")

    def _stop(self, servers: Sequence[Server], current: dict[str, Server]) -> set[int]:
        """Stop servers, those of one service together; who had to be killed. All that do not run are stopped then."""
        killed: set[int] = set()
        for name, peers in reversed(by_service(servers).items()):
            killed |= processes.stop([(one.pid, one.began) for one in peers], SERVICES[name].stop, _PATIENCE_S)
        names = {one.name for one in servers}
        self._keep(
            one if one.name not in names else msgspec.structs.replace(one, pid=0, began=0) for one in current.values()
        )
        return killed

    def _wipe(self, servers: Sequence[Server]) -> None:
        for one in servers:
            shutil.rmtree(self.place.folder(one.name), ignore_errors=True)
            self.place.log(one.name).unlink(missing_ok=True)
        for path in (self._path, self.place.data / ".lock"):
            path.unlink(missing_ok=True)
        for folder in (self.place.data / "logs", self.place.data):
            with contextlib.suppress(OSError):  # something else is in it
                folder.rmdir()

    # -- the folder --------------------------------------------------------------------------------------------

    def _keep(self, servers: Iterable[Server]) -> None:
        order = list(SERVICES)
        made = _Kept(tuple(sorted(servers, key=lambda one: (order.index(one.service), one.number))))
        files.replace(self._path, msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n", sync=False)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other command changes the stack meanwhile; raises `StackError`."""
        import fcntl  # noqa: PLC0415 - only POSIX has it

        self.place.data.mkdir(parents=True, exist_ok=True)
        with (self.place.data / ".lock").open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(f"another command works on {self.place.data}; wait until it has ended") from None
            yield


def _at(server: Server) -> str:
    return f"{HOST}:{server.ports['client']}"


def _tail(path: Path, lines: int) -> list[str]:
    try:
        with path.open("r", encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in collections.deque(file, lines)]
    except FileNotFoundError:
        return []
