"""The spool: puts from many threads are committed in groups, in order, and told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapeflow.domain.errors import TapeError
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.spool import Spool
from tapeflow.tape.writer import TapeWriter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[TapeWriter]:
    with TapeWriter(tmp_path) as one:
        yield one


def bodies(folder: Path) -> list[bytes]:
    with TapeReader(folder) as reader:
        return [block.body(i) for block in reader.blocks() for i in range(len(block))]


def test_what_is_put_is_committed_and_told(tmp_path: Path, writer: TapeWriter) -> None:
    told: list[int] = []
    spool = Spool(writer, on_commit=told.append)
    for i in range(1000):
        spool.put(1, "c", b"%d" % i, at=i, mono=i)
    assert spool.flush(10) == 1000
    assert bodies(tmp_path) == [b"%d" % i for i in range(1000)]
    assert spool.waiting_bytes == 0
    spool.stop()
    assert told == sorted(told)
    assert told[-1] == 1000
    counters = spool.counters
    assert (counters.records, counters.failures) == (1000, 0)
    assert counters.commits == len(told)
    assert writer.synced == 1000
    assert spool.error == ""


def test_it_commits_and_syncs_by_itself(writer: TapeWriter) -> None:
    committed = threading.Event()
    spool = Spool(writer, commit_ms=1, sync_ms=20, on_commit=lambda _: committed.set())
    spool.put(7, "", b"", at=1, mono=1)
    assert committed.wait(5)
    until = time.monotonic() + 5
    while writer.synced < 1 and time.monotonic() < until:
        time.sleep(0.005)
    assert writer.synced == 1
    spool.stop()


def test_threads_may_put_together(tmp_path: Path, writer: TapeWriter) -> None:
    spool = Spool(writer)

    def work(name: str) -> None:
        for i in range(2000):
            spool.put(1, name, f"{name} {i}".encode(), at=i, mono=i)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spool.flush(10) == 8000
    found = bodies(tmp_path)
    for name in "abcd":
        assert [body for body in found if body.startswith(name.encode())] == [
            f"{name} {i}".encode() for i in range(2000)
        ]
    spool.stop()
    assert spool.counters.records == 8000


def test_full_is_told_and_nothing_dropped(tmp_path: Path, writer: TapeWriter) -> None:
    spool = Spool(writer, commit_ms=200, limit_bytes=10_000)
    spool.put(1, "c", b"first", at=0, mono=0)
    time.sleep(0.05)
    while not spool.is_full:
        spool.put(1, "c", bytes(1000), at=0, mono=0)
    spool.put(1, "c", b"last", at=0, mono=0)
    assert spool.waiting_bytes >= 10_000
    spool.flush(10)
    assert not spool.is_full
    assert bodies(tmp_path)[-1] == b"last"
    spool.stop()


def test_after_stop_nothing_is_promised(writer: TapeWriter) -> None:
    spool = Spool(writer)
    spool.stop()
    spool.put(1, "c", b"", at=0, mono=0)
    with pytest.raises(TapeError, match="stopped"):
        spool.flush(5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_spool_that_died_says_so(writer: TapeWriter) -> None:
    def fail(position: int) -> None:
        raise RuntimeError(f"no use for {position}")

    spool = Spool(writer, on_commit=fail)
    spool.put(1, "c", b"", at=0, mono=0)
    until = time.monotonic() + 5
    while not spool.error and time.monotonic() < until:
        time.sleep(0.005)
    assert "no use for 1" in spool.error
    with pytest.raises(TapeError, match="no use for 1"):
        spool.stop()
