"""``alerts.json`` of a data folder: the rules, with the addresses and secrets of those who are told. Mode 0600."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import msgspec

from tapeflow.api import private
from tapeflow.api.alerts.rules import Draft, Rule
from tapeflow.domain.errors import OutputError, SettingsError

FILE = "alerts.json"


class _Content(msgspec.Struct, frozen=True):
    version: int
    rules: tuple[Rule, ...]


class Rulebook:
    """The rules by identifier. A change is on disk, or was not made: `OutputError` says so."""

    def __init__(self, data: str | Path) -> None:
        self.path = Path(data) / FILE
        self.rules: dict[str, Rule] = {rule.id: rule for rule in self._read()}

    def add(self, draft: Draft) -> Rule:
        """Keep a new rule."""
        rule = Rule(id=secrets.token_hex(5), **_fields(draft))
        self._write(self.rules | {rule.id: rule})
        return rule

    def put(self, id: str, draft: Draft) -> Rule:
        """Replace a rule."""
        rule = Rule(id=id, **_fields(draft))
        self._write(self.rules | {id: rule})
        return rule

    def remove(self, id: str) -> None:
        self._write({name: rule for name, rule in self.rules.items() if name != id})

    def _read(self) -> tuple[Rule, ...]:
        content = private.read(self.path)
        try:
            return () if content is None else msgspec.json.decode(content, type=_Content).rules
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self.path} is damaged: {error}; put it back, or remove it") from error

    def _write(self, rules: dict[str, Rule]) -> None:
        text = msgspec.json.format(msgspec.json.encode(_Content(1, tuple(rules.values()))), indent=1) + b"\n"
        try:
            private.write(self.path, text)
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}; nothing was changed") from error
        self.rules = rules


def _fields(draft: Draft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in Draft.__struct_fields__}
