"""Every part of a cluster killed once, while all of it works: topics and tables are the venue's truth.

The broker is the only one: three of them take two cores a minute or two more to start and to be killed among. The long
command (`kills.py --brokers 3`) kills one of three.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.kills import PARTS, kills

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tapeflow-kills-"))
    made.chmod(0o755)  # under root the user postgres must enter it
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_kills_of_every_part_lose_and_double_nothing(folder: Path) -> None:
    outcome = kills(folder, len(PARTS), 3, parts=PARTS, each=True)
    assert outcome.wrong == []
    assert min(outcome.compared[name] for name in ("trades", "candles", "moving_average")) > 20
