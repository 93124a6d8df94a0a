"""Keys of the API: who may ask, what for, until when. One file in the data folder, in which no key can be read."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import string
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tapeflow.api import private
from tapeflow.domain.errors import OutputError, SettingsError
from tapeflow.settings import ApiSettings
from tapeflow.tape.lock import Lock

FILE = "keys.json"
SCOPES = ("read", "sql", "admin")
#: A running server looks for a changed file at most so often: so long a revoked key may still be good.
LOOK_S = 1.0

_LETTERS = string.ascii_letters + string.digits
_PREFIX = 8
_SECRET = 43  # 256 bits


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a key. Times in microseconds since 1970 UTC; ``hash`` is the SHA-256 of the whole token."""

    prefix: str
    name: str
    scopes: tuple[str, ...]
    created: int
    expires: int | None
    hash: str

    @property
    def is_expired(self) -> bool:
        return self.expires is not None and self.expires <= _now()


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: tuple[Key, ...]


class KeyFile:
    """The keys of a data folder, ``keys.json`` of mode 0600.

    `create`, `ls` and `revoke` raise `SettingsError` for a file that others can read or that is damaged. `verify`
    takes such a file for one without keys, so that nobody is let in by mistake; ``problem`` says why. A change made by
    another process counts within `LOOK_S`.

    >>> import tempfile
    >>> keys = KeyFile(tempfile.mkdtemp())
    >>> token = keys.create("laptop", ["read"])
    >>> token.count("_"), sorted(keys.verify(token)), keys.verify(token + "x")
    (2, ['read'], None)
    """

    def __init__(self, data: str | Path) -> None:
        self.path = Path(data) / FILE
        self.problem = ""
        self._keys: dict[str, Key] = {}
        self._looked = float("-inf")
        self._seen: tuple[int, ...] | None = None

    def create(self, name: str, scopes: Iterable[str], expires: int | None = None) -> str:
        """The token of a new key, which nobody can read from the file; it ends to be good ``expires`` us from now."""
        prefix, secret = _random(_PREFIX), _random(_SECRET)
        token = f"tf_{prefix}_{secret}"
        now = _now()
        key = Key(prefix, name, _scopes(scopes), now, None if expires is None else now + expires, _hash(token))
        with self._locked():
            self._write((*self.ls(), key))
        return token

    def ls(self) -> tuple[Key, ...]:
        """All keys, in the order of their making."""
        content = private.read(self.path)
        try:
            return () if content is None else msgspec.json.decode(content, type=_Content).keys
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self.path} is damaged: {error}; put it back, or remove it and make keys") from error

    def revoke(self, prefix: str) -> Key:
        """Remove the key of this prefix (with or without ``tf_``); `SettingsError` where there is none."""
        wanted = prefix.removeprefix("tf_")[:_PREFIX]
        with self._locked():
            keys = self.ls()
            found = next((key for key in keys if key.prefix == wanted), None)
            if found is None:
                known = ", ".join(f"{key.prefix} ({key.name})" for key in keys) or "none"
                raise SettingsError(f"no key has the prefix {wanted!r}; there are: {known}")
            self._write(tuple(key for key in keys if key is not found))
        return found

    def verify(self, token: str) -> frozenset[str] | None:
        """What the bearer of a token may do; None if it is not, or no longer, good."""
        self._look()
        _, _, rest = token.partition("_")
        key = self._keys.get(rest[:_PREFIX])
        if key is None or key.is_expired or not hmac.compare_digest(key.hash, _hash(token)):
            return None
        return frozenset(key.scopes)

    @property
    def is_empty(self) -> bool:
        """True if nobody could be let in."""
        self._look()
        return all(key.is_expired for key in self._keys.values())

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        seen = _mark(self.path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys, self.problem = {key.prefix: key for key in self.ls()}, ""
        except SettingsError as error:
            self._keys, self.problem = {}, str(error)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Two changes at once would lose one of them."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path.parent}: {error.strerror}; choose another --data") from error
        lock = Lock(self.path.parent, "keys.lock", "change the keys of")
        try:
            yield
        finally:
            lock.release()

    def _write(self, keys: tuple[Key, ...]) -> None:
        try:
            private.write(self.path, msgspec.json.format(msgspec.json.encode(_Content(1, keys)), indent=1) + b"\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}; nothing was changed") from error
        self._looked = float("-inf")


def is_required(api: ApiSettings) -> bool:
    """True if every request needs a key: it was asked for, or others than this machine can reach the address."""
    return api.require_key or api.is_public


def open_keys(data: str | Path, api: ApiSettings) -> KeyFile:
    """The keys of a run, at its start; raises `SettingsError` where keys are needed and there is none."""
    keys = KeyFile(data)
    if not is_required(api):
        return keys
    keys.ls()  # a file that cannot be used is an error at the start, not a locked door later
    if keys.is_empty:
        why = f"[api] host {api.host} can be reached by others" if api.is_public else "[api] require_key is set"
        raise SettingsError(
            f"{why}, and no key is in {keys.path}: create a key with `tapeflow key create NAME --data {data}`, "
            "or bind 127.0.0.1 without require_key"
        )
    return keys


def _scopes(wanted: Iterable[str]) -> tuple[str, ...]:
    asked = set(wanted)
    if not asked or not asked <= set(SCOPES):
        wrong = ", ".join(sorted(asked - set(SCOPES))) or "none"
        raise SettingsError(f"expected scopes of {', '.join(SCOPES)}, got {wrong}")
    return tuple(scope for scope in SCOPES if scope in asked)


def _hash(token: str) -> str:
    # Neither salt nor a slow hash: these make guessing dear where people choose the word. A token is 256 random bits,
    # which nobody guesses at any speed, and it is checked on every request.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def _now() -> int:
    return time.time_ns() // 1000


def _mark(path: Path) -> tuple[int, ...] | None:
    """What is another after every change of a file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode
