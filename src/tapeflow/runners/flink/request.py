"""What the Python of the Flink environment is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from tapeflow.runners.flink.spec import Spec


class Request(msgspec.Struct, frozen=True):
    """A job, where it goes and what it takes along: ``package`` is our code, ``connector`` the jar, both local."""

    spec: Spec
    address: str
    package: str
    connector: str
    savepoint: str = ""
    python_mode: Literal["process", "thread"] = "process"
    more: Mapping[str, str] = {}
    explains: bool = False
