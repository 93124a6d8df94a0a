"""Servers that tests of a cluster may break."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers import Servers


@pytest.fixture(scope="session")
def breakable() -> Iterator[Servers]:
    """Servers that a test may kill: nobody else's."""
    made = Servers()
    yield made
    made.close()
