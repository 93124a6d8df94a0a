"""A demo and its page in Chromium, for the tests of the page."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
PATIENCE_S = 240.0
_WATCH_CSP = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.__violations.push(event.violatedDirective));
"""


class Demo:
    """A demo on a port of its own that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        options = ("--no-browser", "--port", str(self._port), "--data", str(self._folder / "demo"))
        command = [sys.executable, "-m", "tapeflow", "demo", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=10) as answer:
            return json.load(answer)


def until(is_so: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.25)


class Shown:
    """A page, and what it complained of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        #: What it asked for and was not given.
        self.refused: set[str] = set()
        page.add_init_script(_WATCH_CSP)
        page.on("response", lambda one: self.refused.add(f"{one.status} {one.url}") if one.status >= 400 else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, said: Any) -> None:
        if said.type == "error":
            self.errors.append(f"{said.text} {said.location.get('url', '')}")

    def open(self, demo: Demo, view: str) -> None:
        self.page.goto(f"{demo.address}/#{view}")
        self.live()

    def live(self) -> None:
        self.page.wait_for_selector("#loading", state="hidden")
        self.page.wait_for_selector("#t-connection[data-tone=good]", timeout=60_000)

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)  # type: ignore[no-any-return]

    def violations(self) -> list[str]:
        return self.page.evaluate("window.__violations")  # type: ignore[no-any-return]

    def saved(self) -> list[dict[str, str]]:
        """The candles as the page saves them."""
        self.page.click("#share-menu > summary")
        with self.page.expect_download() as download:
            self.page.click("[data-export=csv]")
        with Path(download.value.path()).open(newline="") as file:
            return list(csv.DictReader(file))


_COMPARED = ("ts_start", "open", "high", "low", "close", "volume", "count", "source", "revision")


def told(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in _COMPARED)


def same(shown: Shown, demo: Demo, interval: str) -> bool:
    """Whether every closed candle on the page is the API's, and none of the API's between them is missing."""
    rows = [row for row in shown.saved() if row["closed"] == "true"]
    start, end = rows[0]["ts_start"], int(rows[-1]["ts_end"])
    path = f"/v1/candles?symbol=BTCUSDT&interval={interval}&start={start}&end={end}&limit=10000"
    return [told(row) for row in rows[:-5]] == [told(row) for row in demo.ask(path)["data"]][: len(rows) - 5]
