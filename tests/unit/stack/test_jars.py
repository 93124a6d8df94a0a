"""Jars of a lock: fetched whole or not at all, and held against their checksums. A stand-in takes Maven's place."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from tapeflow.domain.errors import StackError
from tapeflow.stack import jars, kafka
from tapeflow.stack.jars import Jar, Lock

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stack runs on Linux")

CONTENT = {"one-1.0.jar": b"first", "two-2.1.jar": b"second"}

MAVEN = """\
#!{python}
import pathlib, sys
to = next(pathlib.Path(word.partition("=")[2]) for word in sys.argv if word.startswith("-DoutputDirectory="))
to.mkdir()
for jar in pathlib.Path({jars!r}).glob("*.jar"):
    (to / jar.name).write_bytes(jar.read_bytes())
    print(f"[INFO] Downloaded from somewhere: its/place/{{jar.name}} (1 kB at 2 kB/s)")
"""


def lock() -> Lock:
    made = [
        Jar(f"org.example:{name.replace('-', ':').removesuffix('.jar')}", hashlib.sha256(held).hexdigest(), len(held))
        for name, held in CONTENT.items()
    ]
    return Lock((made[0].name,), tuple(made))


def maven(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "bin" / "mvn"
    path.parent.mkdir()
    path.write_text(script)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What Maven fetches from."""
    folder = tmp_path / "remote"
    folder.mkdir()
    for name, held in CONTENT.items():
        (folder / name).write_bytes(held)
    maven(tmp_path, monkeypatch, MAVEN.format(python=sys.executable, jars=str(folder)))
    return folder


def test_jars_are_fetched_once_and_progress_is_told(tmp_path: Path, remote: Path) -> None:
    seen: list[tuple[int, int]] = []
    jars.fetch(lock(), tmp_path / "cache", lambda done, total: seen.append((done, total)))
    assert sorted(path.name for path in lock().folder(tmp_path / "cache").iterdir()) == sorted(CONTENT)
    assert seen[-1] == (lock().bytes, lock().bytes)
    (remote / "one-1.0.jar").unlink()  # it is not asked again
    jars.fetch(lock(), tmp_path / "cache", None)


def test_a_jar_that_differs_is_named_and_nothing_is_kept(tmp_path: Path, remote: Path) -> None:
    (remote / "two-2.1.jar").write_bytes(b"something else")
    with pytest.raises(StackError, match=rf"two-2.1.jar: expected SHA-256 {lock().jars[1].sha256}, got [0-9a-f]{{64}}"):
        jars.fetch(lock(), tmp_path / "cache", None)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_was_changed_is_not_used(tmp_path: Path, remote: Path) -> None:
    cache = tmp_path / "cache"
    jars.fetch(lock(), cache, None)
    folder = lock().folder(cache)
    (folder / "one-1.0.jar").write_bytes(b"cut")
    (folder / "two-2.1.jar").unlink()
    (folder / "three-3.jar").write_bytes(b"more")
    with pytest.raises(StackError, match="remove the folder") as caught:
        jars.fetch(lock(), cache, None)
    for said in ("one-1.0.jar: expected", "two-2.1.jar: missing", "three-3.jar: not in the lock"):
        assert said in str(caught.value)


def test_what_maven_complains_of_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maven(tmp_path, monkeypatch, "#!/bin/sh\necho '[ERROR] Could not find artifact one:1.0'\nexit 1\n")
    with pytest.raises(StackError, match=r"mvn could not fetch the jars:\n  Could not find artifact one:1\.0"):
        jars.fetch(lock(), tmp_path / "cache", None)


def test_a_lock_is_read_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "lock.toml").write_text(jars.written(lock()))
    assert jars.read_lock(tmp_path / "lock.toml") == lock()


def test_the_lock_of_kafka_is_of_its_roots_and_names_no_place() -> None:
    read = jars.read_lock(kafka.LOCK)
    assert read.roots == kafka.ROOTS
    assert set(read.roots) <= {jar.name for jar in read.jars}
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in read.jars)
    assert "://" not in kafka.LOCK.read_text()
