"""Files with secrets outlive a power failure, whichever part keeps them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tapeflow.api import private
from tapeflow.api.alerts.journal import Journal
from tapeflow.api.alerts.rulebook import Rulebook
from tapeflow.api.alerts.rules import Draft, Stale
from tapeflow.api.keys import KeyFile

pytestmark = pytest.mark.skipif(os.name == "nt", reason="folders cannot be synced there")


@pytest.mark.parametrize(
    ("keep", "name"),
    [
        (lambda folder: KeyFile(folder).create("a", ["read"]), "keys.json"),
        (lambda folder: Rulebook(folder).add(Draft(Stale("A", 1))), "alerts.json"),
        (lambda folder: Journal(folder).renew(b""), "alerts.journal"),
    ],
)
def test_the_file_and_then_its_name_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: Callable[[Path], object], name: str
) -> None:
    synced: list[bool] = []
    fsync = os.fsync

    def noted(file: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(file).st_mode))
        assert (tmp_path / name).exists() == synced[-1]
        fsync(file)

    monkeypatch.setattr(os, "fsync", noted)
    keep(tmp_path)
    assert synced == [False, True]
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert not list(tmp_path.glob(f".{name}*"))


def test_what_a_kill_left_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "a"
    (tmp_path / ".a.new").write_bytes(b"torn")
    assert private.read(path) is None
    private.write(path, b"whole")
    assert private.read(path) == b"whole"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
