"""A Python environment of a service, made once from a lock of versions and hashes, for those whose pins are not ours.

Where from is pip's own matter (its settings on this machine); the lock holds no address.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tapeflow.domain.errors import StackError
from tapeflow.stack.service import Progress

_PIN = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)", re.MULTILINE)
#: What pip says when it has found a package, and when it has them all.
_FOUND = re.compile(r"^Collecting ([A-Za-z0-9_.-]+)==")
_INSTALLING = "Installing collected packages"
#: The part of the whole time that finding and fetching takes.
_FETCHING = 0.7


def pins(lock: Path) -> dict[str, str]:
    """The version of each package of a lock."""
    return dict(_PIN.findall(lock.read_text("utf-8")))


def folder(lock: Path, root: str, cache: Path) -> Path:
    """Where the environment is kept; another lock and another Python have another folder."""
    mark = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:8]
    return cache / f"{root}-{pins(lock)[root]}-{mark}"


def has(place: Path) -> bool:
    """Whether it was made to its end."""
    return (place / "made").exists()


def python(place: Path) -> Path:
    """Its interpreter."""
    return place / "bin" / "python"


def site_packages(place: Path) -> Path:
    """Where its packages are."""
    return place / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def make(lock: Path, place: Path, size: int, progress: Progress | None) -> None:
    """Make it, anew where an earlier attempt was cut; raises `StackError` with what pip complains of."""
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    _call((sys.executable, "-m", "venv", str(place)), None)
    wanted = pins(lock)

    def hear(line: str) -> None:
        if progress is None:
            return
        found = _FOUND.match(line)
        if found:
            wanted.pop(found[1], None)
            progress(int(size * _FETCHING * (1 - len(wanted) / len(pins(lock)))), size)
        elif line.startswith(_INSTALLING):
            progress(int(size * _FETCHING), size)

    pip = (str(python(place)), "-m", "pip", "--disable-pip-version-check", "--no-input", "install")
    _call((*pip, "--require-hashes", "--no-deps", "-r", str(lock)), hear)
    (place / "made").write_text("", "utf-8")


def _call(command: Sequence[str], hear: object) -> None:
    said: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.rstrip())
            if callable(hear):
                hear(line)
    if process.returncode:
        raise StackError(f"{' '.join(command[1:4])} failed:\n  " + "\n  ".join(said[-8:]))
