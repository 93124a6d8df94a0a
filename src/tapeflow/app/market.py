"""The simulated market of a demo's data folder: the same at every start, so that a run goes on where it ended.

It is started before the run is imported, which takes as long: so little is imported here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tapeflow import files
from tapeflow.app.running import address
from tapeflow.domain.errors import OutputError, SettingsError, TapeError
from tapeflow.domain.time import DAY
from tapeflow.exchange.child import Child, Market
from tapeflow.tape.lock import Lock

FILE = "demo.json"
#: The venue lists more than is followed, so that symbols can be added.
LISTED = 20
#: How much of the past there is at the first start.
DAYS = 7


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``demo.json``: what the past and the ids of the market depend on. ``first_day`` counts from 1970."""

    version: int
    seed: int
    rate: float
    listed: int
    first_day: int

    def market(self) -> Market:
        """The market as of today: trading began on the same day, however long ago that is by now."""
        return Market(seed=self.seed, rate=self.rate, symbols=self.listed, days=max(1, _today() - self.first_day))


@contextlib.contextmanager
def opened(data: Path, seed: int | None, symbols: int) -> Iterator[Child]:
    """The market of a data folder, being started; nobody else has the folder meanwhile. Raises `SettingsError`."""
    with _alone(data):
        venue = Child(keep(data, seed, symbols).market())
        try:
            yield venue
        finally:
            venue.stop()


def keep(data: Path, seed: int | None, symbols: int) -> Kept:
    """The market of a data folder, decided at its first start; raises `SettingsError` for another one there."""
    path = data / FILE
    try:
        read = path.read_bytes()
    except FileNotFoundError:
        return _decide(path, seed, symbols)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; choose another --data") from error
    try:
        kept = msgspec.json.decode(read, type=Kept)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path} is damaged: {error}; choose another --data, or remove {data}") from error
    if seed not in (None, kept.seed):
        raise SettingsError(
            f"the market in {data} has seed {kept.seed}, not {seed}: leave --seed out, or choose another --data"
        )
    if symbols > kept.listed:
        raise SettingsError(
            f"the market in {data} has {kept.listed} symbols, not {symbols}: ask for fewer, or choose another --data"
        )
    return kept


def _decide(path: Path, seed: int | None, symbols: int) -> Kept:
    if (path.parent / "tape").exists():
        raise SettingsError(f"{path.parent} holds the data of a run, not of a demo; choose another --data")
    default = Market()
    kept = Kept(1, default.seed if seed is None else seed, default.rate, max(LISTED, symbols), _today() - DAYS)
    try:
        files.replace(path, msgspec.json.encode(kept) + b"\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; choose another --data") from error
    return kept


@contextlib.contextmanager
def _alone(data: Path) -> Iterator[None]:
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{data}: {error.strerror}; choose another --data") from error
    try:
        lock = Lock(data, "demo.lock", "run a demo in")
    except TapeError as error:
        at = address(data)
        seen = f"; its page is {at}/" if at else ""
        raise SettingsError(f"{error} with --data{seen}") from error
    try:
        yield
    finally:
        lock.release()


def _today() -> int:
    return time.time_ns() // 1000 // DAY
