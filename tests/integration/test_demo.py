"""`tapeflow demo` as a user starts it: soon there, with a past, and going on after a stop and after a kill."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live.truth import compare, get
from tapeflow.app.market import keep
from tapeflow.exchange.child import Child

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="SIGINT ends the demo"),
]

SYMBOL = "BTCUSDT"
PATIENCE_S = 60.0


class Demo:
    """A demo with its data in ``folder/demo``, started from ``folder``."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.data = folder, folder / "demo"
        self.said: list[str] = []
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tapeflow", "demo", "--no-browser", "--data", "demo", *(options or ("--port", "0"))],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self._listener = threading.Thread(target=self.said.extend, args=(self.process.stderr,), daemon=True)
        self._listener.start()
        assert self.process.stdout is not None
        self.page = self.process.stdout.readline().strip()
        assert self.page, self.wait()
        self.address = self.page.rstrip("/")

    def rows(self, path: str) -> list[dict[str, Any]]:
        return get(self.address + path)["data"]  # type: ignore[no-any-return]

    def until(self, path: str, least: int = 1) -> list[dict[str, Any]]:
        while time.monotonic() - self.started < PATIENCE_S:
            try:
                rows = self.rows(path)
            except urllib.error.HTTPError as error:  # no symbol has been asked for yet
                error.close()
                rows = []
            if len(rows) >= least:
                return rows
            time.sleep(0.05)
        raise AssertionError(f"{path}: fewer than {least} rows\n{''.join(self.said)}")

    def until_whole(self) -> None:
        while time.monotonic() - self.started < PATIENCE_S:
            status = json.loads((self.data / "status.json").read_bytes())
            if status["pid"] == self.process.pid and status["is_live"] and not status["holes"]:
                return
            time.sleep(0.05)
        raise AssertionError("".join(self.said))

    def stop(self, number: int = signal.SIGINT) -> tuple[int, float]:
        """The exit status, and how long it took to end."""
        at = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(), time.monotonic() - at

    def wait(self) -> int:
        try:
            status = self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            self._listener.join()
            assert self.process.stdout is not None
            assert self.process.stderr is not None
            self.process.stdout.close()
            self.process.stderr.close()
        return status


def venue_of(demo: Demo) -> int:
    """The process of its venue."""
    children = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(demo.process.pid)], capture_output=True, text=True, check=True
    )
    (line,) = [line for line in children.stdout.splitlines() if "exchange.child" in line]
    return int(line.split()[0])


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"
    except FileNotFoundError:
        return True


def test_candles_at_once_with_a_past_and_nothing_lost_over_a_stop(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    try:
        assert demo.page.startswith("http://127.0.0.1:")
        assert demo.page.endswith("/")
        demo.until(f"/v1/candles?symbol={SYMBOL}&interval=1s&limit=5")
        print(f"first candles {time.monotonic() - demo.started:.1f} s after the start")
        assert time.monotonic() - demo.started < 20
        past = demo.until(f"/v1/candles?symbol={SYMBOL}&interval=1m&limit=1000", least=900)
        assert past[0]["ts_start"] < time.time() * 1e6 - 14 * 3600e6
        demo.until(f"/v1/indicators?symbol={SYMBOL}&interval=1m&limit=5", least=5)
        assert len(demo.rows("/v1/symbols")) == 6
        time.sleep(3)
    finally:
        status, seconds = demo.stop()
    print(f"stopped in {seconds:.1f} s")
    assert (status, seconds < 10) == (0, True), demo.said
    assert "goes on from here" in demo.said[-1]

    time.sleep(3)
    demo = Demo(tmp_path)
    try:
        newest = demo.until(f"/v1/candles?symbol={SYMBOL}&interval=1s&limit=1")[0]["ts_start"]
        while demo.rows(f"/v1/candles?symbol={SYMBOL}&interval=1s&limit=1")[0]["ts_start"] <= newest + 2_000_000:
            assert time.monotonic() - demo.started < PATIENCE_S
            time.sleep(0.1)
        demo.until_whole()
    finally:
        assert demo.stop()[0] == 0

    venue = Child(keep(demo.data, None, 6).market())
    try:
        found = compare(demo.data, venue.wait().rest)
    finally:
        venue.stop()
    assert found.trades > 100
    assert (found.gaps, found.wrong) == ([], [])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo"), "--port", "0", "--symbols", "2")
    try:
        demo.until(f"/v1/indicators?symbol={SYMBOL}&interval=1m&limit=5", least=5)
        demo.until(f"/v1/quotes/latest?symbol={SYMBOL}")
        yield demo
    finally:
        demo.stop()


def test_every_example_runs_as_it_stands(running: Demo, tmp_path: Path) -> None:
    with urllib.request.urlopen(running.address + "/v1/examples", timeout=30) as answer:
        examples = json.load(answer)
    assert {one["kind"] for one in examples} == {"sh", "python", "sql"}
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONUTF8": "1"}
    for one in examples:
        assert "HOST" not in one["text"]
        command = {
            "sh": ["sh", "-ec", one["text"]],
            "python": [sys.executable, "-W", "error", "-c", one["text"]],
            "sql": [sys.executable, "-m", "tapeflow", "query", one["text"], "--data", str(running.data)],
        }[one["kind"]]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0, (one["title"], done.stderr)
        assert "urn:tapeflow:problem" not in done.stdout, (one["title"], done.stdout)
        assert done.stdout or "-o candles.csv" in one["text"], one["title"]
    assert len((tmp_path / "candles.csv").read_text().splitlines()) > 900


def test_the_page_shows_how_it_is_doing(running: Demo) -> None:
    with urllib.request.urlopen(f"{running.page}welcome", timeout=30) as answer:
        page = answer.read().decode()
    assert "Following <b>2</b> symbols of <b>binance</b>" in page
    assert "live" in page
    assert running.address in page
    assert "<script" not in page


def refused(*options: str, folder: Path) -> str:
    command = [sys.executable, "-m", "tapeflow", "demo", "--no-browser", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    return done.stderr


def test_two_demos_do_not_share_a_folder(running: Demo) -> None:
    said = refused("--data", "demo", folder=running.folder)
    assert f"process {running.process.pid} does so already" in said
    assert running.page in said


def test_a_port_that_is_taken_is_refused_if_it_was_asked_for(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert "choose another --port" in refused("--port", str(other.getsockname()[1]), folder=tmp_path)


def test_another_market_and_other_data_are_refused(tmp_path: Path) -> None:
    keep_in = tmp_path / "demo"
    keep_in.mkdir()
    keep(keep_in, 5, 6)
    assert "has seed 5, not 6" in refused("--data", "demo", "--seed", "6", folder=tmp_path)
    assert "has 20 symbols, not 30" in refused("--data", "demo", "--symbols", "30", folder=tmp_path)
    (tmp_path / "real" / "tape").mkdir(parents=True)
    assert "not of a demo" in refused("--data", "real", folder=tmp_path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")
def test_the_venue_ends_with_a_demo_that_is_killed(tmp_path: Path) -> None:
    demo = Demo(tmp_path, "--port", "0", "--symbols", "1")
    venue = venue_of(demo)
    demo.stop(signal.SIGKILL)
    until = time.monotonic() + 10
    while not is_gone(venue):
        assert time.monotonic() < until
        time.sleep(0.05)
    demo = Demo(tmp_path, "--port", "0", "--symbols", "1")  # nothing is locked, and it goes on
    demo.until(f"/v1/candles?symbol={SYMBOL}&interval=1s&limit=5")
    demo.until_whole()
    assert demo.stop()[0] == 0
