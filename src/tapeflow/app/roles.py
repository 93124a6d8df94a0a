"""The roles of a cluster: each a process of its own, or all of them as children of one."""

from __future__ import annotations

import ctypes
import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tapeflow.domain.errors import OwnerError, SettingsError, TapeflowError
from tapeflow.feed.recorder import Say

ROLES = ("collector", "sink", "gateway")
#: A child that has ended by a fault is started again after so long; they wait for one another.
AGAIN_S = 1.0
STOP_S = 20.0


#: What a cluster needs beside a plain installation: modules, and the extras that bring them.
EXTRAS = {"confluent_kafka": "kafka", "psycopg": "postgres"}


def check_installed() -> None:
    """Raise `SettingsError` where a library of a cluster is missing."""
    missing = [extra for module, extra in EXTRAS.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise SettingsError(f"a cluster needs more libraries: pip install 'tapeflow[{','.join(missing)}]'")


class Part(Protocol):
    """What runs in the main thread until it is stopped."""

    def run(self) -> None: ...

    def stop(self) -> None: ...


def ends() -> tuple[signal.Signals, ...]:
    """The signals that end a program: that of a closed terminal too, unless it was started to outlive it (nohup)."""
    outlives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM) if outlives else (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_told(part: Part) -> None:
    """Run a part until it is told to end."""
    for number in ends():
        signal.signal(number, lambda *_: part.stop())
    part.run()


def run_all(
    command: Sequence[str], say: Say, look: Callable[[], None] = lambda: None, *, rereads: bool = False
) -> None:
    """All roles, each a child with ``--role``; one that ends by a fault is started again, wrong usage ends all.

    One whose work belongs to another process stays away, and the others go on. ``look`` is called now and then. With
    ``rereads`` SIGHUP has the collector read its settings again, as it does where that runs alone; else it ends all.

    Raises `SettingsError`, and `TapeflowError` where a child had to be killed.
    """
    children = {role: _started(command, role) for role in ROLES}
    stopping: list[int] = []
    for number in ends():
        signal.signal(number, lambda number, _: stopping.append(number))
    if rereads:
        signal.signal(signal.SIGHUP, lambda number, _: _pass_on(children, number))
    wrong = ""
    while children and not stopping and not wrong:
        time.sleep(0.1)
        look()
        for role, child in list(children.items()):
            status = child.poll()
            if status == SettingsError.exit_code:
                wrong = role
            elif status == OwnerError.exit_code:
                say(f"the {role} has ended: what it does is done by another (see above); it is not started again")
                del children[role]
            elif status is not None:
                say(f"the {role} has ended with {status}; starting it again")
                time.sleep(AGAIN_S)
                children[role] = _started(command, role)
    _stop(children)
    if wrong:
        raise SettingsError(f"the {wrong} cannot be run as it is configured; see above")


def _pass_on(children: Mapping[str, subprocess.Popen[bytes]], number: int) -> None:
    """To the collector, the one that can make use of it."""
    if (collector := children.get("collector")) is not None:
        collector.send_signal(number)


def _started(command: Sequence[str], role: str) -> subprocess.Popen[bytes]:
    return child([sys.executable, "-m", "tapeflow", *command, "--role", role])


def child(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """A process that Ctrl-C in a terminal does not reach, told to stop when we are gone, however that came about."""
    tied = _tie if sys.platform == "linux" else None
    return subprocess.Popen(command, start_new_session=True, preexec_fn=tied)  # noqa: PLW1509 - no thread runs here


def _tie() -> None:
    """Have the system send SIGINT when the parent ends (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


def _stop(children: dict[str, subprocess.Popen[bytes]]) -> None:
    for child in children.values():
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
    killed = []
    for role, child in children.items():
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            killed.append(role)
    if killed:
        raise TapeflowError(f"{', '.join(killed)} did not stop and had to be killed; what was kept is whole")
