"""R1 ended by a signal or with its terminal: what it started is gone, and the next start goes on from there."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from cluster.r1 import START_S, STOP_S, Recipe, folder
from paging import until
from servers import Servers
from tapeflow.runners.flink.rest import Rest

pytestmark = pytest.mark.slow

#: A program becomes the leader of the session that a terminal on its standard input belongs to; it ends with it, even
#: where whoever runs these tests does not (nohup).
_LOGIN = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.login_tty(0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A terminal with a recipe in it, until it is closed."""

    def __init__(self, recipe: Recipe) -> None:
        ours, theirs = os.openpty()
        recipe.process = subprocess.Popen(
            [sys.executable, "-c", _LOGIN, *recipe.command], env=recipe.environment, stdin=theirs
        )
        os.close(theirs)
        self.said = b""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(ours,))
        self._thread.start()

    def _listen(self, ours: int) -> None:
        try:
            while not self._closing.is_set():
                if select.select([ours], [], [], 0.1)[0]:
                    self.said += os.read(ours, 1 << 16)
        except OSError:
            pass  # all that was in it has ended
        finally:
            os.close(ours)  # which is its end: the system sends SIGHUP, and nobody can write to it any more

    def close(self) -> None:
        self._closing.set()
        self._thread.join()


@pytest.fixture
def recipe(servers: Servers) -> Iterator[Recipe]:
    with folder() as made:
        # Kafka and Flink are there already: only PostgreSQL, the venue and the roles are its own.
        one = Recipe(made, TAPEFLOW_KAFKA=servers.kafka(), TAPEFLOW_FLINK=servers.flink())
        try:
            yield one
        finally:
            one.end()


def test_a_recipe_that_is_told_to_end_or_loses_its_terminal_leaves_nothing(recipe: Recipe) -> None:
    recipe.start()
    ports = _ports(recipe)
    assert recipe.stop(signal.SIGTERM) == 0, recipe.said.read_text()
    _gone(recipe, ports)
    assert recipe.process is not None
    assert recipe.process.stdout is not None
    recipe.process.stdout.close()
    terminal = Terminal(recipe)
    try:
        until(lambda: recipe.address.encode() in terminal.said or recipe.process.poll() is not None, START_S)  # type: ignore[union-attr]
        ports = _ports(recipe)
    finally:
        terminal.close()
    assert recipe.process.wait(STOP_S) == 0, terminal.said.decode()
    _gone(recipe, ports)


def test_ctrl_c_twice_while_it_starts_leaves_nothing(recipe: Recipe) -> None:
    recipe.launch()
    assert recipe.process is not None
    until(lambda: b"starting" in recipe.said.read_bytes(), START_S)
    time.sleep(1.0)  # PostgreSQL is on its way
    for _ in range(3):
        recipe.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert recipe.process.wait(STOP_S) == 130, recipe.said.read_text()
    assert recipe.processes() == []


def _ports(recipe: Recipe) -> set[int]:
    found = recipe.ports()
    assert len(found) >= 3, f"PostgreSQL, the venue and the page: {found}, {recipe.processes()}"
    return found


def _gone(recipe: Recipe, ports: set[int]) -> None:
    assert recipe.processes() == []
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"something still listens on {port}"
    jobs = Rest(recipe.environment["TAPEFLOW_FLINK"]).jobs()
    assert {job.state for job in jobs if job.name == "tapeflow-r1_r1"} == {"FINISHED"}
