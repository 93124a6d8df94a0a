"""One server over one store for all tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving import Client, serving, source, stored
from tapeflow.stores.duckdb import DuckStore


@pytest.fixture(scope="package")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DuckStore, dict[str, tuple[int, int]]]]:
    store, edges = stored(tmp_path_factory.mktemp("served"))
    yield store, edges
    store.close()


@pytest.fixture(scope="package")
def ask(kept: tuple[DuckStore, dict[str, tuple[int, int]]]) -> Iterator[Client]:
    with serving(source(*kept)) as client:
        yield client
