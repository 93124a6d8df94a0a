"""Index, compaction, retention: they change what a tape costs, never what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeflow.domain.errors import TapeError
from tapeflow.tape import index
from tapeflow.tape.compact import compact
from tapeflow.tape.lock import KEEPING, Lock
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.records import Record
from tapeflow.tape.retain import retain
from tapeflow.tape.segments import segments
from tapeflow.tape.verify import contents, verify
from tapeflow.tape.writer import TapeWriter

SECOND = 1_000_000


def fill(folder: Path, count: int = 300, step: int = 3) -> None:
    with TapeWriter(folder, segment_bytes=3000) as writer:
        for at in range(0, count, step):
            for i in range(at, at + step):
                head = f"200 /x?i={i}" if i % 7 == 0 else ""
                writer.append(2 if head else 1, f"c{i % 5}", b'{"i":%d}' % i, at=i * SECOND, mono=i, head=head)
            writer.commit()


def records(folder: Path, position: int = 0) -> list[Record]:
    with TapeReader(folder, position) as reader:
        found = [block.record(i) for block in reader.blocks() for i in range(len(block))]
        assert reader.damage == []
    return found


@pytest.mark.parametrize("spoil", ["nothing", "deleted", "damaged", "empty", "stale", "foreign"])
def test_the_index_is_only_a_cache(tmp_path: Path, spoil: str) -> None:
    fill(tmp_path)
    path = tmp_path / index.INDEX
    right = index.entries(tmp_path)
    assert len(right) > 3
    good = path.read_bytes()
    if spoil == "deleted":
        path.unlink()
    elif spoil == "damaged":
        path.write_bytes(good[:50] + b"9" + good[51:])
    elif spoil == "empty":
        path.write_bytes(b"")
    elif spoil == "foreign":
        path.write_bytes(b"00000000\n[]")
    elif spoil == "stale":
        compact(tmp_path)
        path.write_bytes(good)
        right = [index.scan(tmp_path / entry.name) for entry in right]
    assert index.entries(tmp_path) == right
    assert [entry.first for entry in right] == [int(path.name[5:25]) for path in segments(tmp_path)]
    assert [entry.next for entry in right[:-1]] == [entry.first for entry in right[1:]]
    assert right[0].ts_min == 0
    assert right[-1].ts_max == 299 * SECOND
    index.rebuild(tmp_path)
    assert index.entries(tmp_path) == right


def test_the_index_knows_what_the_writer_sealed(tmp_path: Path) -> None:
    fill(tmp_path)
    assert [one.name for one in index._load(tmp_path).values()] == [path.name for path in segments(tmp_path)[:-1]]
    assert list(index._load(tmp_path).values()) == [index.scan(path) for path in segments(tmp_path)[:-1]]


def test_compaction_changes_no_record_and_no_name(tmp_path: Path) -> None:
    fill(tmp_path)
    before, names = records(tmp_path), [path.name for path in segments(tmp_path)]
    kinds = [one.kinds for one in contents(tmp_path)]
    done = compact(tmp_path)
    assert [one.segment for one in done] == names[:-1]
    assert all(one.bytes_after < one.bytes_before / 2 and not one.skipped for one in done)
    assert [path.name for path in segments(tmp_path)] == names
    assert records(tmp_path) == before
    assert records(tmp_path, 100) == before[100:]
    assert [one.kinds for one in contents(tmp_path)] == kinds
    assert [one.is_compacted for one in contents(tmp_path)] == [True] * (len(names) - 1) + [False]
    assert compact(tmp_path) == []
    with TapeWriter(tmp_path) as writer:
        assert writer.position == len(before)


def test_a_damaged_segment_is_not_compacted(tmp_path: Path) -> None:
    fill(tmp_path)
    path = segments(tmp_path)[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = {one.segment: one for one in compact(tmp_path)}
    assert "damaged at byte" in done.pop(path.name).skipped
    assert not any(one.skipped for one in done.values())
    assert path.read_bytes() == data
    assert len(verify(tmp_path).damage) == 1


def test_retention_by_age_and_by_size(tmp_path: Path) -> None:
    fill(tmp_path)
    everything = index.entries(tmp_path)
    now = 299 * SECOND
    assert retain(tmp_path, max_age_s=1e9, max_bytes=1 << 40, now_us=now, keep_from=300) == []
    removed = retain(tmp_path, max_age_s=150, max_bytes=None, now_us=now, keep_from=300)
    assert removed == [entry for entry in everything[:-1] if (entry.ts_max or 0) < 149 * SECOND]
    assert removed
    left = index.entries(tmp_path)
    limit = left[-1].size + left[-2].size
    retain(tmp_path, max_age_s=None, max_bytes=limit, now_us=now, keep_from=300)
    assert index.entries(tmp_path) == left[-2:]
    retain(tmp_path, max_age_s=0, max_bytes=0, now_us=1 << 60, keep_from=1 << 60)
    assert index.entries(tmp_path) == left[-1:]
    assert verify(tmp_path).is_whole


def test_retention_never_cuts_what_is_to_be_kept(tmp_path: Path) -> None:
    for keep_from in range(0, 301, 7):
        folder = tmp_path / str(keep_from)
        fill(folder)
        retain(folder, max_age_s=0, max_bytes=0, now_us=1 << 60, keep_from=keep_from)
        first = index.entries(folder)[0].first
        assert first <= keep_from
        assert records(folder, keep_from)[0:1] == records(folder)[keep_from - first :][:1]
        assert len(records(folder)) == 300 - first


def test_one_keeper_at_a_time(tmp_path: Path) -> None:
    fill(tmp_path)
    lock = Lock(tmp_path, KEEPING, "compact the tape")
    with pytest.raises(TapeError, match="does so already"):
        compact(tmp_path)
    with pytest.raises(TapeError, match="does so already"):
        retain(tmp_path, max_age_s=0, max_bytes=0, now_us=0, keep_from=0)
    lock.release()
    assert compact(tmp_path)
