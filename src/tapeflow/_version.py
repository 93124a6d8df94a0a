"""The version of the installed package."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _installed


def version() -> str:
    """The version; ``unknown`` where the package is on the path but not installed."""
    try:
        return _installed("tapeflow")
    except PackageNotFoundError:
        return "unknown"
