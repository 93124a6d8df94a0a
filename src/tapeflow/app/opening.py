"""A database that is not there yet, or has no tables yet, is waited for; so are brokers that are busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tapeflow.domain.errors import BusError, StoreError
from tapeflow.stores.postgres.store import PostgresStore

#: A store that fails is tried again after so long, then after twice as long, up to the longest.
RETRY_S, LONGEST_S = 0.5, 15.0
#: So long brokers may take to choose who leads instead of one that was killed.
PATIENCE_S = 60.0

T = TypeVar("T")


def opened(
    make: Callable[[], PostgresStore], stopping: threading.Event, failed: Callable[[StoreError], None]
) -> PostgresStore:
    """The store, as soon as it can be opened; ``failed`` is told why it cannot. Raises `StoreError` once stopped."""
    wait = RETRY_S
    while True:
        try:
            return make()
        except StoreError as error:
            failed(error)
            if stopping.wait(wait):
                raise
            wait = min(LONGEST_S, 2 * wait)


def patiently(work: Callable[[], T], failed: Callable[[BusError], None]) -> T:
    """What the work gives. It is done again for a minute after a `BusError`, which ``failed`` is told, then raised."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return work()
        except BusError as error:
            if time.monotonic() > until:
                raise
            failed(error)
            time.sleep(RETRY_S)
