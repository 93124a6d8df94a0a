"""The eleven rules of `BookSync`, one by one, and the whole against a book that missed nothing."""

from __future__ import annotations

import random

import msgspec
import pytest

from tapeflow.domain.book import OrderBook
from tapeflow.domain.events import BookDelta, BookSnapshot, Fetch, Gap
from tapeflow.venues.binance.sync import PATIENCE_US, BookOutput, BookSync, BookSyncState


def delta(first: int, last: int | None = None) -> BookDelta:
    last = first if last is None else last
    return BookDelta("X", first, last, ((100 + last, 1),), (), 1000 * last)


def snapshot(id: int) -> BookSnapshot:
    return BookSnapshot("X", id, ((50, 1),), ((5000, 1),))


def fetch(why: str) -> Fetch:
    return Fetch("/api/v3/depth", {"symbol": "X", "limit": "5000"}, why, "X", 250, "book")


def live_at(id: int) -> BookSync:
    sync = BookSync("X")
    sync.on_delta(delta(id))
    sync.on_snapshot(snapshot(id))
    assert sync.is_live
    return sync


def test_rule_1_buffers_and_asks_once() -> None:
    sync = BookSync("X")
    assert sync.on_delta(delta(10)) == [fetch("start")]
    assert sync.on_delta(delta(12)) == []
    assert sync.on_delta(delta(11)) == []
    assert sync.on_delta(delta(11)) == []
    assert sync.ignored_deltas == 1
    assert sync.on_snapshot(snapshot(10)) == [snapshot(10), delta(11), delta(12)]


def test_rule_2_holds_a_snapshot_that_comes_first() -> None:
    sync = BookSync("X")
    assert sync.on_snapshot(snapshot(9)) == []
    assert sync.on_snapshot(snapshot(12)) == []
    assert sync.on_snapshot(snapshot(10)) == []
    assert not sync.is_live
    assert sync.on_delta(delta(12, 13)) == [snapshot(12), delta(12, 13)]


def test_rule_3_asks_again_for_a_snapshot_that_is_too_old() -> None:
    sync = BookSync("X")
    sync.on_delta(delta(10))
    assert sync.on_snapshot(snapshot(8)) == [fetch("snapshot_too_old")]
    assert sync.ignored_snapshots == 1
    # One that ends just before the first delta misses nothing.
    assert sync.on_snapshot(snapshot(9)) == [snapshot(9), delta(10)]


def test_rule_4_begins_inside_a_delta() -> None:
    sync = BookSync("X")
    for each in (delta(10, 14), delta(15, 19), delta(20, 24)):
        sync.on_delta(each)
    assert sync.on_snapshot(snapshot(17)) == [snapshot(17), delta(15, 19), delta(20, 24)]
    assert sync.ignored_deltas == 1


def test_rule_4_with_a_snapshot_newer_than_the_buffer() -> None:
    sync = BookSync("X")
    sync.on_delta(delta(10))
    assert sync.on_snapshot(snapshot(30)) == [snapshot(30)]
    assert sync.on_delta(delta(29, 31)) == [delta(29, 31)]


def test_rules_5_and_7_give_each_update_once() -> None:
    sync = live_at(10)
    assert sync.on_delta(delta(11, 12)) == [delta(11, 12)]
    assert sync.on_delta(delta(11, 12)) == []
    assert sync.on_delta(delta(9)) == []
    assert sync.ignored_deltas == 3
    assert sync.on_delta(delta(12, 13)) == [delta(12, 13)]


def test_rule_6_names_the_updates_that_are_missing() -> None:
    sync = live_at(10)
    sync.on_delta(delta(11))
    gap = Gap("book", "X", 12, 14, 11_000, 15_000, "missing_updates")
    assert sync.on_delta(delta(15)) == [gap, fetch("missing_updates")]
    assert not sync.is_live
    assert sync.on_delta(delta(16)) == []
    assert sync.on_snapshot(snapshot(13)) == [fetch("snapshot_too_old")]
    assert sync.on_snapshot(snapshot(15)) == [snapshot(15), delta(16)]


