"""Servers that tests of a cluster may break."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import Servers

#: Names of what Java's libraries leave where they may, if they are killed or not.
LEFT = ("flink-*", "liblz4-*", "libzstd-*", "rocksdb-*", "snappy-*")


def _left() -> set[Path]:
    return {path for name in LEFT for path in Path(tempfile.gettempdir()).glob(name)}


@pytest.fixture(scope="session", autouse=True)
def system_folder() -> Iterator[None]:
    """Servers and `submit` leave nothing in the system's folder of temporary files."""
    before = _left()
    yield
    assert _left() <= before


@pytest.fixture(scope="session")
def breakable() -> Iterator[Servers]:
    """Servers that a test may kill: nobody else's."""
    made = Servers()
    yield made
    made.close()
