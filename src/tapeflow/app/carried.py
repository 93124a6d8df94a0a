"""What is kept of a run beside its rows."""

from __future__ import annotations

import msgspec

from tapeflow.domain.events import Fetch


class Carried(msgspec.Struct):
    """Engine state at a tape position, questions without an answer, the candles that were asked for, and how many
    rows each series has had.
    """

    position: int
    engine: bytes
    pending: list[Fetch] = []
    warmed: list[str] = []
    numbers: dict[str, dict[int | str, int]] = {}
