"""Whether a run, or a gateway, uses a data folder now, and where it serves; and what it answers."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from tapeflow.domain.errors import InputError, SettingsError, StoreError

#: The environment variable with the key for a server that wants one.
KEY = "TAPEFLOW_API_KEY"
#: What tells of a run, and of a gateway; a collector of the same folder serves nothing.
STATUSES = ("status.json", "gateway.json")
_TIMEOUT_S = 60.0


class _Status(msgspec.Struct):
    pid: int = 0
    is_running: bool = False
    api: str | None = None


def address(data: Path) -> str | None:
    """Where the run of a folder serves, such as ``http://127.0.0.1:8600``; None if there is none or it does not."""
    return next((at for name in STATUSES if (at := _address(data / name)) is not None), None)


def _address(path: Path) -> str | None:
    try:
        status = msgspec.json.decode(path.read_bytes(), type=_Status)
    except (OSError, msgspec.DecodeError):
        return None
    return status.api if status.is_running and _is_alive(status.pid) else None


def ask(data: Path, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
    """The JSON that the run of a folder answers; raises `InputError` where none runs, `SettingsError` if it refuses."""
    at = address(data)
    if at is None:
        raise InputError(f"no run serves {data} now; start one there, or give the data folder of one with --data")
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    sent = None if body is None else msgspec.json.encode(body)
    headers |= {} if body is None else {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{at}{path}", sent, headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            return msgspec.json.decode(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            raise SettingsError(detail(error.read(), error.code)) from error
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(f"the run at {at} does not answer: {error}; see its log") from error


def detail(body: bytes, status: int) -> str:
    """What a refusal says, for a person."""
    try:
        told = str(msgspec.json.decode(body)["detail"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"the run answers {status}"
    return told + (f"; put it into {KEY}" if status == 401 else "")


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    if os.name != "posix":
        return True  # a signal would end it there; a server that is gone is noticed when it is asked
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
