"""What the Python of the Flink environment is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from tapeflow.runners.flink.spec import Spec

#: What the one who compiles says when it has.
COMPILED = "compiled"


class Request(msgspec.Struct, frozen=True):
    """A job, where it goes and what it takes along: ``package`` is our code, ``connector`` the jar, both local; into
    the file ``plan`` it is written how Flink will do it, unless it is empty."""

    spec: Spec
    address: str
    package: str
    connector: str
    python_mode: Literal["process", "thread"] = "process"
    more: Mapping[str, str] = {}
    plan: str = ""
