"""Real servers for tests, by `tapeflow stack`: started when a test first asks, one set a worker, stopped at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest


class Servers:
    """Kafka and PostgreSQL."""

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
            lines = self._command("env").splitlines()
            self._found = dict(line.removeprefix("export ").split("=", 1) for line in lines)
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

    def kafka(self) -> str:
        """The brokers."""
        return self._up("kafka")["KAFKA_BOOTSTRAP_SERVERS"].strip("'")

    def database(self) -> str:
        """The address of a new database."""
        import psycopg  # noqa: PLC0415 - only where it is used

        url = self._up("postgres")["DATABASE_URL"].strip("'")
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}")
        return f"{url.rpartition('/')[0]}/{name}"

    def close(self) -> None:
        if self._folder is not None:
            self._command("down")
            shutil.rmtree(self._folder, ignore_errors=True)
