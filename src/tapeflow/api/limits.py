"""What one server, and one client of it, may take."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Every bound of the API in one value; the composition root fills in what the settings say."""

    #: Names by which the server may be called, beside its address and those of this machine.
    hosts: tuple[str, ...] = ()
    #: Pages of other origins that may ask, such as ``https://example.org``.
    origins: tuple[str, ...] = ()
    requests_per_s: float = 50.0
    connections_per_address: int = 64
    #: Of all addresses together, streams among them.
    connections: int = 4096
    rows: int = 500
    rows_most: int = 10_000
    #: Reads of the store at once, statements of SQL at once, and how long one waits for its turn.
    reads: int = 4
    statements: int = 2
    turn_s: float = 2.0
    has_sql: bool = True
    #: There is a desk of alerts: what `/v1/about` tells and the OpenAPI document has to describe.
    has_alerts: bool = False
    #: Nobody is let in without a key: what examples have to show.
    needs_key: bool = False
    body_bytes: int = 64 << 10
    head_bytes: int = 16 << 10
    #: A request must be there whole after so long.
    request_s: float = 10.0
    idle_s: float = 30.0
