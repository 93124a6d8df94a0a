"""The threads that write: a state after its rows, and a fault in either is not kept to itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tapeflow.app.committer import Committer, Job
from tapeflow.stores.states import States


class Store:
    """Takes rows, and says which state was there when it did."""

    def __init__(self, states: States) -> None:
        self._states = states
        self.seen: list[tuple[int, list[int]]] = []
        self.dropped: list[dict[str, int]] = []

    def retain(self, older_than: dict[str, int]) -> None:
        self.dropped.append(older_than)

    def commit(self, results: Any, position: int, **more: Any) -> int:
        self.seen.append((position, self._states.positions()))
        return 1


class Broken(States):
    def save(self, *given: Any) -> None:
        raise MemoryError("no room")


def committer(states: States) -> tuple[Committer, Store]:
    store = Store(states)
    made = Committer(store, states, done=lambda job, rows: None, failed=lambda error: None)  # type: ignore[arg-type]
    made.start()
    return made, store


def job(position: int) -> Job:
    return Job(None, position, state=[b"state", b"of", str(position).encode()])  # type: ignore[arg-type]


def test_a_state_is_kept_after_its_rows_and_before_the_end(tmp_path: Path) -> None:
    states = States(tmp_path)
    made, store = committer(states)
    made.submit(job(7))
    made.wait()
    made.submit(job(9))
    made.stop()
    assert store.seen == [(7, []), (9, [7])]
    assert [bytes(piece) for piece in states.load(9) or []] == [b"state", b"of", b"9"]


def test_a_state_that_cannot_be_written_for_an_unknown_reason_ends_the_run(tmp_path: Path) -> None:
    made, _ = committer(Broken(tmp_path))
    made.submit(job(7))
    with pytest.raises(MemoryError):
        made.wait()
    assert isinstance(made.failure, MemoryError)
    made.stop()


def test_what_was_replaced_is_looked_for_when_it_is_asked_for(tmp_path: Path) -> None:
    made, store = committer(States(tmp_path))
    for older_than in (None, {}, {"trades": 5}):
        made.submit(Job(None, 1, older_than=older_than))  # type: ignore[arg-type]
        made.wait()
    made.stop()
    assert store.dropped == [{}, {"trades": 5}]
