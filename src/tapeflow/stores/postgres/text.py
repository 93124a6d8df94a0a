"""Rows, as JSON has them, as the text that COPY takes."""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from tapeflow.stores.channels import Channel, Kind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_INTEGER = re.compile("0|-?[1-9][0-9]{0,18}")
_encode = msgspec.json.Encoder().encode

#: The largest and the least time that PostgreSQL and Python both have, in microseconds.
LEAST, MOST = -62_000_000_000_000_000, 250_000_000_000_000_000


class Unfit(ValueError):
    """A row is not one of its channel."""


def copy_text(channel: Channel, rows: Iterable[Mapping[str, Any]], *, with_times: bool = False) -> str:
    """The rows as lines of COPY, times as integers unless ``with_times``; raises `Unfit`."""
    kinds = _PARTS | {"time": _moment} if with_times else _PARTS
    parts = [(name, kinds[kind]) for name, kind in channel.fields]
    try:
        return "".join(
            "\t".join(["\\N" if (value := row.get(name)) is None else part(value) for name, part in parts]) + "\n"
            for row in rows
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise Unfit(f"a row is not one of {channel.name}: {error}") from error


def check(channel: Channel, row: Any) -> None:
    """Raise `Unfit` where a row lacks its key or has values of other kinds."""
    if not isinstance(row, dict):
        raise Unfit(f"expected an object, got {type(row).__name__}")
    look(channel, row)
    copy_text(channel, [row])


def look(channel: Channel, row: Mapping[str, Any]) -> None:
    """Raise `Unfit` where a row lacks what `needed` says."""
    for name in needed(channel):
        if row.get(name) is None:
            raise Unfit(f"{name} is missing")


def needed(channel: Channel) -> tuple[str, ...]:
    """What each row must have: its key, as far as the venue tells it, and what engines compute with."""
    if channel.name == "quarantine":
        return ("reason",)  # a frame that cannot be used names no symbol for certain
    key = tuple(name for name in channel.key if name != "ts_event")
    return (*key, *(("price", "size", "ts_event") if channel.name == "trades" else ())) or ("symbol",)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit(f"expected a text, got {value!r:.80}")
    if "\0" in value:
        raise Unfit("a text has a character that PostgreSQL cannot keep")
    return value.translate(_ESCAPES) if "\\" in value or not value.isprintable() else value


def _id(value: Any) -> str:
    """An integer of 64 bits as it is written: ids are sorted and counted as numbers wherever they are read."""
    if not isinstance(value, str) or not _INTEGER.fullmatch(value) or not -(2**63) <= int(value) < 2**63:
        raise Unfit(f"expected an integer as text, got {value!r:.80}")
    return value


def _int(value: Any) -> str:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise Unfit(f"expected an integer, got {value!r:.80}")
    return str(value)


def _time(value: Any) -> str:
    if type(value) is not int or not LEAST < value < MOST:
        raise Unfit(f"expected a time in microseconds, got {value!r:.80}")
    return str(value)


def _moment(value: Any) -> str:
    _time(value)
    second, rest = divmod(value, 1_000_000)
    return f"{_second(second)}.{rest:06}"


@functools.lru_cache(256)
def _second(second: int) -> str:
    """A second as PostgreSQL reads it, in the zone of the session, which is UTC."""
    return (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%d %H:%M:%S")


def _float(value: Any) -> str:
    if type(value) not in (float, int):
        raise Unfit(f"expected a number, got {value!r:.80}")
    return repr(float(value))


def _bool(value: Any) -> str:
    if type(value) is not bool:
        raise Unfit(f"expected true or false, got {value!r:.80}")
    return "t" if value else "f"


def _exact(value: Any) -> str:
    if not isinstance(value, str) or not value.lstrip("-").replace(".", "", 1).isdecimal() or not value.isascii():
        raise Unfit(f"expected a decimal text, got {value!r:.80}")
    return value


def _json(value: Any) -> str:
    if not isinstance(value, dict | list):
        raise Unfit(f"expected an object or a list, got {value!r:.80}")
    return str(_encode(value), "utf-8").translate(_ESCAPES)


def _bytes(value: Any) -> str:
    try:
        return "\\\\x" + base64.b64decode(value, validate=True).hex()
    except (binascii.Error, TypeError) as error:
        raise Unfit(f"expected base64: {error}") from error


_PARTS: dict[Kind, Callable[[Any], str]] = {
    "text": _text,
    "id": _id,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "time": _time,
    "price": _exact,
    "size": _exact,
    "quote": _exact,
    "levels": _json,
    "values": _json,
    "bytes": _bytes,
}
