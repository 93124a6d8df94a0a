"""Operator state as files, one for each checkpoint: ``state-<tape position>.zst``.

A file appears whole or not at all and carries a checksum, so a torn or damaged one is passed over for the one before.
"""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path

import zstandard

from tapeflow.domain.errors import StoreError

#: Checkpoints kept: the newest, and one to fall back on.
KEPT = 2

_NAME = re.compile(r"state-([0-9]{20})\.zst")


class States:
    """The checkpoints of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for torn in folder.glob(".state-*"):
                torn.unlink()
        except OSError as error:
            raise StoreError(f"cannot use {folder}: {error.strerror}; choose another data folder") from error

    def positions(self) -> list[int]:
        """The positions there are checkpoints of, ascending."""
        found = (_NAME.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def save(self, position: int, state: bytes) -> None:
        """Keep a state; the older ones beyond `KEPT` go, never the one that a cut of the tape stands on."""
        packed = zstandard.ZstdCompressor(level=1).compress(state)
        whole = zlib.crc32(packed).to_bytes(4, "little") + packed
        path = self._path(position)
        staging = path.with_name(f".{path.name}")
        try:
            with staging.open("wb") as file:
                file.write(whole)
                file.flush()
                os.fsync(file.fileno())
            staging.replace(path)
            for old in self.positions()[:-KEPT]:
                self._path(old).unlink()
        except OSError as error:
            staging.unlink(missing_ok=True)
            raise StoreError(f"cannot keep the state at {path}: {error.strerror}") from error

    def load(self, position: int) -> bytes | None:
        """The state of a checkpoint, None if it is damaged."""
        try:
            whole = self._path(position).read_bytes()
            if zlib.crc32(whole[4:]).to_bytes(4, "little") != whole[:4]:
                return None
            return zstandard.ZstdDecompressor().decompress(whole[4:])
        except (OSError, zstandard.ZstdError):
            return None

    def drop(self) -> None:
        """Forget all checkpoints: they are of another flow or version."""
        for position in self.positions():
            self._path(position).unlink(missing_ok=True)

    def _path(self, position: int) -> Path:
        return self._folder / f"state-{position:020d}.zst"
