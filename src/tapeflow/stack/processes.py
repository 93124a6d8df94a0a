"""Processes that outlive the command that started them: each in a session of its own, known by pid and start time."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tapeflow.domain.errors import StackError

_TICK_S = 0.05
#: In place of the start time of a process that is no more; one that ended at once was never seen with another.
_ENDED = -1
#: So long the system may take to strike a process that was killed from the table.
_FORGOTTEN_S = 5.0


def start(command: Sequence[str], log: Path) -> tuple[int, int]:
    """Start a command that says what it says into a log; its pid and start time. Raises `StackError`.

    A session of its own keeps Ctrl-C in the terminal away from it. Not by `subprocess`, which would wait for it.
    """
    program = shutil.which(command[0])
    if program is None:
        raise StackError(f"no command {command[0]}; install it")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        streams = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, out.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, out.fileno(), 2),
        ]
        usual = (signal.SIGINT, signal.SIGPIPE)  # Python ignores the second, a shell's background job the first
        try:
            pid = os.posix_spawn(
                program, tuple(command), os.environ, file_actions=streams, setsid=True, setsigdef=usual
            )
        except OSError as error:
            raise StackError(f"{program}: {error.strerror}") from error
    return pid, _began(pid)


def is_running(pid: int, began: int) -> bool:
    """Whether it is still that process: not ended, and not another one that was given its number."""
    return pid > 0 and began == _began(pid) != _ENDED


def _began(pid: int) -> int:
    """When a process started, in ticks since boot; `_ENDED` if there is none or it has ended."""
    try:
        # The command stands in parentheses and may itself have spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return _ENDED
    return _ENDED if fields[0] in "ZX" else int(fields[19])


def resident_mib(pid: int) -> int:
    """How much memory a process has; 0 if that is not known."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) >> 10
    return 0


def age_s(began: int) -> float:
    """How long ago a process started."""
    up = float(Path("/proc/uptime").read_text("ascii").split()[0])
    return max(0.0, up - began / os.sysconf("SC_CLK_TCK"))


def stop(processes: Iterable[tuple[int, int]], how: signal.Signals, patience_s: float) -> set[int]:
    """End processes together: asked by a signal first, killed with their groups after a while; who had to be killed.

    Together, because brokers that lose their quorum one by one would wait for each other.
    """
    living = [one for one in processes if is_running(*one)]
    for pid, _ in living:
        _send(pid, how)
    stubborn = _gone_within(living, patience_s)
    for pid, _ in stubborn:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    _gone_within(stubborn, patience_s)
    return {pid for pid, _ in stubborn}


def end_orphans(pid: int) -> None:
    """Kill what a process that has ended has left running in its group, such as its workers.

    As long as there is such a group, its number is given to no new process; and one that is there is none of ours.
    Nobody finds it by its number afterwards: PostgreSQL refuses to start while the one before stands in the table of
    processes, ended or not.
    """
    if pid > 0 and _began(pid) == _ENDED:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        _forget(pid)


def _forget(pid: int) -> None:
    """Wait until an ended process has left the table: its parent, which may be this one, has asked for its end."""
    until = time.monotonic() + _FORGOTTEN_S
    while _is_ended(pid) and time.monotonic() < until:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(_TICK_S)


def _is_ended(pid: int) -> bool:
    """Whether a process has ended and still stands in the table."""
    return _began(pid) == _ENDED and Path(f"/proc/{pid}").exists()


def _gone_within(processes: list[tuple[int, int]], seconds: float) -> list[tuple[int, int]]:
    """Those that are still there after so long."""
    until = time.monotonic() + seconds
    while (left := [one for one in processes if is_running(*one)]) and time.monotonic() < until:
        time.sleep(_TICK_S)
    return left


def _send(pid: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