def test_rule_6_inside_the_buffer() -> None:
    sync = BookSync("X")
    for number in (10, 11, 14, 15):
        sync.on_delta(delta(number))
    assert sync.on_snapshot(snapshot(10)) == [
        snapshot(10),
        delta(11),
        Gap("book", "X", 12, 13, 11_000, 14_000, "missing_updates"),
        fetch("missing_updates"),
    ]
    assert sync.on_snapshot(snapshot(14)) == [snapshot(14), delta(15)]


def test_a_gap_behind_a_snapshot_without_a_time_begins_with_the_first_delta() -> None:
    sync = BookSync("BTCUSDT")
    sync.on_delta(msgspec.structs.replace(delta(10, 12), ts_event=1000))
    sync.on_delta(msgspec.structs.replace(delta(20, 22), ts_event=3000))
    (gap,) = (one for one in sync.on_snapshot(snapshot(15)) if isinstance(one, Gap))
    assert (gap.first_id, gap.last_id, gap.ts_start, gap.ts_end) == (16, 19, 1000, 3000)


def test_rule_8_ignores_snapshots_while_live() -> None:
    sync = live_at(10)
    for number in (9, 10, 99):
        assert sync.on_snapshot(snapshot(number)) == []
    assert sync.ignored_snapshots == 3
    assert sync.on_delta(delta(11)) == [delta(11)]


@pytest.mark.parametrize(("limit", "dropped"), [(3, 1), (20, 2)])
def test_rule_9_bounds_the_buffer(limit: int, dropped: int) -> None:
    sync = BookSync("X", limit)
    for number in range(1, limit + 1):
        sync.on_delta(delta(number))
    gap = Gap("book", "X", 1, dropped, 1000, 1000 * dropped, "buffer_full")
    assert sync.on_delta(delta(limit + 1)) == [gap]
    assert len(sync.state().buffer) == limit + 1 - dropped


def test_rule_10_heals_when_the_missing_delta_comes_after_all() -> None:
    sync = live_at(10)
    gap = Gap("book", "X", 11, 11, 10_000, 12_000, "missing_updates")
    assert sync.on_delta(delta(12)) == [gap, fetch("missing_updates")]
    assert sync.on_delta(delta(13)) == []
    assert sync.on_delta(delta(11)) == [delta(11), delta(12), delta(13)]
    assert sync.is_live
    # The snapshot that was asked for says nothing new.
    assert sync.on_snapshot(snapshot(12)) == []
    assert sync.ignored_snapshots == 1


def test_rule_10_heals_only_as_far_as_the_deltas_reach() -> None:
    sync = live_at(10)
    for number in (15, 13):
        sync.on_delta(delta(number))
    assert sync.on_delta(delta(11)) == [
        delta(11),
        Gap("book", "X", 12, 12, 11_000, 13_000, "missing_updates"),
        fetch("missing_updates"),
    ]
    again = Gap("book", "X", 14, 14, 13_000, 15_000, "missing_updates")
    assert sync.on_delta(delta(12)) == [delta(12), delta(13), again, fetch("missing_updates")]
    assert sync.on_delta(delta(14)) == [delta(14), delta(15)]


@pytest.mark.parametrize("seed", range(20))
def test_rule_10_any_order_of_small_deltas_gives_the_same_book(seed: int) -> None:
    chance = random.Random(seed)
    deltas = [
        BookDelta("X", number, number, ((chance.randint(40, 60), chance.randint(0, 3)),), (), 1000 * number)
        for number in range(2, 200)
    ]
    shuffled = sorted(deltas, key=lambda each: each.first_id + chance.uniform(0, 20))
    assert shuffled != deltas
    assert final_book(shuffled) == final_book(deltas)


