"""What is wrong on this machine and on the way to the venue, and what to do about it. It changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from tapeflow.api.health import health
from tapeflow.api.keys import open_keys
from tapeflow.api.port import taken
from tapeflow.app.run import Folder
from tapeflow.domain.errors import SettingsError
from tapeflow.engine import kernels
from tapeflow.feed.probe import Seen, look
from tapeflow.settings import RunSettings
from tapeflow.venues.wire import wire

OLDEST_PYTHON = (3, 11)
PACKAGES = (
    "aiohttp", "duckdb", "fastapi", "msgspec", "numpy", "picows", "prometheus-client", "pyarrow", "rich", "structlog",
    "typer", "uvicorn", "zstandard",
)  # fmt: skip
#: A clock further off than this makes times of receipt misleading; windows close by the venue's time all the same.
OFFSET_MS = 500.0
#: A sync that takes longer leaves what the tape promises after a power failure behind.
SYNC_MS = 200.0
LEAST_FREE = 1 << 30
LEAST_FILES = 1024
#: A status that is older than this is of a run that does not run.
FRESH_S = 10.0


class Finding(msgspec.Struct, frozen=True):
    """One check: ``ok``, ``warn`` (it works, but look) or ``wrong``; ``advice`` says what to do."""

    check: str
    state: Literal["ok", "warn", "wrong"]
    detail: str
    advice: str = ""


def examine(settings: RunSettings) -> list[Finding]:
    """All checks, in the order in which to mend what they find."""
    folder = Folder(settings.data)
    status = _status(folder)
    return [
        _python(),
        _packages(),
        _kernel(),
        *_disk(folder, settings),
        _files(settings),
        _keys(settings),
        _port(settings, status),
        *_venue(settings),
        _run(folder, status),
    ]


# -- this machine ----------------------------------------------------------------------------------------


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        return Finding("python", "wrong", found, f"use Python {wanted} or newer")
    return Finding("python", "ok", found)


def _packages() -> Finding:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", "wrong", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    return Finding("packages", "ok", ", ".join(found))


def _kernel() -> Finding:
    if kernels.COMPILED is None:
        what = "not built: the portable twin runs, with the same results and some twenty times slower"
        return Finding("kernel", "warn", what, "install a C compiler or the ziglang wheel, and the package again")
    return Finding("kernel", "ok", "compiled")


def _files(settings: RunSettings) -> Finding:
    try:
        import resource  # noqa: PLC0415 - only POSIX has it
    except ImportError:
        return Finding("open files", "ok", "no limit known here")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY or limit >= LEAST_FILES:
        return Finding("open files", "ok", f"limit {limit}")
    what = f"limit {limit}: each connection, each client of the API and each segment being read takes one"
    return Finding("open files", "warn", what, f"ulimit -n {4 * LEAST_FILES} before the start")


def _disk(folder: Folder, settings: RunSettings) -> Iterator[Finding]:
    """Whether the data folder (or where it will be made) can be written, how fast, and what room there is."""
    place = folder.root.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        took_ms = _sync_ms(place)
    except OSError as error:
        yield Finding("data folder", "wrong", f"{place}: {error.strerror}", "make it writable, or choose another data")
        return
    yield Finding(
        "data folder", "ok", str(place) if place == folder.root.absolute() else f"{folder.root}, will be made"
    )
    if took_ms > SYNC_MS:
        what = f"a sync takes {took_ms:.0f} ms"
        yield Finding("disk speed", "warn", what, "use a local disk, not one of a network")
    else:
        yield Finding("disk speed", "ok", f"a sync takes {took_ms:.1f} ms")
    yield _room(folder, place, settings)


def _sync_ms(place: Path) -> float:
    took = []
    with tempfile.TemporaryFile(dir=place) as file:
        for _ in range(5):
            file.write(os.urandom(4096))
            file.flush()
            began = time.monotonic()
            os.fsync(file.fileno())
            took.append((time.monotonic() - began) * 1000)
    return statistics.median(took)


def _room(folder: Folder, place: Path, settings: RunSettings) -> Finding:
    free = shutil.disk_usage(place).free
    more = max(0, settings.tape.keep_bytes - _bytes_of(folder.tape))
    text = f"{_gib(free)} free; the tape may grow by {_gib(more)}, to [tape] keep_bytes"
    if free < LEAST_FREE:
        return Finding("disk room", "wrong", text, "free room: a full disk stops the tape, and then the sockets")
    if free < more:
        return Finding("disk room", "warn", text, "lower [tape] keep_bytes or keep, or use a larger disk")
    return Finding("disk room", "ok", text)


def _bytes_of(folder: Path) -> int:
    used = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a run that goes on removes and packs segments
            used += path.stat().st_size if path.is_file() else 0
    return used


def _gib(number: int) -> str:
    return f"{number / (1 << 30):.1f} GiB"


# -- the API -----------------------------------------------------------------------------------------------


def _keys(settings: RunSettings) -> Finding:
    try:
        keys = open_keys(settings.data, settings.api)
        number = len(keys.ls())
    except SettingsError as error:
        return Finding("keys", "wrong", str(error), "see docs/how-to.md, expose it to others safely")
    return Finding("keys", "ok", f"{number} keys" + ("" if number else ", and none is needed"))


def _port(settings: RunSettings, status: dict[str, Any]) -> Finding:
    api = settings.api
    at = f"{api.host}:{api.port}"
    if not api.enabled:
        return Finding("api port", "ok", "[api] is not enabled")
    why = taken(api.host, api.port)
    if not why:
        return Finding("api port", "ok", f"{at} is free")
    if _is_running(status):
        return Finding("api port", "ok", f"{at} is in use, as it should be by the run of process {status['pid']}")
    return Finding("api port", "wrong", f"{at}: {why}", "choose another [api] port, or end what uses this one")


# -- the venue -----------------------------------------------------------------------------------------------


def _venue(settings: RunSettings) -> Iterator[Finding]:
    talk = wire(settings.venue)
    rest, websocket = settings.endpoints.rest or talk.rest, settings.endpoints.websocket or talk.websocket
    seen, socket = asyncio.run(look(rest, websocket, talk))
    yield _reached("venue rest", seen, talk.name)
    yield _reached("venue websocket", socket, talk.name)
    if seen.offset_ms is not None:
        yield _clock(seen)


def _reached(check: str, seen: Seen, venue: str) -> Finding:
    if not seen.problem:
        return Finding(check, "ok", f"{seen.address} answers within {seen.round_trip_ms:.0f} ms")
    detail = f"{seen.address} {seen.problem}" if seen.status else f"{seen.address} cannot be reached: {seen.problem}"
    if seen.status == 451:
        return Finding(check, "wrong", detail, "the detail names the addresses to put under [endpoints]")
    if seen.status:
        return Finding(check, "wrong", detail, "wait if it is 429, 418 or 5xx; else see [endpoints] and any proxy")
    advice = f"see network, DNS, firewall and [endpoints]; without them: tapeflow simulate {venue}"
    return Finding(check, "wrong", detail, advice)


def _clock(seen: Seen) -> Finding:
    assert seen.offset_ms is not None
    text = f"{seen.offset_ms:+.0f} ms against the venue, +-{seen.round_trip_ms / 2:.0f}"
    if abs(seen.offset_ms) - seen.round_trip_ms / 2 > OFFSET_MS:
        return Finding("clock", "warn", text, "have it set by NTP (timedatectl set-ntp true): times of receipt are off")
    return Finding("clock", "ok", text)


# -- a run -----------------------------------------------------------------------------------------------------


def _status(folder: Folder) -> dict[str, Any]:
    """The status that a run has written, with its age; empty where there is none that can be read."""
    try:
        read = msgspec.json.decode(folder.status.read_bytes(), type=dict[str, Any])
        return read | {"age_s": time.time() - folder.status.stat().st_mtime}
    except (OSError, msgspec.DecodeError):
        return {}


def _run(folder: Folder, status: dict[str, Any]) -> Finding:
    if not status:
        return Finding("run", "ok", f"none was here yet: no {folder.status}")
    if not status.get("is_running"):
        return Finding("run", "ok", "the last one was stopped")
    if not _is_running(status):
        what = f"process {status.get('pid')} ended without a word {status['age_s']:.0f} s ago"
        return Finding("run", "warn", what, "start `tapeflow run` again: it goes on, and fills what was missed")
    found = health(status)
    bad = [check for check in found.checks if check.status != "ok"]
    text = "; ".join(f"{check.name}: {check.detail}" for check in bad)
    if found.status == "ok":
        return Finding("run", "ok", f"process {status['pid']} is live and well")
    return Finding("run", "wrong" if found.status == "failing" else "warn", text, "as said there")


def _is_running(status: dict[str, Any]) -> bool:
    return bool(status.get("is_running")) and status["age_s"] < FRESH_S
