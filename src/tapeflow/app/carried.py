"""What is kept of a run beside its rows."""

from __future__ import annotations

import msgspec

from tapeflow.domain.events import Fetch


class Carried(msgspec.Struct):
    """Engine state at a tape position, questions without an answer, and the candles that were asked for."""

    position: int
    engine: bytes
    pending: list[Fetch] = []
    warmed: list[str] = []
