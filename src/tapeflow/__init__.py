"""Tapeflow: exact live market analytics."""