def final_book(deltas: list[BookDelta]) -> tuple[int, object]:
    sync, book = BookSync("X"), OrderBook()
    for message in (delta(1), BookSnapshot("X", 1, ((50, 1),), ()), *deltas):
        outputs = sync.on_delta(message) if isinstance(message, BookDelta) else sync.on_snapshot(message)
        for output in outputs:
            if isinstance(output, BookSnapshot):
                book.reset(output.id, output.bids, output.asks)
            elif isinstance(output, BookDelta):
                assert output.first_id == book.id + 1
                book.apply(output.last_id, output.bids, output.asks)
    assert sync.is_live
    return book.id, book.bids()


def test_rule_11_asks_again_after_ten_seconds() -> None:
    sync = BookSync("X")
    assert sync.on_time(0) == []
    sync.on_delta(delta(10))
    assert sync.on_time(1000) == []
    assert sync.on_time(1000 + PATIENCE_US - 1) == []
    assert sync.on_time(1000 + PATIENCE_US) == [fetch("no_answer")]
    assert sync.on_time(1000 + 2 * PATIENCE_US - 1) == []
    assert sync.on_time(1000 + 2 * PATIENCE_US) == [fetch("no_answer")]
    sync.on_snapshot(snapshot(10))
    assert sync.on_time(10**15) == []


def test_the_first_delta_asks_once() -> None:
    sync = BookSync("X")
    assert sync.on_delta(delta(10)) == [fetch("start")]
    assert sync.on_delta(delta(11)) == []


def test_state_is_a_value() -> None:
    sync = BookSync("X")
    sync.on_delta(delta(10))
    state = sync.state()
    kept = msgspec.msgpack.encode(state)
    sync.on_delta(delta(11))
    assert msgspec.msgpack.encode(state) == kept
    BookSync.restore(state).on_delta(delta(12))
    assert msgspec.msgpack.encode(state) == kept


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_gives_a_true_book_or_a_gap(seed: int) -> None:
    """Deltas lost, doubled and late; snapshots at any moment: whenever the book is live it equals the true one."""
    chance = random.Random(seed)
    truth, true_at, deltas = OrderBook(), {}, []
    truth.reset(0, ((50, 1),), ())
    true_at[0] = truth.bids()
    last = 0
    while len(deltas) < 300:
        first, last = last + 1, last + chance.randint(1, 4)
        change = tuple((price, chance.randint(0, 3)) for price in {chance.randint(40, 60) for _ in range(3)})
        deltas.append(BookDelta("X", first, last, change, (), last))
        truth.apply(last, change, ())
        true_at[last] = truth.bids()
    sync, book = BookSync("X"), OrderBook()
    last_emitted, gaps, updates = None, 0, 0
    for at, each in enumerate(deltas):
        arriving: list[BookDelta | BookSnapshot] = [each] * chance.choice([0, 1, 1, 1, 1, 1, 1, 2])
        if chance.random() < 0.1:
            arriving.append(deltas[max(0, at - chance.randint(0, 5))])
        if chance.random() < 0.2:
            known = deltas[max(0, at - chance.randint(0, 3))].last_id
            arriving.append(BookSnapshot("X", known, true_at[known], ()))
        for message in arriving:
            sync = BookSync.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(sync.state()), type=BookSyncState))
            outputs: list[BookOutput] = (
                sync.on_delta(message) if isinstance(message, BookDelta) else sync.on_snapshot(message)
            )
            for output in outputs:
                match output:
                    case BookSnapshot():
                        book.reset(output.id, output.bids, output.asks)
                    case BookDelta():
                        assert output.first_id <= book.id + 1 <= output.last_id
                        book.apply(output.last_id, output.bids, output.asks)
                        updates += 1
                    case Gap():
                        assert output.first_id == book.id + 1
                        gaps += 1
                    case Fetch():
                        continue
                last_emitted = output
            if sync.is_live:
                assert not isinstance(last_emitted, Gap)
                assert book.bids() == true_at[book.id]
    assert gaps
    assert updates
