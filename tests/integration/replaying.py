"""`tapeflow replay` as a user runs it: a subprocess, its exit status, its streams and its files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]

#: 2023-11-14 22:13:20 UTC, a Tuesday; a multiple of 20 s.
START_MS = 1_700_000_000_000
START = START_MS * 1000

#: Channels of the contract that come from recorded frames; the others are of streams or need rules.
CHANNELS = (
    "trades", "quotes", "book", "tickers", "klines", "candles", "moving_average", "indicators", "coverage", "late",
    "quarantine",
)  # fmt: skip


class Run(NamedTuple):
    """A finished `tapeflow replay`."""

    code: int
    out: Path
    stdout: str
    stderr: str

    @property
    def summary(self) -> Row:
        return json.loads(self.stdout.splitlines()[-1])

    def text(self, channel: str) -> str:
        return (self.out / f"{channel}.ndjson").read_text(encoding="utf-8")

    def rows(self, channel: str, **where: Any) -> list[Row]:
        rows = [json.loads(line) for line in self.text(channel).splitlines()]
        return [row for row in rows if all(row[name] == value for name, value in where.items())]


def attempt(files: Iterable[Path], out: Path, *options: str) -> Run:
    """Run it, whatever comes of it."""
    command = [sys.executable, "-m", "tapeflow", "replay", *map(str, files), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return Run(done.returncode, out, done.stdout, done.stderr)


def replay(files: Iterable[Path], out: Path, *options: str) -> Run:
    """Run it; it must end with 0."""
    run = attempt(files, out, *options)
    assert run.code == 0, run.stderr
    return run


def decimal8(value: int) -> str:
    """A mantissa of eight decimals as Binance writes it."""
    return f"{value // 10**8}.{value % 10**8:08}"


def trade(number: int, ts: int, price: str = "100.00000000", size: str = "1.00000000", **changes: Any) -> Row:
    """A trade frame; ``ts`` is in the connection's unit, milliseconds or microseconds."""
    payload = {
        "e": "trade", "E": ts, "s": "BTCUSDT", "t": number, "p": price, "q": size, "T": ts, "m": False, "M": True,
    }  # fmt: skip
    return payload | changes


def aggregate(
    number: int, first: int, last: int, ts: int, price: str = "100.00000000", size: str = "1.00000000", **changes: Any
) -> Row:
    payload = {
        "e": "aggTrade", "E": ts, "s": "BTCUSDT", "a": number, "p": price, "q": size, "f": first, "l": last, "T": ts,
        "m": False, "M": True,
    }  # fmt: skip
    return payload | changes


def compact(payload: Any) -> bytes:
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()


def write(path: Path, frames: Iterable[Row | bytes]) -> Path:
    lines = [frame if isinstance(frame, bytes) else compact(frame) for frame in frames]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path
