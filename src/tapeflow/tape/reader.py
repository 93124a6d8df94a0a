"""Reading a tape from any position, while it is written or after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tapeflow.tape.blocks import Block
from tapeflow.tape.encoding import decode
from tapeflow.tape.records import Damage, known
from tapeflow.tape.segments import Piece, SegmentFile, first_position, segments

__all__ = ["Block", "Damage", "TapeReader"]

LIMIT_BYTES = 4 << 20


class TapeReader:
    """Every record from ``position`` on once and in order; what is damaged is left out and named in ``damage``.

    The torn end of the last segment is no damage: a writer may be writing it. A position before the oldest that is
    kept begins at the oldest, one after the newest waits for it. Raises `TapeError` where there is no folder.
    """

    def __init__(self, folder: Path, position: int = 0) -> None:
        self.folder = folder
        self.position = position
        self.damage: list[Damage] = []
        self._segment: SegmentFile | None = None
        self._offset = 0
        self._expected: int | None = None  # the position that the next block of the segment should have
        self._ts: int | None = None  # the time before what comes next
        self._rest: Block | None = None
        segments(folder)

    @property
    def begins(self) -> int:
        """The position of the oldest record that is kept; 0 on a tape that was never cut, or is empty."""
        return min((first_position(path.name) for path in segments(self.folder)), default=0)

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def __enter__(self) -> TapeReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def place(self) -> tuple[str, int]:
        """The segment that is read and the offset in it; ("", 0) before the first."""
        return ("", 0) if self._segment is None else (self._segment.path.name, self._offset)

    def blocks(self, limit_bytes: int = LIMIT_BYTES) -> Iterator[Block]:
        """All blocks until the present end."""
        while (block := self.read(limit_bytes)) is not None:
            yield block

    def read(self, limit_bytes: int = LIMIT_BYTES) -> Block | None:
        """The next block, of at most about so many bytes; None if there is nothing more yet."""
        while self._rest is None:
            piece = self._next_piece()
            if piece is None:
                return None
            self._take(piece)
        block, self._rest = self._rest, None
        ends = block.lines["end"]
        stop = max(int(ends.searchsorted(int(block.lines["start"][0]) + limit_bytes, "right")), 1)
        if stop < len(block):
            self._rest = block.cut(stop, len(block))
            block = block.cut(0, stop)
        self.position = block.next
        return block

    def _take(self, piece: Piece) -> None:
        """Go beyond a piece: keep it as the next block, or name what is lost with it."""
        self._offset = piece.end
        header = piece.header
        if header is None:
            self._name(piece, piece.what)
            return
        if header.next <= min(self._expected or 0, self.position):
            assert self._segment is not None
            what = "a block that was there already is repeated"
            self.damage.append(Damage(self._segment.path.name, piece.offset, piece.size, what))
            return
        self._settle(header.first, known(header.ts_min))
        what = piece.what
        if not what and header.next > self.position:
            block = decode(header, piece.payload)
            if isinstance(block, Block):
                self._rest = block.cut(max(self.position - block.first, 0), len(block))
            else:
                what = block
        if what:
            self._name(piece, what)
        self._expected = max(header.next, self._expected or 0)
        self._ts = known(header.ts_max) or self._ts

    def _name(self, piece: Piece, what: str) -> None:
        assert self._segment is not None
        name, header = self._segment.path.name, piece.header
        if header is None:
            self.damage.append(Damage(name, piece.offset, piece.size, what, self._expected, None, self._ts))
            return
        last = header.next - 1
        times = known(header.ts_min), known(header.ts_max)
        self.damage.append(Damage(name, piece.offset, piece.size, what, header.first, last, *times))

    def _settle(self, first: int, ts: int | None) -> None:
        """The next record that is there has this position: complete what was named without an end."""
        before = self.damage[-1] if self.damage else None
        expected = self._expected
        if before is not None and before.last is None and before.first is not None:
            lost = first > before.first
            ends = (before.first, first - 1, before.ts_first, ts) if lost else (None, None, None, None)
            self.damage[-1] = Damage(before.segment, before.offset, before.size, before.what, *ends)
        elif expected is not None and first > expected:
            name = self._segment.path.name if self._segment is not None else ""
            what = "records are missing here"
            self.damage.append(Damage(name, self._offset, 0, what, expected, first - 1, self._ts, ts))
        self._expected = max(first, expected or 0)

    def torn(self) -> Damage | None:
        """The torn end of the last segment, once `read` has given None: damage if nobody is writing."""
        piece = None if self._segment is None else self._piece()
        if piece is None or self._segment is None:
            return None
        header = piece.header
        last = None if header is None else header.next - 1
        return Damage(self._segment.path.name, piece.offset, piece.size, piece.what, self._expected, last, self._ts)

    def _next_piece(self) -> Piece | None:
        """The next piece that will not change any more; None if there is none yet."""
        while True:
            if self._segment is None and not self._open_first():
                return None
            piece = self._piece()
            if piece is not None and not piece.is_torn:
                return piece
            following = self._following()
            if following is None:
                return None
            # Looked at again after the list of segments: one with a successor is not written to any more.
            piece = self._piece()
            if piece is not None:
                return piece
            if not self._open(following):
                return None

    def _piece(self) -> Piece | None:
        assert self._segment is not None
        assert self._expected is not None
        if self._expected < self.position:
            piece = self._segment.piece(self._offset, self._expected, payload=False)
            if piece is None or piece.header is None or piece.header.next <= self.position:
                return piece
        return self._segment.piece(self._offset, self._expected)

    def _following(self) -> Path | None:
        """The segment after the open one, if it is there."""
        assert self._segment is not None
        name = self._segment.path.name
        return next((path for path in segments(self.folder) if path.name > name), None)

    def _open_first(self) -> bool:
        """Open the segment that holds the position, or the oldest there is."""
        found = segments(self.folder)
        before = [path for path in found if first_position(path.name) <= self.position]
        path = before[-1] if before else next(iter(found), None)
        return path is not None and self._open(path)

    def _open(self, path: Path) -> bool:
        """Go on in another segment; False if it is gone, and then the next try finds another."""
        try:
            file = SegmentFile(path)
        except FileNotFoundError:
            return False
        first = first_position(path.name)
        self._settle(first, None)
        self.close()
        self._segment, self._offset, self._expected = file, 0, first
        return True
