"""Real servers for tests, by `tapeflow stack`: started when a test first asks, one set a worker, stopped at the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from tapeflow.stack.plan import is_running
from tapeflow.stack.service import Place
from tapeflow.stack.stack import Stack

#: Where what is fetched is kept.
CACHE = Path(os.environ.get("TAPEFLOW_CACHE", "~/.cache/tapeflow/stack")).expanduser()


class Servers:
    """Kafka, PostgreSQL and Flink."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._found: dict[str, str] = {}
        self._services: set[str] = set()

    @property
    def _data(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="tapeflow-servers-"))
            self._folder.chmod(0o755)  # under root the user postgres must enter it
        return self._folder / "stack"

    def _up(self, service: str) -> dict[str, str]:
        if service not in self._services:
            self._command("up", "--services", service)
            self._services.add(service)
            self._found = self.stack.variables()
        return self._found

    def _command(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tapeflow", "stack", *words, "--data", str(self._data)],
            capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        if done.returncode and words[0] == "up" and not os.environ.get("CI"):
            pytest.skip(f"no servers here: {done.stderr[-500:]}")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def stack(self) -> Stack:
        """The stack itself."""
        return Stack(Place(self._data, CACHE))

    def kafka(self) -> str:
        """The brokers."""
        return self._up("kafka")["KAFKA_BOOTSTRAP_SERVERS"]

    def flink(self) -> str:
        """The address of the job manager."""
        return self._up("flink")["TAPEFLOW_FLINK"]

    def database(self) -> str:
        """The address of a new database."""
        import psycopg  # noqa: PLC0415 - only where it is used

        url = self._up("postgres")["DATABASE_URL"]
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}")
        return f"{url.rpartition('/')[0]}/{name}"

    def reading(self, database: str) -> str:
        """The address of a database as one that may only read it."""
        return f"{self._up('postgres')['TAPEFLOW_POSTGRES_READER'].rpartition('/')[0]}/{database.rpartition('/')[2]}"

    def kill(self, service: str) -> None:
        """SIGKILL for all servers of a service; return when they are gone. Only of a stack that nobody else uses."""
        for server in self.stack.servers():
            if server.service == service:
                os.kill(server.pid, signal.SIGKILL)
                while is_running(server):
                    time.sleep(0.02)

    def revive(self) -> None:
        """Start again whatever was killed, where it was."""
        self._command("up")
        assert self.stack.variables() == self._found, "servers are elsewhere"

    def close(self) -> None:
        if self._folder is not None:
            self._command("down")
            shutil.rmtree(self._folder, ignore_errors=True)
