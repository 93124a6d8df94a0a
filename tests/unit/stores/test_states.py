"""Checkpoints as files: whole or not there, the newest good one counts, the first of each day stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeflow.domain.errors import StoreError
from tapeflow.domain.time import DAY, HOUR
from tapeflow.stores.states import States

STATE = [b"state of an engine " * 100, b"", b"more"]


def path(folder: Path, position: int) -> Path:
    return folder / f"state-{position:020d}.zst"


def test_a_state_is_what_was_saved(tmp_path: Path) -> None:
    states = States(tmp_path / "states")
    assert (states.positions(), states.load(1)) == ([], None)
    states.save(7, STATE, 5 * DAY)
    again = States(tmp_path / "states")
    assert (again.positions(), again.load(7), again.time(7)) == ([7], STATE, 5 * DAY)


def test_every_torn_file_is_passed_over(tmp_path: Path) -> None:
    states = States(tmp_path)
    states.save(7, STATE, DAY)
    whole = path(tmp_path, 7).read_bytes()
    for size in range(len(whole)):
        path(tmp_path, 7).write_bytes(whole[:size])
        assert states.load(7) is None
    path(tmp_path, 7).write_bytes(whole + b"x")
    assert states.load(7) is None


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    states = States(tmp_path)
    states.save(7, STATE, DAY)
    whole = path(tmp_path, 7).read_bytes()
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path(tmp_path, 7).write_bytes(flipped)
        assert states.load(7) is None


def test_the_newest_two_stay_and_the_first_of_each_day(tmp_path: Path) -> None:
    states = States(tmp_path)
    for n in range(1, 50):
        states.save(n, STATE, n * HOUR)  # 23 of the first day, 24 of the second, 2 of the third
    assert states.positions() == [1, 24, 48, 49]
    for n in range(50, 54):
        states.save(n, STATE, n * HOUR)
    assert states.positions() == [1, 24, 48, 52, 53]


def test_what_was_being_written_when_killed_is_removed(tmp_path: Path) -> None:
    states = States(tmp_path)
    states.save(1, STATE)
    torn = path(tmp_path, 2).with_name("." + path(tmp_path, 2).name)
    torn.write_bytes(b"half")
    assert States(tmp_path).positions() == [1]
    assert not torn.exists()


def test_a_tape_is_cut_at_the_last_state_that_is_old_enough(tmp_path: Path) -> None:
    states = States(tmp_path)
    for day in range(1, 6):
        states.save(day * 100, STATE, day * DAY)
    assert states.cut(3 * DAY + HOUR) == 300
    assert states.cut(3 * DAY) == 300
    assert states.cut(DAY - 1) == 0


def test_what_the_tape_does_not_reach_is_forgotten(tmp_path: Path) -> None:
    states = States(tmp_path)
    for day in range(1, 6):
        states.save(day * 100, STATE, day * DAY)
    states.forget_before(300)
    assert states.positions() == [300, 400, 500]
    states.forget_after(400)
    assert states.positions() == [300, 400]


def test_all_are_dropped_but_the_oldest_if_so_wished(tmp_path: Path) -> None:
    states = States(tmp_path)
    for day in range(1, 6):
        states.save(day * 100, STATE, day * DAY)
    states.drop(but_oldest=True)
    assert states.positions() == [100]
    states.drop()
    assert states.positions() == []


def test_a_disk_that_refuses_is_told_and_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "states"
    states = States(folder)
    states.save(1, STATE)
    path(folder, 2).mkdir()  # a folder where the file should be
    with pytest.raises(StoreError, match="cannot keep the state"):
        states.save(2, STATE)
    path(folder, 2).rmdir()
    assert states.load(1) == STATE
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another data folder"):
        States(tmp_path / "file")
