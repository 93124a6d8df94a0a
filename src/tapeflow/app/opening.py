"""A database that is not there yet, or has no tables yet, is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tapeflow.domain.errors import StoreError
from tapeflow.stores.postgres.store import PostgresStore

#: A store that fails is tried again after so long, then after twice as long, up to the longest.
RETRY_S, LONGEST_S = 0.5, 15.0


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
