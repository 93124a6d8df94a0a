"""All tests of a cluster on one worker: servers started twice would only take the processor from each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import Servers

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of this folder into one group."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("cluster"))


@pytest.fixture(scope="session")
def breakable() -> Iterator[Servers]:
    """Servers that a test may kill: nobody else's."""
    made = Servers()
    yield made
    made.close()
