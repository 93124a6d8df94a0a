"""Indicators: one file each, found by name; each is a Step over closed candles.

To add one, add a file here whose name is its ``kind``, with one class that has that ``kind``: the registry and the
conformance suite (`tapeflow.testing.indicators`) find it by themselves. A file whose name begins with an underscore
is not an indicator. `add_folder` has those of a folder of one's own found beside them.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
from importlib.abc import InspectLoader
from typing import Any, ClassVar, Protocol, cast

import msgspec

from tapeflow.domain.errors import SettingsError
from tapeflow.domain.step import Step
from tapeflow.indicators._parameters import FADE, bounds, number


class Indicator(Step[float, Any], Protocol):
    """A Step over closes in the order of their candles; its parameters are its fields, its name tells them all.

    A row is the close as float. The state is a tuple or a frozen struct that ``msgspec.msgpack.decode(encoded,
    type=type(indicator.zero()))`` gives back exactly, and the parameters bound its size. Only floats and a fixed
    order of operations: the same closes give the same bits however they were cut.
    """

    #: The file's name.
    kind: ClassVar[str]
    #: The names of the values, in the order of the result row.
    fields: ClassVar[tuple[str, ...]]

    @property
    def lookback(self) -> int:
        """Index of the first bar with values; every bar from it on has all of them."""
        ...


def names() -> list[str]:
    """The kinds there are, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def prices(kind: type[Indicator] | Indicator) -> tuple[str, ...]:
    """Those of the values that are prices, drawn over the candles: ``prices`` of its class; none if it has none."""
    return cast("tuple[str, ...]", getattr(kind, "prices", ()))


def settles(indicator: Indicator) -> int:
    """Bars after which where it began is felt in the last digits of a float at most: its ``settles``.

    One that does not say is taken to smooth as slowly as Wilder's averages do, with the period of its lookback.
    """
    return int(getattr(indicator, "settles", FADE * (indicator.lookback + 1)))


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a kind: the least and the most that it may be, ``least`` itself excluded unless it is whole."""

    name: str
    default: float
    least: float
    most: float
    whole: bool


class Described(msgspec.Struct, frozen=True):
    """A kind as a catalogue has it; ``overlay`` tells that its ``prices`` belong over the candles."""

    kind: str
    title: str
    parameters: tuple[Parameter, ...]
    values: tuple[str, ...]
    prices: tuple[str, ...]
    overlay: bool


def catalogue() -> list[Described]:
    """What there is, by kind."""
    return [_described(kind) for kind in names()]


def _described(kind: str) -> Described:
    cls = _find(kind)
    defaults = cls()
    parameters = tuple(
        Parameter(field, getattr(defaults, field), bound.ge or bound.gt or 0, bound.le or 0, bound.gt is None)
        for field, bound in bounds(cls).items()
    )
    title = str(importlib.import_module(cls.__module__).__doc__).partition(".\n")[0].rstrip(".")
    return Described(kind, title, parameters, cls.fields, prices(cls), bool(prices(cls)))


def create(kind: str, *parameters: float) -> Indicator:
    """The indicator ``kind`` with these parameters, the rest at their defaults; raises `SettingsError`.

    >>> create("sma").name, create("macd", 5, 35).name
    ('sma_20', 'macd_5_35_9')
    """
    cls = _find(kind)
    accepted = cls.__struct_fields__
    if len(parameters) > len(accepted):
        raise SettingsError(
            f"expected at most {len(accepted)} parameters for {kind} ({', '.join(accepted)}), got {len(parameters)}: "
            "leave out the last ones"
        )
    return cast("Indicator", cls(*parameters))


def parse(text: str) -> Indicator:
    """The indicator with this name, a bare kind meaning its defaults; raises `SettingsError`.

    >>> parse("bollinger_20_2").fields
    ('upper', 'middle', 'lower')
    """
    known = [kind for kind in names() if text == kind or text.startswith(f"{kind}_")]
    if not known:
        raise _unknown(text)
    kind = max(known, key=len)
    words = text[len(kind) + 1 :].split("_") if text != kind else []
    return create(kind, *(_parameter(text, word) for word in words))


def _parameter(text: str, word: str) -> float:
    value = number(word)
    if value is None:
        raise SettingsError(f"expected numbers after the kind in {text!r}, got {word!r}: write a name such as rsi_14")
    return value


def add_folder(folder: str) -> list[str]:
    """Have the indicators of a folder known too, one file each; their kinds. Raises `SettingsError`.

    They are as those of the package: a name in a flow, an entry of the catalogue. Their code is part of the fingerprint
    of what they compute: results are made anew when it changes.
    """
    kinds = sorted(module.name for module in pkgutil.iter_modules([folder]) if not module.name.startswith("_"))
    if not kinds:
        raise SettingsError(
            f"expected a folder with a file for each indicator, found none in {folder}: add momentum.py"
        )
    if folder not in __path__:
        twice = sorted(set(kinds) & set(names()))
        if twice:
            raise SettingsError(f"{folder}: there is {', '.join(twice)} already; give it another name")
        __path__.append(folder)
    importlib.invalidate_caches()
    try:
        for kind in kinds:
            _CODES[_find(kind)] = _code(kind)
            create(kind)
    except SettingsError:
        __path__.remove(folder)
        raise
    return kinds


def code(indicator: object) -> str:
    """What tells one version of the code of an indicator of `add_folder` from another; empty for any other one."""
    return _CODES.get(type(indicator), "")


#: The code of each class that was found in a folder of the user's.
_CODES: dict[type, str] = {}


def _code(kind: str) -> str:
    spec = importlib.util.find_spec(f"{__name__}.{kind}")
    source = spec.loader.get_source(spec.name) if spec and isinstance(spec.loader, InspectLoader) else None
    return hashlib.sha256((source or "").encode()).hexdigest()[:16]


def _find(kind: str) -> Any:
    if kind not in names():
        raise _unknown(kind)
    try:
        module = importlib.import_module(f"{__name__}.{kind}")
    except Exception as error:  # the user's code may fail in any way
        raise SettingsError(f"cannot load the indicator {kind}: {type(error).__name__}: {error}") from error
    for value in vars(module).values():
        if isinstance(value, type) and getattr(value, "kind", None) == kind:
            if not issubclass(value, msgspec.Struct):
                raise SettingsError(f"expected a msgspec.Struct, got the class {value.__name__} in {module.__file__}")
            return value
    raise SettingsError(f"expected a class with kind = {kind!r} in {module.__file__}, found none: add it to that file")


def _unknown(text: str) -> SettingsError:
    return SettingsError(f"expected an indicator of {', '.join(names())}, got {text!r}: write a name such as rsi_14")
