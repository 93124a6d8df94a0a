"""Silence is news against a stream's own rhythm, told once and then with growing patience."""

from __future__ import annotations

import pytest

from tapeflow.feed.rhythm import KNOWN, LEAST_US, MOST_US, SECOND, Rhythms


def heard(every: dict[bytes, float], until: float, begin: float = 0.0) -> Rhythms:
    """The rhythms after frames of streams, each so many seconds apart."""
    frames = sorted(
        (begin + n * gap, name) for name, gap in every.items() for n in range(int((until - begin) / gap) + 1)
    )
    rhythms = Rhythms(int(begin * SECOND))
    for at, name in frames:
        rhythms.frame(name, int(at * SECOND))
    return rhythms


def test_a_quick_stream_is_missed_after_seconds_and_a_slow_one_is_not() -> None:
    rhythms = heard({b"quick": 0.1, b"slow": 30.0}, until=120.0)
    for later in range(1, 7):
        rhythms.whole.frame(int((120 + later / 2) * SECOND))  # the connection as such goes on
    assert rhythms.silent(int(123.9 * SECOND)) == []
    assert rhythms.silent(int(124.1 * SECOND)) == ["quick"]


@pytest.mark.parametrize(("every", "limit_s"), [(0.01, 4.0), (0.5, 10.0), (1.0, 20.0), (60.0, 600.0)])
def test_the_limit_is_of_the_streams_own_making(every: float, limit_s: float) -> None:
    stream = heard({b"x": every}, until=100 * every).streams[b"x"]
    assert stream.limit() == pytest.approx(limit_s * SECOND, rel=0.01)
    assert LEAST_US <= stream.limit() <= MOST_US


def test_a_pause_that_was_seen_may_be_exceeded_twice() -> None:
    rhythms = heard({b"x": 0.1}, until=10.0)
    rhythms.frame(b"x", 18 * SECOND)  # eight seconds of silence, and back
    at = 18 * SECOND
    for _ in range(5):
        at += SECOND // 10
        rhythms.frame(b"x", at)
    assert rhythms.streams[b"x"].limit() == pytest.approx(16 * SECOND, rel=0.02)


def test_a_stream_that_is_hardly_known_is_given_the_longest_time() -> None:
    rhythms = Rhythms(0)
    for n in range(KNOWN - 1):
        rhythms.frame(b"x", n * SECOND // 10)
    assert rhythms.silent(599 * SECOND) == []
    assert rhythms.silent(601 * SECOND) == ["*"]


def test_silence_of_all_is_told_of_the_connection() -> None:
    rhythms = heard({b"a": 0.1, b"b": 0.1}, until=10.0)
    assert rhythms.silent(int(14.2 * SECOND)) == ["*"]


def test_the_same_silence_is_told_again_only_after_twice_the_time() -> None:
    rhythms = heard({b"x": 0.1}, until=10.0)
    told = [n / 10 - 10 for n in range(101, 500) if rhythms.silent(n * SECOND // 10) == ["*"]]
    assert [round(after) for after in told] == [4, 8, 16, 32]
    rhythms.frame(b"x", 60 * SECOND)
    assert rhythms.whole.patience == rhythms.streams[b"x"].patience == 1


def test_the_next_connection_knows_the_rhythm() -> None:
    old = heard({b"x": 0.1}, until=10.0)
    new = Rhythms(20 * SECOND)
    new.adopt(old, 20 * SECOND)
    assert new.silent(int(23.9 * SECOND)) == []  # it is judged from now on, not from the old one's last frame
    assert new.silent(int(24.1 * SECOND)) == ["*"]
    assert old.streams[b"x"].last == 10 * SECOND


def test_the_health_is_the_longest_present_silence() -> None:
    rhythms = heard({b"a": 0.1, b"b": 3.0}, until=9.0)
    assert rhythms.oldest_us(11 * SECOND) == pytest.approx(2 * SECOND, abs=2)
    assert Rhythms(0).oldest_us(5) == 0


def test_a_frame_on_its_way_does_not_bring_back_a_stream_given_up() -> None:
    rhythms = Rhythms(0)
    for at in range(10):
        rhythms.frame(b"a@trade", at * SECOND)
    rhythms.forget(["a@trade"])
    rhythms.frame(b"a@trade", 10 * SECOND)
    assert b"a@trade" not in rhythms.streams
    rhythms.expect(["a@trade"])
    rhythms.frame(b"a@trade", 11 * SECOND)
    assert b"a@trade" in rhythms.streams


def test_a_new_connection_does_not_make_a_silent_stream_young() -> None:
    old = heard({b"x": 1.0, b"y": 0.1}, until=10.0)
    new = Rhythms(30 * SECOND)
    new.adopt(old, 30 * SECOND)
    at = 50 * SECOND
    assert new.oldest_us(at) == pytest.approx(40 * SECOND, rel=0.01)
    assert new.overdue(at) == pytest.approx(10.0, rel=0.02)  # 40 s of y, which may be silent for 4 s
    assert new.whole.heard == pytest.approx(10 * SECOND, rel=0.01)
    new.frame(b"x", at)
    assert (new.whole.heard, new.streams[b"x"].heard) == (at, at)
    new.frame(b"y", at)
    assert (new.overdue(at), new.oldest_us(at)) == (0.0, 0)
