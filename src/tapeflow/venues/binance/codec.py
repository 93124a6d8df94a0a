"""`Binance` is the spot venue without I/O: frames and time in, events and actions out.

Trades pass as they come: their ids say which are new, and the engine's intake, which sees the frames of the compiled
reader too, keeps them.

Address of the documentation: github.com/binance/binance-spot-api-docs, read 2026-07-21.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tapeflow.domain.errors import SnapshotError, Unreadable
from tapeflow.domain.events import (
    BookDelta,
    BookSnapshot,
    Event,
    Kline,
    Output,
    Quarantine,
    Reconnect,
    Status,
)
from tapeflow.domain.instrument import Instrument, Instruments
from tapeflow.domain.time import SECOND
from tapeflow.venues.binance.dump import PREFIX, read_dump
from tapeflow.venues.binance.fields import SCALE, Reading
from tapeflow.venues.binance.frames import read_frame
from tapeflow.venues.binance.rest import read_answer
from tapeflow.venues.binance.sync import BookSync, BookSyncState
from tapeflow.venues.binance.wire import changes


class Counters(msgspec.Struct):
    """What was ignored so far."""

    unknown_fields: int = 0


class CodecState(msgspec.Struct):
    """The snapshot of a `Binance`."""

    version: int
    books: list[BookSyncState]
    instruments: list[Instrument]
    counters: Counters


_VERSION = 1


class Binance:
    """The state of one connection's symbols: where each book stands, and what is known of the instruments.

    Outputs depend on the frames, their order and the times given, and on nothing else.
    """

    name = "binance"
    price_scale = SCALE
    size_scale = SCALE
    #: How long after an event its frame usually comes; a candle of REST is closed when its end is that far behind.
    usual_delay_us = SECOND
    has_compiled_reader = True

    def __init__(self) -> None:
        #: Id and time up to which someone else has applied the deltas of a live book, or None: the engine's compiled
        #: reader takes those that follow on each other and leaves the rest to us.
        self.position: Callable[[str], tuple[int, int | None] | None] = _nowhere
        self.books: dict[str, BookSync] = {}
        self.instruments = Instruments()
        self.counters = Counters()

    @property
    def unknown_fields(self) -> int:
        """Fields that the reference does not describe: counted and ignored."""
        return self.counters.unknown_fields

    def receive(self, frame: bytes, at: int | None = None, request: str | None = None) -> list[Output]:
        """The outputs of a frame, or of the answer to ``request``; never raises, a frame of no use is a `Quarantine`.

        ``at`` is our receive time; only a candle of REST needs it, to be known as closed.
        """
        try:
            reading = _read(frame, request)
        except Unreadable as fault:
            return [Quarantine(fault.reason, fault.detail)]
        return self.accept(reading, at, is_answer=request is not None)

    def accept(self, reading: Reading, at: int | None = None, *, is_answer: bool = False) -> list[Output]:
        """The outputs of a frame read by `read_frame`, or of an answer read by `read_answer`."""
        self.counters.unknown_fields += reading.unknown_fields
        for instrument in reading.instruments:
            self.instruments.add(instrument)
        outputs: list[Output] = []
        for event in reading.events:
            outputs += self._accept(event, at, is_answer=is_answer)
        return outputs

    def _accept(self, event: Event, at: int | None, *, is_answer: bool) -> list[Output]:
        match event:
            case BookDelta():
                return self.accept_delta(event)
            case BookSnapshot():
                return self.accept_snapshot(event)
            case Kline() if is_answer and at is not None:
                return [msgspec.structs.replace(event, closed=event.ts_end + self.usual_delay_us <= at)]
            case Status(kind="server_shutdown"):
                return [event, Reconnect("server_shutdown")]
            case _:
                return [event]

    def accept_delta(self, delta: BookDelta) -> list[Output]:
        """A change of a book, by the rules of `BookSync`."""
        return list(self._book(delta.symbol).on_delta(delta))

    def accept_snapshot(self, snapshot: BookSnapshot) -> list[Output]:
        """A whole book goes to the `BookSync` it belongs to; a partial one passes as it is."""
        if snapshot.is_partial:
            return [snapshot]
        name = snapshot.symbol or self._owner(snapshot)
        if not name:
            return [Quarantine("unattributable", f"a depth snapshot of id {snapshot.id} that names no symbol")]
        return list(self._book(name).on_snapshot(msgspec.structs.replace(snapshot, symbol=name)))

    def _owner(self, snapshot: BookSnapshot) -> str:
        """The symbol of a snapshot that names none: of the one book it fits, or of the only book; else empty."""
        fitting = [book.symbol for book in self.books.values() if book.fits(snapshot)]
        candidates = fitting or list(self.books)
        return candidates[0] if len(candidates) == 1 else ""

    def _book(self, symbol: str) -> BookSync:
        book = self.books.get(symbol)
        if book is None:
            book = self.books[symbol] = BookSync(symbol)
        self._catch_up(book)
        return book

    def _catch_up(self, book: BookSync) -> None:
        at = self.position(book.symbol)
        if at is not None:
            book.moved_to(*at)

    def on_time(self, at: int) -> list[Output]:
        """What is due at ``at``: snapshots that were asked for and have not come."""
        outputs: list[Output] = []
        for book in self.books.values():
            outputs += book.on_time(at)
        return outputs

    def followed(self, message: bytes) -> tuple[list[tuple[str, str, str]], list[str]]:
        """The streams that a SUBSCRIBE asks for and an UNSUBSCRIBE gives up; of another message none."""
        return changes(message)

    def snapshot(self) -> bytes:
        """All state as a value: `restore` of it in another codec gives the same outputs from here on."""
        for book in self.books.values():
            self._catch_up(book)
        known = [version for name in self.instruments.symbols() for version in self.instruments.versions(name)]
        state = CodecState(
            version=_VERSION,
            books=[book.state() for book in self.books.values()],
            instruments=known,
            counters=self.counters,
        )
        return msgspec.msgpack.encode(state)

    def restore(self, snapshot: bytes) -> None:
        """Become what `snapshot` saw; raises `SnapshotError` and changes nothing if it is none of ours."""
        try:
            state = msgspec.msgpack.decode(snapshot, type=CodecState)
        except msgspec.DecodeError as error:
            raise SnapshotError(f"expected a snapshot of the binance codec, got other bytes: {error}") from None
        if state.version != _VERSION:
            raise SnapshotError(
                f"expected version {_VERSION} of the binance codec's state, got {state.version}: "
                "read it with the release that wrote it, or start anew"
            )
        self.books = {book.symbol: BookSync.restore(book) for book in state.books}
        self.instruments = Instruments()
        for instrument in state.instruments:
            self.instruments.add(instrument)
        self.counters = state.counters


def _read(frame: bytes, request: str | None) -> Reading:
    if request is None:
        return read_frame(frame)
    return read_dump(request, frame) if request.startswith(PREFIX) else read_answer(request, frame)


def _nowhere(symbol: str) -> None:
    return None


VENUE = Binance
