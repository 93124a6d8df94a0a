"""The settings as text: what counts, and an example of a run file, both made from the model with every key."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec

from tapeflow.app.log import HIDDEN, is_secret, redact
from tapeflow.app.meanings import FLOW_KEYS, RUN_KEYS
from tapeflow.settings import BookSettings, CandlesSettings, FlowSettings, MovingAverageSettings, RunSettings, table_of

_WIDTH = 110
_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")

#: A flow that has every part, for the lines that show what could be given.
_WHOLE_FLOW = FlowSettings(candles=CandlesSettings(), moving_average=(MovingAverageSettings(),), book=BookSettings())


def show(settings: RunSettings) -> str:
    """The settings that count, defaults included, as a run file; secrets are starred out."""
    return "\n".join(_file(settings)) + "\n"


def example() -> str:
    """A run file with every key, its meaning above it, and its default."""
    head = ("A run file with every key: tapeflow run FILE. What is left out has the value that stands here.",)
    return "\n".join((*map(_comment, head), "", *_file(RunSettings(symbols=("BTCUSDT", "ETHUSDT"))))) + "\n"


def _file(settings: RunSettings) -> Iterator[str]:
    yield from _plain(settings, RUN_KEYS, "")
    for field in msgspec.structs.fields(settings):
        table = table_of(field.type)
        if field.name != "flow" and table is not None:
            given = getattr(settings, field.name)
            lines = ["", f"[{field.name}]", *_plain(given or table(), RUN_KEYS, f"{field.name}.")]
            # A table whose absence means something is shown as what could be given.
            yield from lines if given is not None else ("", *("# " + line if line else "#" for line in lines[1:]))
    yield ""
    yield from map(_comment, _wrap(RUN_KEYS["flow"]))
    if settings.flow is None:
        yield from ("# " + line if line else "#" for line in _flow(_WHOLE_FLOW))
    else:
        yield from _flow(settings.flow)


def _flow(flow: FlowSettings) -> Iterator[str]:
    yield "[flow]"
    yield from _plain(flow, FLOW_KEYS, "")
    for name in ("candles", "moving_average", "book"):
        part = getattr(flow, name)
        for row in part if isinstance(part, tuple) else () if part is None else (part,):
            yield from ("", f"[[flow.{name}]]" if isinstance(part, tuple) else f"[flow.{name}]")
            yield from _plain(row, FLOW_KEYS, f"{name}.")


def _plain(table: msgspec.Struct, meanings: dict[str, str], prefix: str) -> Iterator[str]:
    """The keys of a table that are not tables, each below its meaning."""
    for field in msgspec.structs.fields(table):
        if table_of(field.type) is None:
            yield from map(_comment, _wrap(meanings[prefix + field.name]))
            value = getattr(table, field.name)
            yield f"# {field.name} is not set" if value is None else f"{field.name} = {_of_pair(field.name, value)}"


def toml(value: Any) -> str:
    """A value as TOML has it, on one line.

    >>> toml({"a": ("1d", 2.0, True), "sasl.password": "x"})
    '{ "a" = ["1d", 2.0, true], "sasl.password" = "***" }'
    """
    if isinstance(value, dict):
        rows = ", ".join(f"{json.dumps(key)} = {_of_pair(key, inner)}" for key, inner in value.items())
        return f"{{ {rows} }}" if rows else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(redact(value) if isinstance(value, str) else value, ensure_ascii=False)


def _of_pair(name: str, value: Any) -> str:
    return toml(HIDDEN if isinstance(value, str) and value and is_secret(name) else value)


def _wrap(text: str) -> list[str]:
    """A meaning as lines; links of the reference as their words."""
    return textwrap.wrap(_LINK.sub(r"\1", text.replace("; see below", "")), _WIDTH)


def _comment(text: str) -> str:
    return f"# {text}"
