"""Binance spot: its protocol as pure functions and one codec, `VENUE`."""

from tapeflow.venues.binance.codec import VENUE, Binance

__all__ = ["VENUE", "Binance"]
