"""One file in place of another."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tapeflow import files


def test_the_new_one_is_there_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    files.replace(path, b"one")
    (tmp_path / ".kept.json.new").write_bytes(b"of one that was killed")
    files.replace(path, b"two", sync=False)
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_secret_is_never_readable_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    whole = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (seen.append(stat.S_IMODE(os.fstat(file).st_mode)), whole(file)))
    files.replace(tmp_path / "secret", b"key", mode=0o600)
    assert seen[0] == 0o600
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@pytest.mark.skipif(os.name == "nt", reason="a disk that is full")
def test_the_old_one_stays_where_the_new_one_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.json"
    files.replace(path, b"one")

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.replace(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]
