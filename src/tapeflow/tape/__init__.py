"""Recorded input, read in place."""
