"""Indicators: one file each, found by name; each is a Step over closed candles."""
