"""kill -9 of a process that writes a tape; more of it: ``python tests/fault/tape_kills.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(__file__).with_name("tape_kills.py")


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--compaction"]], ids=["writing", "compacting"])
def test_nothing_reported_is_lost_or_doubled(options: list[str]) -> None:
    command = [sys.executable, str(COMMAND), "--kills", "10", "--seed", "3", *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 lost, 0 doubled" in done.stdout
