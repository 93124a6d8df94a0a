"""Waits between attempts, and a clock that nobody can set."""

from __future__ import annotations

import random
import time

import pytest

from tapeflow.feed.backoff import Backoff
from tapeflow.feed.clock import Clock


def test_waits_double_up_to_a_cap_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(0.25, 4.0, random.Random(1))
    for whole in (0.25, 0.5, 1, 2, 4, 4, 4):
        assert whole / 2 <= backoff.next_s() <= whole
    backoff.reset()
    assert backoff.next_s() <= 0.25


def test_two_do_not_wait_alike() -> None:
    one, other = (Backoff(1.0, 30.0, random.Random(seed)) for seed in (1, 2))
    assert one.next_s() != other.next_s()


class Machine:
    """The machine's clock, which somebody sets."""

    def __init__(self) -> None:
        self.by_us = 0
        self._real = time.time_ns

    def time_ns(self) -> int:
        return self._real() + self.by_us * 1000


@pytest.mark.parametrize("by_us", [3_600_000_000, -3_600_000_000, 600_000])
def test_a_step_of_the_machines_clock_is_told_once_and_moves_no_receive_time(
    by_us: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    monkeypatch.setattr(time, "time_ns", machine.time_ns)
    clock = Clock()
    before, mono = clock.now()
    assert clock.step_us() == 0
    machine.by_us = by_us
    after, later = clock.now()
    assert after - before == later - mono
    assert 0 <= after - before < 60_000_000
    assert clock.step_us() == pytest.approx(by_us, abs=100_000)
    assert clock.step_us() == 0
    machine.by_us = 0
    assert clock.step_us() == pytest.approx(-by_us, abs=100_000)


def test_small_steps_add_up_until_they_are_news(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    monkeypatch.setattr(time, "time_ns", machine.time_ns)
    clock = Clock()
    told = []
    for step in range(1, 6):
        machine.by_us = step * 200_000
        told.append(clock.step_us())
    assert [bool(one) for one in told] == [False, False, True, False, False]
    assert told[2] == pytest.approx(600_000, abs=50_000)
