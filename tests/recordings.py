"""Where the recorded data is, and its frames: what a test does that needs what the exchange really sent."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS = (ROOT / os.environ.get("TAPEFLOW_RECORDINGS", "../shared/data/wire")).resolve() / "binance"

#: The recorded trades of BTCUSDT: 19,904 of them, unbroken across midnight UTC.
SPOT_2024 = ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz")

#: A received frame, or the answer to a REST request; connects, sent messages and the configuration are neither.
CRYPTOFEED = re.compile(rb"(?:(https?://\S+) -> )?[0-9.]+: (.*)", re.DOTALL)

Frames = Iterator[tuple[bytes, str | None]]


def recording(name: str) -> Path:
    """The path of a recording; without it the test is skipped, or in CI fails."""
    path = RECORDINGS / name
    if not path.is_file():
        reason = f"recorded data not found: {path}; set TAPEFLOW_RECORDINGS to the folder that holds binance/"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def lines(name: str) -> list[bytes]:
    """The lines of a recording as they are, without their ends."""
    path = recording(name)
    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).splitlines()


def frames(name: str) -> Frames:
    """The frames of a recording in their order, each with the request it answers."""
    return _cryptofeed(name) if name.endswith(".cryptofeed") else _timed(name)


def _timed(name: str) -> Frames:
    for line in lines(name):
        yield (line if line.startswith((b"{", b"[")) else line.split(b" ", 1)[1]), None


def _cryptofeed(name: str) -> Frames:
    for line in lines(name):
        match = CRYPTOFEED.fullmatch(line)
        if match is not None:
            yield match[2], match[1].decode() if match[1] else None
