"""R1 as a user starts it, and how long a frame takes to its page in Chromium.

    PYTHONPATH=tests python -m cluster.r1 [--guarantee exactly_once | at_least_once | both] [--seconds 30] [--settle 90]

The latency of a row of the moving average is the time from the receipt of the newest frame in it to its arrival at the
page's WebSocket, and to the end of the frame that shows it. It is measured twice: as soon as the page is live, while
the Java machines of broker and Flink still compile what they run, and after `--settle` seconds. `recipe run` knows
exactly once only; for the other guarantee another job takes the place of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from paging import CHROMIUM, Shown
from servers import CACHE
from tapeflow.stack.plan import is_running
from tapeflow.stack.service import Place
from tapeflow.stack.stack import Stack

KLINES, MEANS = "crypto_kline_data", "crypto_data_aggregated"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
GUARANTEES = ("exactly_once", "at_least_once")
WINDOW_US, SLIDE_US = 3_000_000, 500_000
#: From nothing to a page, on a loaded machine.
START_S, STOP_S = 400.0, 180.0

Row = dict[str, Any]
#: Symbol, start of a window, how many values are in it.
Key = tuple[str, int, int]


#: Which servers are used as they are, where the environment names them.
NAMED = ("TAPEFLOW_KAFKA", "TAPEFLOW_FLINK", "TAPEFLOW_POSTGRES", "TAPEFLOW_POSTGRES_READER")


class Recipe:
    """``tapeflow recipe run r1 --no-browser`` in a folder, as a process; ``servers`` are used as they are."""

    def __init__(self, folder: Path, **servers: str) -> None:
        self.folder = folder / "r1"
        self.said = folder / "said"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {name: value for name, value in os.environ.items() if name not in NAMED} | servers
        self.environment["RECIPE_OF"] = str(self.folder)  # whoever descends from it is known by that

    @property
    def command(self) -> list[str]:
        command = [sys.executable, "-m", "tapeflow", "recipe", "run", "r1", "--no-browser", "--port", str(self._port)]
        return [*command, "--data", str(self.folder), "--cache", str(CACHE)]

    def launch(self) -> None:
        """Start it."""
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.PIPE, stderr=said, env=self.environment, start_new_session=True
            )

    def start(self) -> None:
        """Start it, wait for the address of the page."""
        self.launch()
        assert self.process is not None
        patience = threading.Timer(START_S, self.process.kill)
        patience.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        patience.cancel()
        assert line.strip() == f"{self.address}/", self.said.read_text()

    @property
    def bootstrap(self) -> str:
        return self.stack.variables()["TAPEFLOW_KAFKA"]

    @property
    def stack(self) -> Stack:
        return Stack(Place(self.folder / "stack", CACHE))

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ctrl-C, or another signal."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(STOP_S)

    def running(self) -> dict[int, str]:
        """What would be left behind: what names the folder, and what is of the session."""
        assert self.process is not None
        found, folder = {}, str(self.folder).encode()
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and int(path.name) not in (os.getpid(), self.process.pid):
                with contextlib.suppress(OSError):
                    command, own = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
                    if folder in command + own or os.getsid(int(path.name)) == self.process.pid:
                        found[int(path.name)] = command.replace(b"\0", b" ").decode("utf-8", "replace")[:200]
        return found

    def processes(self) -> list[str]:
        """The same as commands."""
        return list(self.running().values())

    def ports(self) -> set[int]:
        """Where it, and what it has started, listens."""
        assert self.process is not None
        found = set()
        for pid in (self.process.pid, *self.running()):
            with contextlib.suppress(psutil.Error):
                connections = psutil.Process(pid).net_connections("inet")
                found |= {one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN}
        return found

    def end(self) -> None:
        """End all of it, whatever state it is in."""
        if self.process is not None:
            if self.process.poll() is None:
                try:
                    self.stop()
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()
        if any(map(is_running, self.stack.servers())):
            self.stack.down(lambda _: None)


# -- values ----------------------------------------------------------------------------------------------------


def means_of(pushes: Sequence[Row]) -> dict[tuple[str, int], tuple[float, int]]:
    """The mean of each closed window, by brute force over the topic of klines.

    Not those that the first push cuts, nor those that no time row has closed yet.
    """
    found: dict[tuple[str, int], tuple[float, int]] = {}
    for symbol in {row["symbol"] for row in pushes}:
        own = [row for row in pushes if row["symbol"] == symbol]
        events = [(row["ts_event"], Decimal(row["close"])) for row in own if row.get("ts_event") is not None]
        closed_us = max((row["ts_watermark"] for row in own if "ts_event" not in row), default=0)
        held: dict[int, list[Decimal]] = defaultdict(list)
        for ts, close in events:
            for start in range(ts // SLIDE_US * SLIDE_US, ts - WINDOW_US, -SLIDE_US):
                held[start].append(close)
        for start, closes in held.items():
            if start > min(ts for ts, _ in events) and start + WINDOW_US <= closed_us:
                # The contract: the float nearest to the exact sum, by the count.
                found[symbol, start] = (float(sum(closes)) / len(closes), len(closes))
    return found


def closed(rows: Sequence[Row]) -> dict[tuple[str, int], tuple[float, int]]:
    """The last row of each closed window in the topic of means."""
    return {(row["symbol"], row["ts_start"]): (row["mean"], row["count"]) for row in rows if row["closed"]}


# -- latency ---------------------------------------------------------------------------------------------------


#: When each row of a forming mean came to the page, and when a picture with it was on screen; hooked in from outside.
_WATCH = """
(() => {
  window.__means = [];
  let waiting = [];
  const Plain = window.WebSocket;
  window.WebSocket = class extends Plain {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", (event) => {
        const came = Date.now(), message = JSON.parse(event.data);
        if (message.type !== "update" || message.channel !== "moving_average.forming") return;
        waiting.push(...message.data.map((row) => [row.symbol, row.ts_start, row.count, came]));
      });
    }
  };
  const painted = (done) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  });
  const plain = CanvasRenderingContext2D.prototype.clearRect;
  CanvasRenderingContext2D.prototype.clearRect = function (...given) {
    plain.apply(this, given);
    if (this.canvas.id !== "mean-canvas" || !waiting.length) return;
    const drawn = waiting;
    waiting = [];
    painted(() => window.__means.push(...drawn.map((row) => [...row, Date.now()])));
  };
})();
"""


class Arrivals(NamedTuple):
    """When each (symbol, start, count) of a forming window came first, in microseconds."""

    socket: dict[Key, int]
    drawn: dict[Key, int]


@contextlib.contextmanager
def browsed(address: str) -> Iterator[Shown]:
    """The page of a run in Chromium, watched."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not on every machine

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shown = Shown(browser.new_page(viewport={"width": 1440, "height": 900}))
        shown.page.set_default_timeout(120_000)
        shown.page.add_init_script(_WATCH)
        shown.page.goto(f"{address}/#symbol={SYMBOLS[0]}&interval=1s")
        shown.live()
        yield shown
        browser.close()


