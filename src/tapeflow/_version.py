"""The version of the installed package."""

from importlib.metadata import version as _installed


def version() -> str:
    return _installed("tapeflow")
