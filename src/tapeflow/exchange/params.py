"""The parameters of a request, read as the venue reads them, and its errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec
from multidict import MultiMapping

from tapeflow.domain.time import HOUR, MINUTE
from tapeflow.sim.wire import MICRO, MILLI

_SYMBOL = re.compile(r"[\w\-.]{1,40}")
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_ZONE = re.compile(r"([+-]?)([0-9]{1,2})(?::([0-5][0-9]))?", re.ASCII)
#: A time beyond this is in microseconds.
_MICRO_FROM = 10**14


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: int, text: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.status = status
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"code": self.code, "msg": str(self)})


class Params:
    """The query of a request whose endpoint knows the parameters ``known``; anything else is refused."""

    def __init__(self, query: MultiMapping[str], known: Iterable[str]) -> None:
        names = list(query.keys())
        if len(set(names)) < len(names):
            raise Refusal(-1101, "Duplicate values for a parameter detected.")
        read = sum(1 for name in names if name in set(known))
        if read < len(names):
            raise Refusal(
                -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(names)}'."
            )
        empty = next((name for name in names if not query[name]), None)
        if empty is not None:
            raise Refusal(-1105, f"Parameter '{empty}' was empty.")
        self._query = query

    def text(self, name: str) -> str | None:
        return self._query.get(name)

    def needed(self, name: str) -> str:
        """A parameter that must be there."""
        value = self._query.get(name)
        if value is None:
            raise Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return value

    def symbol(self) -> str:
        return _symbol(self.needed("symbol"))

    def symbols(self) -> list[str] | None:
        """The symbols asked for; None for all."""
        if "symbol" in self._query and "symbols" in self._query:
            raise Refusal(-1128, "Combination of optional parameters invalid.")
        if "symbol" in self._query:
            return [self.symbol()]
        listed = self._query.get("symbols")
        if listed is None:
            return None
        try:
            names = msgspec.json.decode(listed, type=list[str])
        except msgspec.DecodeError:
            raise Refusal(
                -1100, _illegal("symbols", r'^\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\]$')
            ) from None
        if len(set(names)) < len(names):
            raise Refusal(-1151, "Symbol is present multiple times in the list.")
        return [_symbol(name) for name in names]

    def whole(self, name: str) -> int | None:
        """A number of decimal digits."""
        value = self._query.get(name)
        if value is None:
            return None
        if not _DIGITS.fullmatch(value):
            raise Refusal(-1100, _illegal(name, "^[0-9]{1,20}$"))
        return int(value)

    def limit(self, usual: int, most: int) -> int:
        """How many rows: clamped to the most there are."""
        value = self.whole("limit")
        if value == 0:
            raise Refusal(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(usual if value is None else value, most)

    def start(self) -> int | None:
        """``startTime`` in microseconds."""
        value = self.whole("startTime")
        return None if value is None else value if value >= _MICRO_FROM else value * MILLI

    def end(self) -> int | None:
        """The first microsecond after ``endTime``, which is included."""
        value = self.whole("endTime")
        return None if value is None else value + 1 if value >= _MICRO_FROM else (value + 1) * MILLI

    def zone_us(self) -> int:
        """``timeZone``: hours, or hours and minutes, ahead of UTC."""
        value = self._query.get("timeZone")
        match = _ZONE.fullmatch(value or "0")
        if match is None:
            raise Refusal(-1130, "Data sent for parameter 'timeZone' is not valid.")
        ahead = int(match[2]) * HOUR + int(match[3] or 0) * MINUTE
        ahead = -ahead if match[1] == "-" else ahead
        if not -12 * HOUR <= ahead <= 14 * HOUR:
            raise Refusal(-1130, "Data sent for parameter 'timeZone' is not valid.")
        return ahead

    def choice(self, name: str, choices: Iterable[str], code: int, text: str) -> str | None:
        """One of some words."""
        value = self._query.get(name)
        if value is not None and value not in set(choices):
            raise Refusal(code, text)
        return value


def unit_of(word: str | None) -> int:
    """Microseconds of the unit of time that was asked for."""
    match (word or "MILLISECOND").upper():
        case "MILLISECOND":
            return MILLI
        case "MICROSECOND":
            return MICRO
        case _:
            raise Refusal(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")


def unknown_symbol() -> Refusal:
    """The answer where the venue does not know a symbol."""
    return Refusal(-1121, "Invalid symbol.")


def _symbol(name: str) -> str:
    if not _SYMBOL.fullmatch(name):
        raise Refusal(-1100, _illegal("symbol", "^[A-Z0-9-_.]{1,20}$"))
    return name


def _illegal(name: str, range_: str) -> str:
    return f"Illegal characters found in parameter '{name}'; legal range is '{range_}'."
