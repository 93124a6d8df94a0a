"""Rows of topics as series: which row belongs to which, and its number there.

Whoever reads a topic in order counts the same rows, so a number means the same on every sink and gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tapeflow.stores.channels import NUMBERED

Row = Mapping[str, Any]


def is_time(row: Row) -> bool:
    """Whether a row among the events says only that time has passed."""
    return "id" not in row and "ts_start" not in row and "ts_watermark" in row


def is_forming(row: Row) -> bool:
    """Whether a row is of a window that has not closed: only the newest value of it matters."""
    return row.get("closed") is False


def series_of(channel: str, row: Row) -> str:
    """The series of a row of a numbered channel."""
    return _SERIES[channel](row)


_SERIES: dict[str, Callable[[Row], str]] = {
    "trades": lambda row: f"{row['venue']}:{row['symbol']}",
    "candles": lambda row: f"{row['venue']}:{row['symbol']}:{row['interval']}",
    "moving_average": lambda row: f"{row['venue']}:{row['symbol']}:{row['window_ms']}/{row['slide_ms']}",
    "indicators": lambda row: f"{row['venue']}:{row['symbol']}:{row['interval']}:{row['name']}",
}


class Counts:
    """How many rows each (channel, series) has had."""

    def __init__(self, counts: Mapping[tuple[str, str], int]) -> None:
        self.counts = dict(counts)

    def next(self, channel: str, row: Row) -> tuple[str, int] | None:
        """The series and the number of the next row; None for one of a channel whose rows have none."""
        if channel not in NUMBERED:
            return None
        series = series_of(channel, row)
        number = self.counts.get((channel, series), 0) + 1
        self.counts[channel, series] = number
        return series, number

    def many(self, channel: str, series: Sequence[str], codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The numbers of the next rows, of each of which ``codes`` tells the place of its series in ``series``."""
        order = np.argsort(codes, kind="stable")
        counted = np.bincount(codes, minlength=len(series))
        numbers = np.empty(len(codes), np.int64)
        numbers[order] = np.arange(len(codes)) - np.repeat(np.cumsum(counted) - counted, counted) + 1
        numbers += np.array([self.get(channel, name) for name in series], np.int64)[codes]
        for name, count in zip(series, counted.tolist(), strict=True):
            self.counts[channel, name] = self.get(channel, name) + count
        return numbers

    def get(self, channel: str, series: str) -> int:
        """How many rows a series has had."""
        return self.counts.get((channel, series), 0)
