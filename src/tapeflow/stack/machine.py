"""What this machine has: ports, memory, disk, Java."""

from __future__ import annotations

import platform
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tapeflow.domain.errors import StackError
from tapeflow.stack.service import HOST

OLDEST_JAVA = 17


def is_free(port: int) -> bool:
    """Whether a server could listen on it."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may still fade
        try:
            tried.bind((HOST, port))
        except OSError:
            return False
    return True


def becomes_free(port: int, within_s: float) -> bool:
    """Whether a server could listen on it, soon: the system takes a while to end a process that was killed."""
    until = time.monotonic() + within_s
    while not is_free(port):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def is_answered(port: int) -> bool:
    """Whether a server listens on it."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def free_port(but: set[int]) -> int:
    """A port that nobody has, and none of those."""
    port = 0
    while port == 0 or port in but:
        with socket.socket() as tried:
            tried.bind((HOST, 0))
            port = int(tried.getsockname()[1])
    return port


def refuse_system() -> None:
    """Raise `StackError` where processes are not known by /proc."""
    if platform.system() != "Linux":
        raise StackError("the stack runs on Linux only; elsewhere use containers: tapeflow stack compose")


def lacks_memory(wanted_mib: int) -> Iterator[str]:
    """Too little memory."""
    free = _free_mib()
    if free is not None and free < wanted_mib:
        yield f"memory: {wanted_mib} MiB are needed, {free} MiB are free; end something, or start fewer servers"


def _free_mib() -> int | None:
    """What programs may still take; None if the system does not say."""
    try:
        said = re.search(r"^MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text("ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(said[1]) >> 10 if said else None


def lacks_disk(folder: Path, wanted: int) -> Iterator[str]:
    """Too little room where a folder is or will be made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < wanted:
        yield f"disk: {folder} needs {wanted >> 20} MiB, {free >> 20} MiB are free; make room, or choose another folder"


def lacks_java() -> Iterator[str]:
    """No Java, or one too old."""
    advice = f"install Java {OLDEST_JAVA} or newer (Debian: default-jre-headless)"
    try:
        done = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        yield f"java: there is none; {advice}"
        return
    said = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    if said is None:
        yield f"java: `java -version` does not say its version: {done.stderr.strip()[:200]!r}; {advice}"
    elif int(said[1]) < OLDEST_JAVA:
        yield f"java: this is Java {said[1]}; {advice}"