def arrivals(shown: Shown, seconds: float) -> Arrivals:
    """What comes to a page in some seconds."""
    shown.page.evaluate("window.__means.splice(0)")
    shown.page.wait_for_timeout(seconds * 1000)
    found = Arrivals({}, {})
    for symbol, start, count, came, drawn in shown.page.evaluate("window.__means"):
        found.socket.setdefault((symbol, start, count), came * 1000)
        found.drawn.setdefault((symbol, start, count), drawn * 1000)
    return found


def latencies(arrived: dict[Key, int], pushes: Sequence[Row]) -> list[float]:
    """Milliseconds from the receipt of the newest push in a row to the row's arrival, sorted.

    Not of rows that were there before the first came: a client is given the open windows as they stand.
    """
    began = min(arrived.values(), default=0)
    received: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row in pushes:
        if row.get("ts_event") is not None and row.get("ts_recv") is not None:
            for start in range(row["ts_event"] // SLIDE_US * SLIDE_US, row["ts_event"] - WINDOW_US, -SLIDE_US):
                received[row["symbol"], start].append(row["ts_recv"])
    return sorted(
        (now - received[symbol, start][count - 1]) / 1000
        for (symbol, start, count), now in arrived.items()
        if len(received[symbol, start]) >= count and received[symbol, start][count - 1] > began
    )


def in_words(what: str, arrived: Arrivals, pushes: Sequence[Row]) -> Iterator[str]:
    """Percentiles, a line for each place that rows come to."""
    for place, times in (("the page's socket", arrived.socket), ("the picture on screen", arrived.drawn)):
        found = latencies(times, pushes)
        at = {part: found[min(len(found) - 1, int(len(found) * part / 100))] for part in (50, 90, 99) if found}
        told = ", ".join(f"p{part} {ms:.0f} ms" for part, ms in at.items())
        yield f"frame to {place}, {what}: {told}, worst {max(found, default=0):.0f} ms, of {len(found)} rows"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder that servers of another user can enter."""
    made = Path(tempfile.mkdtemp(prefix="tapeflow-r1-"))
    made.chmod(0o755)  # under root the user postgres must enter it
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def main() -> None:
    from cluster.cluster import rows  # noqa: PLC0415 - only the command needs it here

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--guarantee", default="both", choices=(*GUARANTEES, "both"))
    options.add_argument("--seconds", type=float, default=30.0)
    options.add_argument("--settle", type=float, default=90.0)
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended
    with folder() as made:
        recipe = Recipe(made)
        try:
            recipe.start()
            for guarantee in GUARANTEES if chosen.guarantee == "both" else (chosen.guarantee,):
                if guarantee != "exactly_once":
                    change(recipe, guarantee)
                with browsed(recipe.address) as shown:
                    for waits, when in ((0.0, "at once"), (chosen.settle, f"{chosen.settle:.0f} s later")):
                        shown.page.wait_for_timeout(waits * 1000)
                        found = arrivals(shown, chosen.seconds)
                        pushes = rows(recipe.bootstrap, KLINES)
                        print(*in_words(f"{guarantee}, {when}", found, pushes), sep="\n", flush=True)
        finally:
            recipe.end()
        print(f"left: {recipe.processes()}")


def change(recipe: Recipe, guarantee: str) -> None:
    """Put a job of another guarantee in the place of the recipe's; what reads its topics goes on."""
    config = recipe.folder / "run.toml"
    text = config.read_text().replace('guarantee = "exactly_once"\n', "")
    other = config.with_name("other.toml")
    other.write_text(text.replace("[flink]\n", f'[flink]\nguarantee = "{guarantee}"\n'))
    assert guarantee in other.read_text()
    command = [sys.executable, "-m", "tapeflow", "submit", str(other), "--anew", "--cache", str(CACHE)]
    done = subprocess.run(
        command, env=os.environ | recipe.stack.variables(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    print(json.dumps({"job": done.stdout.strip()}), flush=True)
    time.sleep(5)  # it has read what the topic holds


if __name__ == "__main__":
    main()
