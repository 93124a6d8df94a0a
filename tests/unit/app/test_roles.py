"""Roles of a cluster: what is missing or wrong is said before anything is started."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tapeflow.app import roles
from tapeflow.app.roles import check_installed, run_all
from tapeflow.domain.errors import OwnerError, SettingsError

BUS, DATABASE = '[bus]\nbootstrap = "127.0.0.1:9"\n', '[postgres]\nurl = "postgresql://127.0.0.1:9/x"\n'

#: Hears SIGINT as a role does, even where whoever runs these tests ignores it (nohup).
WAITS = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("up", flush=True)
time.sleep(60)
"""


def test_a_missing_library_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "psycopg" else name)
    with pytest.raises(SettingsError, match=r"pip install 'tapeflow\[postgres\]'"):
        check_installed()


@pytest.mark.parametrize(
    ("role", "more", "said"),
    [
        ("sinks", "", "no role 'sinks'; there are collector, sink, gateway, all"),
        ("sink", "", r"add a table \[bus\]"),
        ("collector", "", r"add a table \[bus\]"),
        ("gateway", "[bus]\n", "where is Kafka"),
        ("sink", '[bus]\nbootstrap = "127.0.0.1:9"\n', "where is PostgreSQL"),
        ("sink", f'{BUS}client = {{ "securty.protocol" = "ssl" }}\n{DATABASE}', r"\[bus\] client: .*securty.protocol"),
        (
            "gateway",
            f'{BUS}client = {{ "ssl.ca.location" = "/no", "security.protocol" = "ssl" }}\n{DATABASE}',
            r"\[bus\] client: .*ssl.ca.location",
        ),
    ],
)
def test_what_a_role_lacks_is_wrong_usage(tmp_path: Path, role: str, more: str, said: str) -> None:
    config = tmp_path / "run.toml"
    config.write_text(f'symbols = ["BTCUSDT"]\n{more}')
    done = subprocess.run(
        [sys.executable, "-m", "tapeflow", "run", str(config), "--role", role],
        capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert re.search(said, done.stderr)
    assert "Traceback" not in done.stderr


def test_a_role_that_another_has_taken_over_stays_away_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = {"collector": [OwnerError.exit_code], "sink": [1, 1]}
    said: list[str] = []

    def started(_: object, role: str) -> subprocess.Popen[bytes]:
        status = statuses[role].pop(0) if statuses.get(role) else None
        code = WAITS if status is None else f"raise SystemExit({status})"
        return subprocess.Popen([sys.executable, "-c", code])

    def look() -> None:
        if sum("starting it again" in text for text in said) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(roles, "_started", started)
    monkeypatch.setattr(roles, "AGAIN_S", 0.01)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        run_all([], said.append, look)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert sorted(said) == [
        "the collector has ended: what it does is done by another (see above); it is not started again",
        *["the sink has ended with 1; starting it again"] * 2,
    ]


PARENT = """
import os, sys, time
from tapeflow.app.roles import child
made = child([sys.executable, "-c", sys.argv[1]])
print(made.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells children of it")
def test_roles_end_with_the_one_that_started_them_however_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, WAITS], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        told = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
        (pid,) = map(int, told - {"up"})
        parent.kill()
        parent.wait()
        until = time.monotonic() + 20
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_sighup_has_the_collector_read_its_settings_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hears = f"""
import pathlib, signal, sys, time
def again(*_): pathlib.Path({str(tmp_path)!r}, "again-" + sys.argv[1]).touch()
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, again)
pathlib.Path({str(tmp_path)!r}, "up-" + sys.argv[1]).touch()
while True: time.sleep(0.05)
"""

    def started(_: object, role: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", hears, role])

    def look() -> None:
        if not asked and len(list(tmp_path.glob("up-*"))) == 3:
            asked.append(os.kill(os.getpid(), signal.SIGHUP))
        if (tmp_path / "again-collector").exists():
            os.kill(os.getpid(), signal.SIGINT)

    asked: list[None] = []
    said: list[str] = []
    monkeypatch.setattr(roles, "_started", started)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        run_all([], said.append, look, rereads=True)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert [path.name for path in tmp_path.glob("again-*")] == ["again-collector"]
    assert not said, "none has ended"


def test_what_is_to_outlive_its_terminal_does(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        assert signal.SIGHUP not in roles.ends()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert signal.SIGHUP in roles.ends()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_only_a_collector_takes_over(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('symbols = ["BTCUSDT"]\n')
    for role in ([], ["--role", "all"], ["--role", "sink"]):
        command = [sys.executable, "-m", "tapeflow", "run", str(config), *role, "--take-over"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2, done.stderr
        assert "give it once with --role collector" in done.stderr
