"""Roles of a cluster: what is missing or wrong is said before anything is started."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tapeflow.app.roles import check_installed
from tapeflow.domain.errors import SettingsError


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


PARENT = """
import os, sys, time
from tapeflow.app.roles import child
made = child([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"])
print(made.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells children of it")
def test_roles_end_with_the_one_that_started_them_however_it_ends() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    told = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
    (pid,) = map(int, told - {"up"})
    parent.kill()
    parent.wait()
    until = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < until
        time.sleep(0.05)
    parent.stdout.close()
