"""Tailing: a reader follows a writer, over segments, compaction and what was cut off."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tapeflow.domain.errors import TapeError
from tapeflow.tape.compact import compact
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.retain import retain
from tapeflow.tape.segments import segments
from tapeflow.tape.writer import TapeWriter


def put(writer: TapeWriter, first: int, count: int, size: int = 40) -> None:
    for i in range(first, first + count):
        writer.append(1, "c", b"%0*d" % (size, i), at=i, mono=i)
    writer.commit()


def numbers(reader: TapeReader) -> list[int]:
    return [int(block.body(i)) for block in reader.blocks() for i in range(len(block))]


def test_it_tails_across_segments(tmp_path: Path) -> None:
    with TapeWriter(tmp_path, segment_bytes=300) as writer, TapeReader(tmp_path) as reader:
        assert reader.read() is None
        for at in range(0, 200, 10):
            put(writer, at, 10)
            assert numbers(reader) == list(range(at, at + 10))
            assert reader.read() is None
        assert len(segments(tmp_path)) > 5
        assert reader.damage == []


def test_it_reads_while_another_thread_writes(tmp_path: Path) -> None:
    total = 20_000
    found: list[int] = []

    def follow() -> None:
        with TapeReader(tmp_path) as reader:
            while len(found) < total:
                found.extend(numbers(reader))
            assert reader.damage == []

    with TapeWriter(tmp_path, segment_bytes=20_000) as writer:
        thread = threading.Thread(target=follow)
        thread.start()
        for at in range(0, total, 50):
            put(writer, at, 50)
        thread.join(30)
    assert found == list(range(total))


def test_a_block_that_is_written_piece_by_piece_is_no_damage(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    with TapeWriter(source) as writer:
        put(writer, 0, 5)
        put(writer, 5, 5)
    data = segments(source)[0].read_bytes()
    target.mkdir()
    with (target / segments(source)[0].name).open("wb", buffering=0) as file, TapeReader(target) as reader:
        found = []
        for i in range(len(data)):
            file.write(data[i : i + 1])
            found += numbers(reader)
        assert found == list(range(10))
        assert reader.damage == []


def test_what_a_writer_cut_off_and_wrote_anew_is_read_anew(tmp_path: Path) -> None:
    with TapeWriter(tmp_path) as writer:
        put(writer, 0, 5)
    path = segments(tmp_path)[0]
    whole = path.stat().st_size
    with TapeWriter(tmp_path) as writer:
        put(writer, 5, 5, size=500)
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    with TapeReader(tmp_path) as reader:
        assert numbers(reader) == list(range(5))
        assert reader.torn() is not None
        with TapeWriter(tmp_path) as writer:
            assert writer.recovered is not None
            assert writer.recovered.offset == whole
            put(writer, 5, 3)
            assert numbers(reader) == [5, 6, 7]
        assert reader.damage == []
        assert reader.torn() is None


def test_positions_before_and_after_what_is_there(tmp_path: Path) -> None:
    with TapeWriter(tmp_path, segment_bytes=300) as writer:
        for at in range(0, 100, 10):
            put(writer, at, 10)
        assert retain(tmp_path, max_age_s=None, max_bytes=0, now_us=0, keep_from=45)
        first = int(segments(tmp_path)[0].name[5:25])
        assert 0 < first <= 45
        with TapeReader(tmp_path) as reader, TapeReader(tmp_path, 100) as ahead, TapeReader(tmp_path, 105) as beyond:
            assert numbers(reader) == list(range(first, 100))
            assert reader.damage == []  # what was removed on purpose is no damage
            assert ahead.read() is None
            put(writer, 100, 10)
            assert numbers(ahead) == list(range(100, 110))
            assert numbers(beyond) == list(range(105, 110))


def test_it_stays_in_a_segment_that_is_compacted_under_it(tmp_path: Path) -> None:
    with TapeWriter(tmp_path, segment_bytes=2000) as writer:
        for at in range(0, 400, 4):
            put(writer, at, 4)
        with TapeReader(tmp_path) as reader:
            block = reader.read()
            assert block is not None
            assert len(block) == 4
            assert compact(tmp_path)
            assert numbers(reader) == list(range(4, 400))
            assert reader.damage == []


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    with TapeWriter(tmp_path, segment_bytes=300) as writer:
        for at in range(0, 100, 10):
            put(writer, at, 10)
    paths = segments(tmp_path)
    lost = range(int(paths[2].name[5:25]), int(paths[3].name[5:25]))
    paths[2].unlink()
    with TapeReader(tmp_path) as reader:
        assert numbers(reader) == [i for i in range(100) if i not in lost]
        assert [(one.first, one.last, one.size) for one in reader.damage] == [(lost[0], lost[-1], 0)]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="expected the folder of a tape"):
        TapeReader(tmp_path / "nowhere")


def test_seeking_skips_without_unpacking(tmp_path: Path) -> None:
    with TapeWriter(tmp_path) as writer:
        for at in range(0, 20_000, 10):
            put(writer, at, 10)
    began = time.perf_counter()
    with TapeReader(tmp_path, 19_995) as reader:
        assert numbers(reader) == list(range(19_995, 20_000))
    assert time.perf_counter() - began < 5
