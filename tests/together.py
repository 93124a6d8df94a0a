"""Which tests run on one worker, one after another: those that start the same heavy things.

Two clusters of Flink, two demos or two Chromiums at once would only take the processor from each other, and what waits
for them would wait twice as long. All other tests go to whichever worker is free.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Those with a cluster of Flink: they take longest.
FLINK = tuple(f"cluster/test_{name}.py" for name in ("flink", "kills", "r1", "recipe", "secure", "submit"))

#: Beginnings of paths, in the order in which several workers begin them: what one worker has to do alone for longest,
#: what is quick, what is slow, and last what fills up the time of whichever worker is done first.
ORDER = (
    *FLINK,
    "unit/",
    "golden/",
    "conformance/",
    "property/",
    "page/",
    "attacks/",
    "cluster/",
    "integration/",
    "fault/",
)

#: Those of one line run on one worker; the first line that fits counts.
TOGETHER = (
    FLINK,
    ("cluster/",),
    ("page/",),
    ("attacks/",),
    ("integration/test_demo.py", "integration/test_tutorial.py"),
    ("integration/test_stream.py",),
    ("integration/test_rest.py",),
)


def group(nodeid: str) -> str:
    """What a test is done together with: only itself, unless it is of a line of `TOGETHER`."""
    place = nodeid.removeprefix("tests/")
    return next((line[0] for line in TOGETHER if place.startswith(line)), nodeid)


def rank(nodeid: str) -> int:
    """The place of a test in `ORDER`; what it does not name comes last."""
    place = nodeid.removeprefix("tests/")
    return next((number for number, start in enumerate(ORDER) if place.startswith(start)), len(ORDER))


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives a worker a group, or a test, whenever it has nearly nothing left."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def arrange(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests into the order of `ORDER` where several workers share them."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))
