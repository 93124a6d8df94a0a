"""Profiles of the property tests: TAPEFLOW_HYPOTHESIS=quick finds a failure and does not shrink it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from servers import Servers

settings.register_profile("quick", phases=(Phase.explicit, Phase.generate), derandomize=True, print_blob=False)
if profile := os.environ.get("TAPEFLOW_HYPOTHESIS"):
    settings.load_profile(profile)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Kafka and PostgreSQL for the whole session."""
    made = Servers()
    yield made
    made.close()
