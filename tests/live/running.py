"""The commands as a user starts them: a simulated venue and a run against it, as processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from live.truth import get, post

PATIENCE_S = 60.0


class Venue:
    """``tapeflow simulate binance`` on a free port."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._errors = (folder / "venue.err").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tapeflow", "simulate", "binance", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (folder / "venue.err").read_text()
        told = json.loads(line)
        self.rest, self.websocket, self.symbols = told["rest"], told["websocket"], told["symbols"]

    def fault(self, kind: str, **more: Any) -> None:
        post(f"{self.rest}/control/faults", {"kind": kind, **more})

    def calm(self) -> None:
        request = urllib.request.Request(f"{self.rest}/control/faults", method="DELETE")
        urllib.request.urlopen(request, timeout=10).close()

    def stats(self) -> Any:
        return get(f"{self.rest}/control/stats")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()


class Live:
    """``tapeflow run`` against a venue; what it says is kept in ``said``."""

    def __init__(self, folder: Path, venue: Venue, symbols: list[str], more: str = "") -> None:
        self.folder = folder
        self.data = folder / "data"
        self.config = folder / "run.toml"
        self.said: list[tuple[float, str]] = []
        if "[api]" not in more:
            more += "[api]\nport = 0\n"
        self._text = f'[endpoints]\nwebsocket = "{venue.websocket}"\nrest = "{venue.rest}"\n{more}'
        self.configure(symbols)
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, symbols: list[str]) -> None:
        self.config.write_text(f'data = "data"\nsymbols = {json.dumps(symbols)}\n{self._text}')

    def command(self) -> list[str]:
        return ["run", str(self.config)]

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tapeflow", *self.command()],
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True).start()

    def _listen(self, stream: Any) -> None:
        with stream:
            self._hear(stream)

    def _hear(self, stream: Any) -> None:
        for line in stream:
            self.said.append((time.monotonic(), line.decode("utf-8", "replace").rstrip()))

    def status(self) -> dict[str, Any]:
        try:
            return json.loads((self.data / "status.json").read_bytes())  # type: ignore[no-any-return]
        except FileNotFoundError:
            return {}

    def until(self, what: Callable[[dict[str, Any]], Any], seconds: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until the status of this process satisfies; fails with what was said."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the run ended with {self.process.returncode}:\n{self.text()}")
            status = self.status()
            if status.get("pid") == self.process.pid and status.get("is_running") and what(status):
                return status
            time.sleep(0.05)
        raise AssertionError(f"not so within {seconds} s:\n{self.text()}\n{self.status()}")

    def until_live(self) -> dict[str, Any]:
        return self.until(lambda s: s["is_live"] and any(c["frames"] for c in s["connections"]))

    def until_whole(self, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """All connections are there, no hole is open, the past is there, and all of it is committed."""
        return self.until(
            lambda s: (
                s["is_live"]
                and s["connections"]
                and all(c["is_open"] and c["frames"] for c in s["connections"])
                and not s["holes"]
                and not s["history_waiting"]
                and s["position"] - s["committed"] < 2000
            ),
            seconds,
        )

    def text(self, last: int = 60) -> str:
        return "\n".join(line for _, line in self.said[-last:])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ctrl-C."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
