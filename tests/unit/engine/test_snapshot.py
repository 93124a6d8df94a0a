"""Snapshots in pieces: the same as one, and refused where one is missing."""

from __future__ import annotations

import pytest

from serving import CHANNELS, TRADES, flow
from tapeflow import venues
from tapeflow.domain.errors import SnapshotError
from tapeflow.engine.embedded import Engine
from tapeflow.engine.frames import Frames
from tapeflow.engine.snapshot import join, split
from tapeflow.stores.results import Results


def engine() -> Engine:
    made = flow()
    sink = Results(made, "binance", CHANNELS, price_scale=8, size_scale=8)
    return Engine(made, venues.create("binance"), sink, channels=CHANNELS, of_tape=True)


def test_pieces_are_the_snapshot_and_one_that_has_not_changed_is_the_same_object() -> None:
    first = engine()
    first.feed(Frames.of([(None, one) for one in TRADES]))
    pieces = first.pieces()
    assert len(pieces) > 1
    assert join(pieces) == first.snapshot()
    assert [bytes(piece) for piece in split(first.snapshot())] == pieces
    same = [a is b for a, b in zip(first.pieces(), pieces, strict=True)]
    assert all(same[same.index(True) :]), "those of windows come first, then what seldom changes"
    second = engine()
    second.restore_pieces(pieces)
    assert second.pieces() == pieces


def test_a_snapshot_without_one_of_its_pieces_is_refused() -> None:
    first = engine()
    first.feed(Frames.of([(None, one) for one in TRADES]))
    pieces = first.pieces()
    for found in (pieces[:-1], pieces[:1], []):
        with pytest.raises(SnapshotError):
            engine().restore_pieces(found)
    with pytest.raises(SnapshotError):
        engine().restore(first.snapshot()[:-1])
