"""A short run of damaged frames, and a random schedule of misbehaviour; the long runs are commands in tests/live."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from live.faults import scheduled
from live.mutants import through

pytestmark = pytest.mark.slow


def test_damaged_frames_are_on_the_tape_and_in_quarantine(tmp_path: Path) -> None:
    seen = asyncio.run(through(tmp_path, 3, 30_000))
    assert seen.wrong == []
    assert seen.on_tape == seen.sent == 30_000
    assert seen.quarantined > 5_000
    assert seen.events > 1_000


def test_a_random_schedule_of_misbehaviour(tmp_path: Path) -> None:
    found, live, schedule = scheduled(tmp_path, 4, 10)
    assert found.wrong == [], (schedule, live.text())
    assert found.trades > 20
