"""What is appended is read, record by record, from any position."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeflow.domain.errors import TapeError
from tapeflow.engine.columns import LINE, NONE_TIME
from tapeflow.tape.compact import compact
from tapeflow.tape.reader import Block, TapeReader
from tapeflow.tape.records import LONGEST, Kind, Record
from tapeflow.tape.verify import verify
from tapeflow.tape.writer import TapeWriter

TIMES = (
    st.integers(-(2**63), 2**63 - 1) | st.integers(1_700_000_000_000_000, 1_700_000_100_000_000) | st.just(NONE_TIME)
)
TEXTS = st.text(st.characters(), max_size=20)
RECORDS = st.lists(
    st.tuples(
        st.sampled_from(Kind).map(int) | st.integers(0, 255), TEXTS, TIMES, TIMES, TEXTS, st.binary(max_size=300)
    ),
    max_size=30,
)


def write(writer: TapeWriter, records: list[Record]) -> None:
    for kind, connection, at, mono, head, body in records:
        writer.append(kind, connection, body, at=at, mono=mono, head=head)


def read(folder: Path, position: int = 0, limit_bytes: int = 4 << 20) -> list[Record]:
    with TapeReader(folder, position) as reader:
        found = []
        for block in reader.blocks(limit_bytes):
            assert block.first == position
            found += [block.record(i) for i in range(len(block))]
            position += len(block)
            assert reader.position == position
        assert reader.damage == []
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORDS, max_size=6), st.integers(200, 5000), st.data())
def test_any_records_come_back(groups: list[list[Record]], segment_bytes: int, data: st.DataObject) -> None:
    """In any groups, over segments and openings; from any position; in parts of any size; and after compaction."""
    everything = [record for group in groups for record in group]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for group in groups:
            with TapeWriter(folder, segment_bytes=segment_bytes) as writer:
                assert writer.recovered is None
                write(writer, group[: len(group) // 2])
                writer.commit()
                write(writer, group[len(group) // 2 :])
        if not groups:
            TapeWriter(folder).close()
        assert read(folder) == everything
        position = data.draw(st.integers(0, len(everything)))
        limit = data.draw(st.integers(1, 1000))
        assert read(folder, position, limit) == everything[position:]
        compact(folder, level=1)
        assert read(folder, position, limit) == everything[position:]
        assert verify(folder).is_whole


def test_columns(tmp_path: Path) -> None:
    with TapeWriter(tmp_path) as writer:
        writer.append(Kind.CONNECT, "a", b"", at=1_000, mono=5, head="wss://x")
        writer.append(Kind.FRAME, "a", b'{"e":1}', at=2_000, mono=6)
        writer.append(Kind.ANSWER, "b", b"[]", at=1_500, mono=7, head="200 /depth?symbol=X")
    with TapeReader(tmp_path) as reader:
        block = reader.read()
        assert reader.read() is None
    assert isinstance(block, Block)
    assert (block.first, len(block), block.names) == (0, 3, ["a", "b"])
    assert block.kinds.dtype == np.uint8
    assert block.kinds.tolist() == [5, 1, 2]
    assert block.connections.dtype == np.uint16
    assert block.connections.tolist() == [0, 0, 1]
    assert block.lines.dtype == LINE
    assert block.ts_recv.tolist() == block.lines["ts_recv"].tolist() == [1_000, 2_000, 1_500]
    assert block.mono.tolist() == [5, 6, 7]
    assert [block.head(i) for i in range(3)] == ["wss://x", "", "200 /depth?symbol=X"]
    assert [block.body(i) for i in range(3)] == [b"", b'{"e":1}', b"[]"]
    assert [block.buffer[start:end] for start, end, _ in block.lines.tolist()] == [b"", b'{"e":1}', b"[]"]


def test_many_records_and_long_ones(tmp_path: Path) -> None:
    """More records than a block may have, more connections than a byte counts, bodies longer than a block."""
    records: list[Record] = [(1, f"c{i % 300}", i, i, "", b"%d" % i) for i in range(70_000)]
    records += [(1, "long", 1, 1, "", bytes(size)) for size in (9 << 20, 1, 70_000)]
    with TapeWriter(tmp_path) as writer:
        write(writer, records)
        assert writer.commit() == len(records)
        assert writer.waiting == 0
    assert read(tmp_path) == records


def test_a_record_that_is_too_long_is_refused_alone(tmp_path: Path) -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return LONGEST + 1

    with TapeWriter(tmp_path) as writer:
        writer.append(1, "a", b"1", at=1, mono=1)
        with pytest.raises(TapeError, match="split it"):
            writer.append(1, "a", Long(), at=1, mono=1)
        assert writer.commit() == 1
