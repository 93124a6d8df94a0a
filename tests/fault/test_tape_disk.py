"""A disk that is full, read-only or limited, a second writer, a killed compaction: real ones."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapeflow.domain.errors import TapeError
from tapeflow.tape.compact import compact
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.records import Record
from tapeflow.tape.segments import segments
from tapeflow.tape.spool import Spool
from tapeflow.tape.verify import verify
from tapeflow.tape.writer import TapeWriter

linux = pytest.mark.skipif(sys.platform != "linux", reason="mounts and limits of Linux")


def noise(i: int, size: int = 20_000) -> bytes:
    """A body that cannot be packed."""
    return random.Random(i).randbytes(size)


def bodies(folder: Path) -> list[bytes]:
    with TapeReader(folder) as reader:
        found = [block.body(i) for block in reader.blocks() for i in range(len(block))]
        assert reader.damage == []
    return found


def disk_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in segments(folder))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tapeflow-test", str(folder)]
    if sys.platform != "linux" or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk; the limit of file sizes is tested instead")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_refuses_and_resumes(small_disk: Path) -> None:
    folder = small_disk / "tape"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(500_000))
    with TapeWriter(folder, segment_bytes=100_000) as writer:
        number = 0
        with pytest.raises(TapeError, match=r"No space left on device; free some space"):  # noqa: PT012
            while True:
                writer.append(1, "c", noise(number), at=number, mono=number)
                number += 1
                writer.commit()
        assert writer.waiting >= 20_000
        before = writer.position
        assert bodies(folder) == [noise(i) for i in range(before)]
        assert verify(folder).is_whole
        for _ in range(3):  # it goes on refusing, and nothing changes
            with pytest.raises(TapeError):
                writer.commit()
        assert sum(path.stat().st_size for path in segments(folder)) == verify(folder).bytes
        ballast.unlink()
        assert writer.commit() == number
        assert writer.waiting == 0
        writer.sync()
    assert bodies(folder) == [noise(i) for i in range(number)]
    assert verify(folder).is_whole


def test_a_spool_waits_out_a_full_disk(small_disk: Path) -> None:
    folder = small_disk / "tape"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(700_000))
    with TapeWriter(folder, segment_bytes=100_000) as writer:
        spool = Spool(writer, commit_ms=1, limit_bytes=300_000)
        number = 0
        until = time.monotonic() + 10
        while not spool.is_full and time.monotonic() < until:
            spool.put(1, "c", noise(number), at=number, mono=number)
            number += 1
            time.sleep(0.002)
        assert spool.is_full
        with pytest.raises(TapeError, match="No space left"):
            spool.flush(0.7)
        assert "No space left" in spool.error
        assert spool.counters.failures
        ballast.unlink()
        assert spool.flush(5) == number
        assert spool.error == ""
        assert not spool.is_full
        spool.stop()
    assert bodies(folder) == [noise(i) for i in range(number)]


def test_a_read_only_disk(small_disk: Path) -> None:
    folder = small_disk / "tape"
    with TapeWriter(folder) as writer:
        writer.append(1, "c", b"1", at=1, mono=1)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(TapeError, match="Read-only file system"):
        TapeWriter(folder)
    with pytest.raises(TapeError, match="Read-only file system"):
        TapeWriter(small_disk / "another")
    with pytest.raises(TapeError, match="Read-only file system"):
        compact(folder)
    assert bodies(folder) == [b"1"]  # reading works
    assert verify(folder).is_whole


def test_no_right_to_write(tmp_path: Path) -> None:
    if os.name == "nt" or os.getuid() == 0:
        pytest.skip("root may write everywhere; a disk that is read-only for root too is tested above")
    tmp_path.chmod(0o500)
    with pytest.raises(TapeError, match="Permission denied"):
        TapeWriter(tmp_path)
    tmp_path.chmod(0o700)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "tape").write_text("x")
    with pytest.raises(TapeError, match="cannot write to the tape"):
        TapeWriter(tmp_path / "tape")


LIMITED = """
import resource, sys
from pathlib import Path
from random import Random
from tapeflow.domain.errors import TapeError
from tapeflow.tape.writer import TapeWriter

folder = Path(sys.argv[1])
writer = TapeWriter(folder)
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
for i in range(20):
    writer.append(1, "c", Random(i).randbytes(20_000), at=i, mono=i)
    try:
        writer.commit()
    except TapeError as error:
        print(error)
        print(i, writer.position, (folder / "tape-00000000000000000000.tape").stat().st_size)
        break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(writer.commit())
writer.close()
"""


@linux
def test_a_write_that_is_cut_short_leaves_whole_blocks(tmp_path: Path) -> None:
    """The limit lies within a block: the system takes a part of it, then refuses."""
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    error, numbers, position = done.stdout.splitlines()
    assert "File too large; raise the limit of file sizes" in error
    failed, committed, size = map(int, numbers.split())
    assert failed == committed == 7
    assert 140_000 < size < 142_000  # seven whole blocks, nothing of the eighth
    assert int(position) == 8
    assert bodies(tmp_path) == [noise(i) for i in range(8)]


HOLDS = """
import sys
from pathlib import Path
from tapeflow.tape.writer import TapeWriter
writer = TapeWriter(Path(sys.argv[1]))
writer.append(1, "c", b"mine", at=1, mono=1)
writer.commit()
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(TapeError, match=rf"process {process.pid} does so already; stop it or choose another"):
            TapeWriter(tmp_path)
        report = verify(tmp_path)  # a reader may
        assert report.is_written
        assert report.records == 1
        process.kill()
        process.wait()
    with TapeWriter(tmp_path) as writer:  # the lock ends with its owner
        assert writer.position == 1
        with pytest.raises(TapeError, match=f"process {os.getpid()} does so already"):
            TapeWriter(tmp_path)
    assert not verify(tmp_path).is_written


COMPACTS = """
import sys
from pathlib import Path
from tapeflow.tape.compact import compact
compact(Path(sys.argv[1]), level=15)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_compaction_leaves_one_whole_version(tmp_path: Path) -> None:
    records: list[Record] = [(1, f"c{i % 3}", i, i, "", b'{"i":%d,"x":"%x"}' % (i, pow(i, 5))) for i in range(20_000)]
    with TapeWriter(tmp_path, segment_bytes=8_000) as writer:
        for at in range(0, len(records), 20):
            writer.extend(records[at : at + 20])
            writer.commit()
    names = [path.name for path in segments(tmp_path)]
    chance = random.Random(5)
    versions = {disk_size(tmp_path)}
    for _ in range(10):
        before = disk_size(tmp_path)
        command = [sys.executable, "-c", COMPACTS, str(tmp_path)]
        with subprocess.Popen(command) as process:
            while process.poll() is None and disk_size(tmp_path) == before:
                time.sleep(0.001)
            time.sleep(chance.random() * 0.02)
            process.send_signal(signal.SIGKILL)
        with TapeReader(tmp_path) as reader:
            assert [block.record(i) for block in reader.blocks() for i in range(len(block))] == records
            assert reader.damage == []
        assert [path.name for path in segments(tmp_path)] == names
        versions.add(disk_size(tmp_path))
    assert len(versions) > 2  # some were killed midway
    compact(tmp_path)
    assert not list(tmp_path.glob("*.part"))
    assert verify(tmp_path).is_whole
