"""What a client asks for, read from the query string: every name known, every value checked."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from tapeflow.api import cursors
from tapeflow.api.limits import Limits
from tapeflow.api.problem import Problem, unknown
from tapeflow.api.resources import Param, Resource
from tapeflow.api.source import Source
from tapeflow.domain.errors import SettingsError
from tapeflow.domain.time import parse_time
from tapeflow.stores.pages import Position

_SPACE = re.compile(r"(T[0-9:.]+) ([0-9]{2}:?[0-9]{2})")
_INT64 = 1 << 63


class Query(msgspec.Struct, frozen=True):
    """A range of a channel; ``key`` has the columns that its rows must have."""

    key: dict[str, str | int]
    limit: int
    start: int | None = None
    end: int | None = None
    after: Position | None = None
    has_forming: bool = False
    has_fill: bool = False

    @property
    def symbol(self) -> str | None:
        found = self.key.get("symbol")
        return None if found is None else str(found)

    @property
    def is_newest(self) -> bool:
        """Without start the last rows are asked for."""
        return self.start is None and self.after is None


def words(given: Iterable[tuple[str, str]], params: Iterable[Param], path: str) -> dict[str, str]:
    """The parameters by name, each known and given once, and those required; raises `Problem`."""
    known = {param.name: param for param in params}
    found: dict[str, str] = {}
    for name, value in given:
        if name not in known:
            raise unknown(400, "parameter", name, known, f"; {path} knows {', '.join(known)}")
        if name in found:
            raise Problem(400, "repeated_parameter", f"{name} is given twice; give it once")
        if known[name].choices and value not in known[name].choices:
            raise Problem(400, f"bad_{name}", f"{name} is {value[:40]!r}; it may be {', '.join(known[name].choices)}")
        found[name] = value
    missing = [param for param in known.values() if param.is_required and not found.get(param.name)]
    if missing:
        needed = ", ".join(f"{param.name} (such as {param.example})" for param in missing)
        raise Problem(400, "missing_parameter", f"{path} needs {needed}")
    return found


def read(source: Source, limits: Limits, resource: Resource, given: dict[str, str]) -> Query:
    """The query of a resource; raises `Problem`."""
    key: dict[str, str | int] = {"venue": venue(source, given)}
    if given.get("symbol"):
        key["symbol"] = symbol(source, given["symbol"])
    for param in resource.own:
        if param.name in given:
            key[param.name] = _own(source, param, given[param.name])
    start, end = (_time(name, given.get(name)) for name in ("start", "end"))
    if start is not None and end is not None and start > end:
        raise Problem(400, "bad_range", "start is later than end; a range is [start, end)")
    cursor = given.get("cursor")
    return Query(
        key,
        number("limit", given.get("limit"), limits.rows, 1, limits.rows_most),
        start,
        end,
        cursors.decode(resource.channel, key, cursor) if cursor is not None else None,
        has_forming=_flag("forming", given.get("forming")),
        has_fill="fill" in given,
    )


def venue(source: Source, given: dict[str, str]) -> str:
    """The venue that is meant; raises `Problem`."""
    name = given.get("venue", source.venue)
    if name.lower() != source.venue:
        raise unknown(404, "venue", name, [source.venue])
    return source.venue


def symbol(source: Source, name: str) -> str:
    """The symbol as the venue writes it; raises `Problem`."""
    known = {str(row["symbol"]).upper(): str(row["symbol"]) for row in source.symbols()}
    found = known.get(name.upper()) if name.isascii() else None
    if found is None:
        raise unknown(404, "symbol", name, known.values(), "; /v1/symbols lists those that are followed")
    return found


def number(name: str, text: str | None, default: int, least: int, most: int) -> int:
    """A whole number within bounds; raises `Problem`."""
    if text is None:
        return default
    if not re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII) or not least <= int(text) <= most:
        raise Problem(400, f"bad_{name}", f"{name} is {text[:40]!r}; expected a whole number from {least} to {most}")
    return int(text)


def _own(source: Source, param: Param, text: str) -> str | int:
    if param.kind == "int":
        return number(param.name, text, 0, 0, _INT64)
    if param.kind == "interval" and text not in source.intervals:
        raise unknown(400, "interval", text, source.intervals)
    return text


def _time(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(_SPACE.sub(r"\1+\2", text))  # a bare plus in a query is a space
    except (SettingsError, OverflowError) as error:
        raise Problem(400, f"bad_{name}", f"{name}: {error}") from error


def _flag(name: str, text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise Problem(400, f"bad_{name}", f"{name} is {text[:40]!r}; expected true or false")
    return text == "true"
