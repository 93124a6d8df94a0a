"""Rules: what is watched, and who is told; as the API takes and shows them, and as ``alerts.json`` keeps them."""

from __future__ import annotations

import re
from decimal import Context, Decimal
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from tapeflow.domain.errors import SettingsError

#: Digits enough for any difference of two levels to be exact.
_EXACT = Context(prec=200)
_DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}", re.ASCII)

Crosses: TypeAlias = Literal["above", "below"]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=366 * 86400)]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=200)]


class _When(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    symbol: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]


class Price(_When, frozen=True, tag="price"):
    """A trade at the level or beyond it, after one on the other side."""

    crosses: Crosses
    level: str
    hysteresis: str = "0"


class Indicator(_When, frozen=True, tag="indicator"):
    """A closed value at the level or beyond it, after one on the other side; ``field`` is one of its ``values``."""

    interval: str
    name: str
    field: str
    crosses: Crosses
    level: str
    hysteresis: str = "0"


class Stale(_When, frozen=True, tag="stale"):
    """Nothing of a symbol for so long: no trade, or with ``any`` no event at all."""

    seconds: Annotated[float, msgspec.Meta(ge=1, le=366 * 86400)]
    stream: Literal["trades", "any"] = "trades"


class Coverage(_When, frozen=True, tag="coverage"):
    """A hole in what was seen of a symbol: one that opened, or one that was given up."""

    on: Literal["opened", "given_up"] = "opened"
    stream: str = "trades"


When: TypeAlias = Price | Indicator | Stale | Coverage


class _Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    name: str = ""
    url: Annotated[str, msgspec.Meta(max_length=2000)] = ""


class Webhook(_Target, frozen=True, tag="webhook"):
    """A POST to an address, signed if there is a secret."""

    secret: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class Apprise(_Target, frozen=True, tag="apprise"):
    """A service that Apprise knows, by its URL."""


Target: TypeAlias = Webhook | Apprise


class Draft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sends: a rule without its identifier."""

    when: When
    name: Text = ""
    note: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    targets: Annotated[tuple[Target, ...], msgspec.Meta(max_length=10)] = ()
    enabled: bool = True
    #: Fires once, then is done until it is written again.
    once: bool = False
    #: By the times of the rows: so long after an event the rule does not fire.
    cooldown_s: Seconds = 0


class Rule(Draft, frozen=True, kw_only=True):
    """A rule that is kept."""

    id: str


class Level:
    """A level and its two sides: at it or beyond, and back before it by the hysteresis. Compared exactly.

    >>> level = Level(Price("BTCUSDT", "above", "100", "0.5"))
    >>> [level.side(Decimal(price), False) for price in ("99.9", "100")], level.side(Decimal("99.9"), True)
    ([False, True], True)
    """

    def __init__(self, when: Price | Indicator) -> None:
        self._is_above = when.crosses == "above"
        self._level = Decimal(when.level)
        room = Decimal(when.hysteresis)
        self._back = _EXACT.subtract(self._level, room) if self._is_above else _EXACT.add(self._level, room)

    def side(self, value: Decimal, before: bool | None) -> bool | None:  # noqa: FBT001 - the side of the row before
        """True beyond the level, False before it; in the room of the hysteresis what it was ``before``."""
        if value >= self._level if self._is_above else value <= self._level:
            return True
        return False if (value < self._back if self._is_above else value > self._back) else before


def check(draft: Draft) -> None:
    """Raise `SettingsError` that says what cannot be used."""
    when = draft.when
    if isinstance(when, Price | Indicator):
        for name, value in (("level", when.level), ("hysteresis", when.hysteresis)):
            if not _DECIMAL.fullmatch(value) or (name == "hysteresis" and value[0] == "-"):
                raise SettingsError(f'{name} is {value[:60]!r}; expected a decimal as text, such as "64000.5"')
    names = [target.name for target in draft.targets]
    if len(set(names)) < len(names):
        raise SettingsError("two targets have one name; give each its own")
    for target in draft.targets:
        if not _NAME.fullmatch(target.name):
            raise SettingsError(f"a target is named {target.name[:60]!r}; expected letters, digits, `_`, `-`, `.`")
        if not target.url:
            raise SettingsError(f"target {target.name} has no url; give the address that is to be told")
        if isinstance(target, Webhook):
            _check_url(target)


def _check_url(target: Webhook) -> None:
    try:
        parts = urlsplit(target.url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not target.url.isascii() or any(ch.isspace() for ch in target.url):
        raise SettingsError(
            f"target {target.name}: expected an http or https address, such as https://example.org/hook"
        )
    if parts.username or parts.password:
        raise SettingsError(f"target {target.name}: leave user and password out of the url; use a secret")


def merged(draft: Draft, before: Rule | None) -> Draft:
    """The draft with names for nameless targets, and with what it leaves out of those that were there before.

    A client never sees urls and secrets, so it cannot send them again: a target without a url keeps its own, and
    with it the secret. A new url has no secret but the one that is sent with it; an empty secret is none.
    """
    known = {target.name: target for target in before.targets} if before is not None else {}
    made: list[Target] = []
    for number, target in enumerate(draft.targets, 1):
        one = target if target.name else msgspec.structs.replace(target, name=str(number))
        old = known.get(one.name)
        if old is not None and type(old) is type(one) and one.url in ("", old.url):
            one = msgspec.structs.replace(one, url=old.url)
            if isinstance(one, Webhook) and isinstance(old, Webhook) and one.secret is None:
                one = msgspec.structs.replace(one, secret=old.secret)
        made.append(one)
    return msgspec.structs.replace(draft, targets=tuple(made))


def shown(rule: Rule) -> dict[str, Any]:
    """A rule as everybody may see it: of an address only where it leads, of a secret only whether there is one."""
    row: dict[str, Any] = {"id": rule.id, **msgspec.to_builtins(rule)}
    row["targets"] = [_target(target) for target in rule.targets]
    return row


def _target(target: Target) -> dict[str, Any]:
    scheme, _, rest = target.url.partition("://")
    if isinstance(target, Apprise):
        return {"type": "apprise", "name": target.name, "address": f"{scheme}://..."}
    host = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    return {
        "type": "webhook",
        "name": target.name,
        "address": f"{scheme}://{host}/...",
        "has_secret": bool(target.secret),
    }


def about(when: When) -> str:
    """What a rule watches, in a few words."""
    match when:
        case Price():
            return f"{when.symbol} price crosses {when.crosses} {when.level}"
        case Indicator():
            return f"{when.symbol} {when.interval} {when.name}.{when.field} crosses {when.crosses} {when.level}"
        case Stale():
            what = "no trade" if when.stream == "trades" else "nothing"
            return f"{what} of {when.symbol} for {when.seconds:g} s"
        case Coverage():
            return f"{when.symbol} {when.stream}: a hole {'opened' if when.on == 'opened' else 'was given up'}"
