"""Flipped bits, cuts, garbage: a damage costs at most its block and is named; writing goes on."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tapeflow.domain.errors import TapeError
from tapeflow.tape.encoding import HEADER_SIZE, MAGIC
from tapeflow.tape.reader import TapeReader
from tapeflow.tape.records import Damage
from tapeflow.tape.segments import SegmentFile, segments
from tapeflow.tape.verify import contents, verify
from tapeflow.tape.writer import TapeWriter

PER_BLOCK = 4
BLOCKS = 5
ALL = list(range(PER_BLOCK * BLOCKS))


def body(i: int) -> bytes:
    return b'{"number":%d,"text":"%x"}' % (i, i * 0x9E3779B97F4A7C15)


@dataclass
class Tape:
    """A small tape of one segment: its bytes, and where each block begins."""

    folder: Path
    path: Path
    data: bytes
    offsets: list[int]

    def spoil(self, data: bytes) -> None:
        self.path.write_bytes(data)

    def block_at(self, offset: int) -> int:
        return max(i for i, at in enumerate(self.offsets) if at <= offset)

    def read(self) -> tuple[list[int], list[Damage]]:
        with TapeReader(self.folder) as reader:
            found = []
            for block in reader.blocks():
                for i in range(len(block)):
                    number = block.first + i
                    assert block.record(i) == (1, "c", number * 10, number, "", body(number))
                    found.append(number)
            return found, reader.damage

    def write_on(self) -> TapeWriter:
        """Open it as a writer does after a crash, and add two records."""
        with TapeWriter(self.folder) as writer:
            for i in range(writer.position, writer.position + 2):
                writer.append(1, "c", body(i), at=i * 10, mono=i)
        return writer


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    with TapeWriter(tmp_path / "tape") as writer:
        for i in ALL:
            writer.append(1, "c", body(i), at=i * 10, mono=i)
            if i % PER_BLOCK == PER_BLOCK - 1:
                writer.commit()
    path = segments(tmp_path / "tape")[0]
    file = SegmentFile(path)
    offsets = [piece.offset for piece in file.pieces()]
    file.close()
    assert len(offsets) == BLOCKS
    return Tape(tmp_path / "tape", path, path.read_bytes(), offsets)


def of_block(block: int) -> list[int]:
    return ALL[block * PER_BLOCK : (block + 1) * PER_BLOCK]


def check_flip(tape: Tape, offset: int, bit: int) -> None:
    data = bytearray(tape.data)
    data[offset] ^= 1 << bit
    tape.spoil(data)
    block = tape.block_at(offset)
    lost = of_block(block)
    found, _ = tape.read()
    assert found == [i for i in ALL if i not in lost], (offset, bit)
    report = verify(tape.folder)
    assert [(one.segment, one.offset, one.first) for one in report.damage] == [
        (tape.path.name, tape.offsets[block], lost[0])
    ], (offset, bit)
    damage = report.damage[0]
    if block < BLOCKS - 1:
        assert damage.last == lost[-1]
        assert damage.offset + damage.size == tape.offsets[block + 1]
        assert damage.ts_first is None or damage.ts_first <= lost[0] * 10
        assert damage.ts_last is not None
        assert damage.ts_last >= lost[-1] * 10
    assert report.records == len(found)


@pytest.mark.parametrize("bit", [0, pytest.param(None, marks=pytest.mark.slow)])
def test_a_flipped_bit_costs_its_block_and_is_named(tape: Tape, bit: int | None) -> None:
    """One bit of every byte of every region: magic, version, header, checksums, payload; all of them when slow."""
    for offset in range(len(tape.data)):
        for each in [(offset * 5 + bit) % 8] if bit is not None else range(8):
            check_flip(tape, offset, each)


def test_a_writer_goes_on_after_a_flipped_bit(tape: Tape) -> None:
    for offset in range(0, len(tape.data), 7):
        data = bytearray(tape.data)
        data[offset] ^= 0x10
        tape.spoil(data)
        block = tape.block_at(offset)
        lost = of_block(block)
        writer = tape.write_on()
        left = [i for i in ALL if i not in lost]
        if block == BLOCKS - 1 and offset - tape.offsets[block] < HEADER_SIZE:
            # Nothing after it tells that it was whole: it is cut off, and reported.
            assert writer.recovered is not None
            assert (writer.recovered.offset, writer.recovered.first) == (tape.offsets[block], lost[0])
            assert tape.read() == ([*left, lost[0], lost[1]], [])
        else:
            assert writer.recovered is None
            found, damage = tape.read()
            assert found == [*left, ALL[-1] + 1, ALL[-1] + 2]
            assert [(one.first, one.last) for one in damage] == [(lost[0], lost[-1])]


def test_a_cut_at_any_byte_costs_its_block(tape: Tape) -> None:
    for size in range(len(tape.data)):
        tape.spoil(tape.data[:size])
        whole = sum(1 for at in [*tape.offsets[1:], len(tape.data)] if at <= size)
        left = ALL[: whole * PER_BLOCK]
        assert tape.read() == (left, [])
        is_torn = size not in tape.offsets
        torn = verify(tape.folder).damage
        assert [(one.offset, one.first) for one in torn] == ([(tape.offsets[whole], len(left))] if is_torn else [])
        writer = tape.write_on()
        assert (writer.recovered is not None) == is_torn
        if writer.recovered is not None:
            assert writer.recovered.segment == tape.path.name
            assert writer.recovered.size == size - tape.offsets[whole]
        assert tape.read() == ([*left, len(left), len(left) + 1], [])
        assert verify(tape.folder).is_whole


@pytest.mark.parametrize("seed", range(20))
def test_garbage_between_blocks_costs_nothing(tape: Tape, seed: int) -> None:
    chance = random.Random(seed)
    garbage = chance.randbytes(chance.randrange(1, 5000))
    if seed % 3 == 0:
        garbage += MAGIC + garbage[:50]
    if seed % 3 == 1 and seed % BLOCKS:
        garbage += tape.data[:HEADER_SIZE]  # a good header of earlier positions is no block
    at = tape.offsets[seed % BLOCKS]
    tape.spoil(tape.data[:at] + garbage + tape.data[at:])
    found, damage = tape.read()
    assert found == ALL
    assert sum(one.size for one in damage) == len(garbage)
    assert all(one.lost == 0 for one in damage)
    assert not verify(tape.folder).is_whole


@pytest.mark.parametrize("seed", range(40))
def test_bytes_missing_or_added_cost_their_block(tape: Tape, seed: int) -> None:
    chance = random.Random(seed)
    at = chance.randrange(tape.offsets[-1])
    block = tape.block_at(at)
    if seed % 2:
        data = tape.data[:at] + chance.randbytes(chance.randrange(1, 50)) + tape.data[at:]
    else:
        data = tape.data[:at] + tape.data[min(at + chance.randrange(1, 50), tape.offsets[block + 1]) :]
    tape.spoil(data)
    found, damage = tape.read()
    if at in tape.offsets and seed % 2:
        assert found == ALL
    else:
        assert found == [i for i in ALL if i not in of_block(block)]
        assert sum(one.lost for one in damage) == PER_BLOCK
    assert damage


def test_zeros_after_a_power_failure(tape: Tape) -> None:
    """Blocks whose pages never reached the disk: those before and after them stay."""
    data = bytearray(tape.data)
    data[tape.offsets[1] + 10 : tape.offsets[3]] = bytes(tape.offsets[3] - tape.offsets[1] - 10)
    tape.spoil(data)
    found, damage = tape.read()
    assert found == of_block(0) + of_block(3) + of_block(4)
    assert [(one.first, one.last) for one in damage] == [(4, 11)]
    tape.spoil(tape.data[: tape.offsets[3]] + bytes(10_000))
    writer = tape.write_on()
    assert writer.recovered is not None
    assert tape.read() == (list(range(14)), [])


def test_damage_in_a_sealed_segment_stays_in_it(tmp_path: Path) -> None:
    with TapeWriter(tmp_path, segment_bytes=500) as writer:
        for i in range(60):
            writer.append(1, "c", body(i), at=i, mono=i)
            if i % 3 == 2:
                writer.commit()
    paths = segments(tmp_path)
    for path, following in pairwise(paths):
        data = path.read_bytes()
        for cut in (0, 5, HEADER_SIZE, len(data) - 1):
            path.write_bytes(data[:cut])
            report = verify(tmp_path)
            last = int(following.name[5:25]) - 1
            assert {one.segment for one in report.damage} <= {path.name, following.name}
            assert report.damage[-1].last == last
            assert report.records + sum(one.lost for one in report.damage) == 60
        path.write_bytes(data)
    assert verify(tmp_path).is_whole
    assert sum(one.records for one in contents(tmp_path)) == 60


def test_a_block_that_is_there_twice_is_read_once(tape: Tape) -> None:
    first, second, third = tape.offsets[:3]
    tape.spoil(tape.data[:third] + tape.data[first:third] + tape.data[third:])
    found, damage = tape.read()
    assert found == ALL
    assert [(one.offset, one.size, one.lost) for one in damage] == [
        (third, second - first, 0),
        (third + second - first, third - second, 0),
    ]
    assert tape.write_on().recovered is None
    assert tape.read()[0] == [*ALL, ALL[-1] + 1, ALL[-1] + 2]


def test_a_block_of_a_later_version_is_left_alone(tape: Tape) -> None:
    """It is no damage: neither skipped, nor cut off."""
    at = tape.offsets[-1]
    header = bytearray(tape.data[at : at + HEADER_SIZE])
    header[8] = 2
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    data = tape.data[:at] + header + tape.data[at + HEADER_SIZE :]
    tape.spoil(data)
    for work in (tape.read, tape.write_on, lambda: verify(tape.folder)):
        with pytest.raises(TapeError, match=r"version 2.*upgrade"):
            work()
    assert tape.path.read_bytes() == data
    tape.spoil(tape.data)
    assert tape.write_on().recovered is None  # the lock was let go


def test_damage_before_the_position_costs_nothing(tape: Tape) -> None:
    data = bytearray(tape.data)
    data[tape.offsets[1] + 5] ^= 1
    tape.spoil(data)
    with TapeReader(tape.folder, 13) as reader:
        assert [block.first for block in reader.blocks()] == [13, 16]
    with TapeReader(tape.folder, 5) as reader:  # within the damaged block
        assert [block.first for block in reader.blocks()] == [8, 12, 16]
        assert [(one.first, one.last) for one in reader.damage] == [(4, 7)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_whatever_happens_is_survived(tape: Tape, seed: int) -> None:
    """Several faults at once: what is read was written, in order and once; a writer goes on."""
    chance = random.Random(seed)
    data = bytearray(tape.data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data) + 1)
        size = chance.randrange(1, 300)
        match chance.randrange(5):
            case 0:
                data[at:at] = chance.randbytes(size)
            case 1:
                del data[at : at + size]
            case 2:
                data[at : at + size] = bytes(min(size, len(data) - at))
            case 3:
                data[at:at] = data[max(at - size, 0) : at]
            case _:
                data[at : at + 1] = chance.randbytes(1)
    tape.spoil(data)
    found, damage = tape.read()
    assert found == sorted(set(found))
    lost = {
        i for one in damage if one.first is not None and one.last is not None for i in range(one.first, one.last + 1)
    }
    upto = max(found, default=-1)
    assert set(range(upto + 1)) - set(found) <= lost  # every hole is named
    writer = tape.write_on()
    assert writer.position > upto + 1
    again, _ = tape.read()
    assert again[-2:] == [writer.position - 2, writer.position - 1]
    assert [i for i in again[:-2] if i in found] == found
