"""A block on disk: records as columns, readable without anything outside of it.

::

    magic 8 | version u2 | codec u1 | widths 5 x u1 | count u4 | first position u8
    | least, greatest and first receive time 3 x i8 | first skew i8
    | packed size u4 | raw size u4 | names size u4 | payload CRC-32 u4 | header CRC-32 u4 | payload

All numbers are little endian. The payload, raw: names | kinds u1 | connections | receive times, as differences |
skews (monotonic less receive time), as differences | head sizes | body sizes | heads | bodies. The five widths are
the bytes per value of the columns after ``kinds``: each column is as narrow as its values allow.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import zstandard

from tapeflow.domain.errors import TapeError
from tapeflow.engine.columns import LINE, NONE_TIME
from tapeflow.tape.blocks import Block, Column
from tapeflow.tape.records import TEXT, Record

MAGIC = b"\x89TAPE\r\n\x1a"
VERSION = 1
#: Codecs: both are zstandard; the second marks what `compact` made.
FRESH = 1
COMPACTED = 2

_HEADER = struct.Struct("<8sHB5sIQqqqqIIIII")
_CHECKED = _HEADER.size - 4
HEADER_SIZE = _HEADER.size

#: A block holds at most so many records, so an index of a connection fits two bytes.
MOST_RECORDS = 1 << 16

_Types = dict[int, np.dtype[Any]]
_UNSIGNED: _Types = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}
_SIGNED: _Types = {1: np.dtype("<i1"), 2: np.dtype("<i2"), 4: np.dtype("<i4"), 8: np.dtype("<i8")}


class Header(NamedTuple):
    """What a block says of itself; `unpack` gives only headers whose checksum is right."""

    codec: int
    widths: bytes
    records: int
    first: int
    ts_min: int
    ts_max: int
    ts_first: int
    skew_first: int
    packed: int
    raw: int
    names: int
    checksum: int

    @property
    def size(self) -> int:
        """Bytes of the whole block."""
        return HEADER_SIZE + self.packed

    @property
    def next(self) -> int:
        """The position after the last record."""
        return self.first + self.records


class Columns(NamedTuple):
    """Records as columns, before they are a block; ``texts`` are the heads, then the bodies, in pieces."""

    names: Sequence[str]
    kinds: bytes
    connections: Column
    ts_recv: Column
    mono: Column
    head_sizes: Column
    body_sizes: Column
    texts: Sequence[bytes | memoryview]


def encode(first: int, records: Sequence[Record], compressor: zstandard.ZstdCompressor) -> bytes:
    """A whole block of at least one and at most `MOST_RECORDS` records."""
    kinds, connections, ts, mono, heads, bodies = zip(*records, strict=True)
    index = {name: i for i, name in enumerate(dict.fromkeys(connections))}
    head_texts = [head.encode(*TEXT) for head in heads] if any(heads) else []
    columns = Columns(
        names=list(index),
        kinds=bytes(kinds),
        connections=np.array([index[name] for name in connections] if len(index) > 1 else [0] * len(records)),
        ts_recv=np.array(ts, np.int64),
        mono=np.array(mono, np.int64),
        head_sizes=np.array(list(map(len, head_texts)) or [0] * len(records)),
        body_sizes=np.array(list(map(len, bodies))),
        texts=(*head_texts, *bodies),
    )
    return pack(first, columns, compressor, FRESH)


def pack(first: int, columns: Columns, compressor: zstandard.ZstdCompressor, codec: int) -> bytes:
    """A whole block of these columns."""
    ts = columns.ts_recv
    skew = columns.mono - ts
    narrow = (
        _narrow(columns.connections, _UNSIGNED),
        _narrow(_steps(ts), _SIGNED),
        _narrow(_steps(skew), _SIGNED),
        _narrow(columns.head_sizes, _UNSIGNED),
        _narrow(columns.body_sizes, _UNSIGNED),
    )
    names = b"".join(_sized(name.encode(*TEXT)) for name in columns.names)
    raw = b"".join((names, columns.kinds, *(column.tobytes() for column in narrow), *columns.texts))
    payload = compressor.compress(raw)
    timed = ts[ts != NONE_TIME]
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        codec,
        bytes(column.itemsize for column in narrow),
        len(ts),
        first,
        int(timed.min()) if len(timed) else NONE_TIME,
        int(timed.max()) if len(timed) else NONE_TIME,
        int(ts[0]),
        int(skew[0]),
        len(payload),
        len(raw),
        len(names),
        zlib.crc32(payload),
        0,
    )[:_CHECKED]
    return b"".join((header, zlib.crc32(header).to_bytes(4, "little"), payload))


def join(blocks: Sequence[Block]) -> Columns:
    """The columns of whole blocks that follow each other, as one."""
    names = list(dict.fromkeys(name for block in blocks for name in block.names))
    index = {name: i for i, name in enumerate(names)}
    maps = [np.array([index[name] for name in block.names]) for block in blocks]
    return Columns(
        names=names,
        kinds=b"".join(block.kinds.tobytes() for block in blocks),
        connections=np.concatenate([map[block.connections] for map, block in zip(maps, blocks, strict=True)]),
        ts_recv=np.concatenate([block.ts_recv for block in blocks]),
        mono=np.concatenate([block.mono for block in blocks]),
        head_sizes=np.concatenate([block.head_sizes for block in blocks]),
        body_sizes=np.concatenate([block.lines["end"] - block.lines["start"] for block in blocks]),
        texts=[*(block.all_heads for block in blocks), *(block.all_bodies for block in blocks)],
    )


def unpack(data: bytes | memoryview) -> Header | str:
    """The header that ``data`` begins with, or what is wrong with it; raises `TapeError` if it is of the future.

    A block of a later version is good: to take it for damage would be to cut it off.
    """
    magic, version, codec, widths, *numbers, checksum = _HEADER.unpack_from(data)
    if magic != MAGIC:
        return "no block begins here"
    if zlib.crc32(data[:_CHECKED]) != checksum:
        return "the checksum of the block's header is wrong"
    if version != VERSION or codec not in (FRESH, COMPACTED):
        raise TapeError(
            f"the tape has a block of version {version}, codec {codec}; "
            f"this Tapeflow reads version {VERSION}: upgrade it"
        )
    return Header(codec, widths, *numbers)


def decode(header: Header, payload: bytes | memoryview) -> Block | str:
    """The block of a header and its payload, or what is wrong with it. Checks nothing but the form."""
    try:
        raw = zstandard.ZstdDecompressor().decompress(payload, max_output_size=header.raw)
        return _columns(header, raw)
    except (zstandard.ZstdError, ValueError, KeyError, UnicodeDecodeError) as error:
        return f"the checksum is right but the payload cannot be read ({error})"


def kinds(header: Header, payload: bytes | memoryview) -> Column:
    """Only the kinds of a block, without unpacking the rest of it."""
    size = header.names + header.records
    with zstandard.ZstdDecompressor().stream_reader(payload) as stream:
        return np.frombuffer(stream.read(size)[header.names :], np.uint8)


def _columns(header: Header, raw: bytes) -> Block:
    count, at = header.records, header.names
    tables = (_UNSIGNED, _SIGNED, _SIGNED, _UNSIGNED, _UNSIGNED)
    types = [np.dtype("u1"), *(table[width] for table, width in zip(tables, header.widths, strict=True))]
    found: list[Column] = []
    for type in types:
        found.append(np.frombuffer(raw, type, count, at))
        at += count * type.itemsize
    which, connections, ts_steps, skew_steps, head_sizes, body_sizes = found
    heads = None
    if head_sizes.any():
        heads = np.empty((count, 2), np.int64)
        heads[:, 1] = np.cumsum(head_sizes, dtype=np.int64) + at
        heads[:, 0] = heads[:, 1] - head_sizes
        at = int(heads[-1, 1])
    lines = np.empty(count, LINE)
    end = np.cumsum(body_sizes, dtype=np.int64) + at
    if int(end[-1]) != len(raw):
        raise ValueError(f"its columns are of {int(end[-1])} bytes, it has {len(raw)}")
    ts = np.cumsum(ts_steps, dtype=np.int64) + header.ts_first
    lines["start"], lines["end"], lines["ts_recv"] = end - body_sizes, end, ts
    mono = np.cumsum(skew_steps, dtype=np.int64) + header.skew_first + ts
    return Block(
        header.first, _names(raw[: header.names]), raw, which, connections.astype(np.uint16), mono, lines, heads
    )


def _sized(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + text


def _names(data: bytes) -> list[str]:
    names, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        names.append(data[at + 4 : end].decode(*TEXT))
        at = end
    return names


def _narrow(values: Column, widths: _Types) -> Column:
    """The values in the narrowest of these types that holds them all."""
    low, high = int(values.min()), int(values.max())
    for width, type in widths.items():
        least, most = (0, 1 << 8 * width) if type.kind == "u" else (-1 << 8 * width - 1, 1 << 8 * width - 1)
        if least <= low and high < most:
            return values.astype(type)
    raise ValueError(f"expected values of at most 4 bytes, got {high}")


def _steps(values: Column) -> Column:
    """The first as 0, of each other by how much it differs from the one before."""
    steps = np.empty_like(values)
    steps[0] = 0
    np.subtract(values[1:], values[:-1], out=steps[1:])
    return steps
