"""Servers for all tests, and how tests are shared among workers.

Profiles of the property tests: TAPEFLOW_HYPOTHESIS=quick finds a failure and does not shrink it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

from servers import Servers
from tapeflow import indicators
from together import Together, arrange

#: Java compiles what it runs a second time, and better, for the time to come; no server of a test lives so long.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

settings.register_profile("quick", phases=(Phase.explicit, Phase.generate), derandomize=True, print_blob=False)
if profile := os.environ.get("TAPEFLOW_HYPOTHESIS"):
    settings.load_profile(profile)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Groups by path. (Marks of groups do nothing: xdist 3.8 puts them where pytest 9 does not look.)"""
    config.option.loadscopereorder = False  # the order of `together`, not by the number of tests
    return Together(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first, then the quick ones."""
    arrange(config, items)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Kafka and PostgreSQL for the whole session."""
    made = Servers()
    yield made
    made.close()


@pytest.fixture
def own_indicators(tmp_path: Path) -> Iterator[None]:
    """Indicators that a test adds from its folder are gone after it."""
    folders = list(indicators.__path__)
    yield
    indicators.__path__[:] = folders
    for name, module in list(sys.modules.items()):
        if name.startswith("tapeflow.indicators.") and Path(module.__file__ or "").is_relative_to(tmp_path):
            del sys.modules[name]
