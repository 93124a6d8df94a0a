"""Ranges of ids against a plain set of ids, in any order, with repeats and overlaps."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from tapeflow.domain.seen import Seen, Verdict

runs = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 5)).map(lambda run: (run[0], run[0] + run[1])), max_size=80
)


class Model:
    """All ids that count, each with the time it came."""

    def __init__(self):
        self.times = {}

    def verdict(self, lo, hi):
        known = [i for i in range(lo, hi + 1) if i in self.times]
        if not known:
            return Verdict.NEW
        return Verdict.DUPLICATE if len(known) == hi - lo + 1 else Verdict.OVERLAP

    def add(self, lo, hi, ts):
        verdict = self.verdict(lo, hi)
        if verdict is Verdict.NEW:
            self.times.update(dict.fromkeys(range(lo, hi + 1), ts))
        return verdict

    def ranges(self):
        ids = sorted(self.times)
        starts = [i for i in ids if i - 1 not in self.times]
        ends = [i for i in ids if i + 1 not in self.times]
        return [(lo, hi, self.times[lo], self.times[hi]) for lo, hi in zip(starts, ends, strict=True)]


def as_tuples(ranges):
    return [(r.lo, r.hi, r.ts_lo, r.ts_hi) for r in ranges]


@given(runs)
def test_any_order(adds):
    seen, model = Seen(), Model()
    for ts, (lo, hi) in enumerate(adds):
        assert seen.covers("S", lo, hi) == (model.verdict(lo, hi) is Verdict.DUPLICATE)
        assert seen.add("S", lo, hi, ts) is model.add(lo, hi, ts)
        assert as_tuples(seen.ranges("S")) == model.ranges()


@given(st.permutations(range(30)))
def test_any_permutation_of_singles_ends_as_one_range(ids):
    seen = Seen()
    assert all(seen.add("S", i, i, i) is Verdict.NEW for i in ids)
    assert as_tuples(seen.ranges("S")) == [(0, 29, 0, 29)]
    assert all(seen.add("S", i, i, 99) is Verdict.DUPLICATE for i in ids)


@given(runs, runs)
def test_a_restored_one_goes_on_as_if_nothing_had_happened(before, after):
    seen = Seen()
    for ts, (lo, hi) in enumerate(before):
        seen.add(f"S{lo % 2}", lo, hi, ts)
    restored = Seen()
    for symbol in ("S0", "S1"):
        restored.become(symbol, copy.deepcopy(seen.state(symbol)))
    for ts, (lo, hi) in enumerate(after, 1000):
        assert restored.add(f"S{lo % 2}", lo, hi, ts) is seen.add(f"S{lo % 2}", lo, hi, ts)
    assert [restored.state(symbol) for symbol in ("S0", "S1")] == [seen.state(symbol) for symbol in ("S0", "S1")]


@given(runs, st.integers(1, 4))
def test_memory_is_bounded_and_what_was_given_up_is_said(adds, limit):
    seen, model = Seen(limit), Model()
    floor = 0
    for ts, (lo, hi) in enumerate(adds):
        verdict = seen.add("S", lo, hi, ts)
        assert verdict is (Verdict.FORGOTTEN if lo < floor else model.add(lo, hi, ts))
        if len(model.ranges()) > limit:
            floor = model.ranges()[0][1] + 1
            model.times = {i: at for i, at in model.times.items() if i >= floor}
        assert as_tuples(seen.ranges("S")) == model.ranges()


def test_symbols_are_apart():
    seen = Seen()
    assert seen.add("A", 1, 1, 0) is Verdict.NEW
    assert seen.add("B", 1, 1, 0) is Verdict.NEW
    seen.forget("A")
    seen.forget("never there")
    assert seen.add("A", 1, 1, 0) is Verdict.NEW
    assert seen.add("B", 1, 1, 0) is Verdict.DUPLICATE
    assert not seen.covers("C", 1, 1)


def test_large_ids():
    seen = Seen()
    top = 2**63 - 1
    assert seen.add("S", top - 1, top, 0) is Verdict.NEW
    assert seen.add("S", 0, 0, 0) is Verdict.NEW
    assert as_tuples(seen.ranges("S")) == [(0, 0, 0, 0), (top - 1, top, 0, 0)]
