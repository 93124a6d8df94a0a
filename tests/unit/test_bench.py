"""Benchmarks are run by hand: here it is seen that each can begin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = sorted(
    path for path in (Path(__file__).parents[2] / "bench").glob("*.py") if "add_argument" in path.read_text()
)


@pytest.mark.parametrize("path", BENCH, ids=lambda path: path.stem)
def test_each_begins_and_says_what_it_does(path: Path) -> None:
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "usage:" in done.stdout
