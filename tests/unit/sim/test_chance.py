"""Integers only, and the published numbers of SplitMix64."""

from tapeflow.sim.chance import Chance


def test_published_numbers():
    chance = Chance(1234567)
    assert [chance.bits() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_named_streams_differ_and_repeat():
    assert Chance(7, "a").bits() != Chance(7, "b").bits()
    assert Chance(7, "a").bits() == Chance(7, "a").bits()


def test_means():
    chance = Chance(1)
    drawn = [chance.exponential(1_000_000) for _ in range(20_000)]
    assert all(type(value) is int and value >= 0 for value in drawn)
    assert abs(sum(drawn) / len(drawn) / 1e6 - 1) < 0.07
    assert 300 < sum(Chance(n).hits(100) for n in range(4000)) < 500
    assert {Chance(n).below(3) for n in range(50)} == {0, 1, 2}
