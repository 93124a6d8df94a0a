"""Set-up, demonstration and tests from a fresh clone, with nothing but Python and git on the machine.

    python3 dev.py run     sets up, runs the demo for some seconds and shows its candles
    python3 dev.py test    sets up and runs the whole gate

The environment is `.venv`, made from `requirements/dev.txt` (versions and hashes) whenever that file changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
LOCK = ROOT / "requirements" / "dev.txt"

#: What the tests run beside Python, by a command of it: the page's browser, the servers of `tapeflow stack`.
PROGRAMS = {
    "chromium": "chromium",
    "java": "default-jre-headless",
    "mvn": "maven",
    "pg_createcluster": "postgresql",
}
#: Its status 101 keeps packages from starting their servers when they are installed.
NO_DAEMONS = Path("/usr/sbin/policy-rc.d")


def call(*command: str | Path, **more: object) -> None:
    """Run a command; its failure is ours."""
    done = subprocess.run([str(word) for word in command], cwd=ROOT, check=False, **more)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(done.returncode)


def stamp() -> str:
    """What the environment was made from: the lock, the build, the kernel's sources and the page's."""
    digest = hashlib.sha256(sys.version.encode())
    kernel = ROOT / "src" / "tapeflow" / "engine" / "kernel"
    web = ROOT / "web"
    page = (
        web / "index.html",
        web / "package-lock.json",
        *sorted(one for one in (web / "src").rglob("*") if one.is_file()),
    )
    for path in (LOCK, ROOT / "pyproject.toml", ROOT / "setup.py", *sorted(kernel.iterdir()), *page):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def setup() -> None:
    """Make `.venv` unless it is up to date."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is run before anything checks the version
        sys.exit(f"Tapeflow needs Python 3.11 or newer, this is {sys.version.split()[0]}")
    mark = VENV / "made-from"
    if mark.exists() and mark.read_text() == stamp():
        return
    print("Setting up .venv (once) ...", flush=True)
    call(sys.executable, "-m", "venv", VENV)
    pip = (PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet")
    call(*pip, "install", "--require-hashes", "-r", LOCK)
    call(*pip, "install", "--no-deps", "--editable", ".")
    mark.write_text(stamp())


def run() -> None:
    """Run the demo for some seconds, as a user would, and show the candles that it serves."""
    with demo() as address:
        past = candles(address, "1m", 3)
        live = candles(address, "1s", 3, source="trades")
        print(f"\n{address} serves a simulated market. BTCUSDT, three minutes of its past and three seconds live:\n")
        for row in (*past[-3:], *live[-3:]):
            at = time.strftime("%H:%M:%S", time.gmtime(row["ts_start"] / 1e6))
            prices = "".join(f"{row[name]:>11}" for name in ("open", "high", "low", "close", "volume"))
            print(f"  {row['interval']:>3} {at} UTC {prices}  {row['count']:>5} trades")
        print(flush=True)
    command = BIN.relative_to(ROOT) / "tapeflow"
    print(f"It works. To keep it running, with the page in your browser:\n\n    {command} demo\n")


@contextlib.contextmanager
def demo() -> Iterator[str]:
    """The demo on a free port, in a new folder; its address."""
    shutil.rmtree(ROOT / "out" / "demo", ignore_errors=True)
    options = ("--no-browser", "--port", "0", "--data", "out/demo")
    process = subprocess.Popen(
        [PYTHON, "-m", "tapeflow", "demo", *options], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            sys.exit(process.wait() or 1)
        yield address
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGINT)
        process.communicate(timeout=30)


def candles(address: str, interval: str, least: int, source: str = "") -> list[dict[str, object]]:
    """Candles of BTCUSDT, once there are so many."""
    url = f"{address}v1/candles?symbol=BTCUSDT&interval={interval}&limit=100"
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(url, timeout=10) as answer:
            rows = [row for row in json.load(answer)["data"] if source in ("", row["source"])]
            if len(rows) >= least:
                return rows
        time.sleep(0.2)
    sys.exit(f"no candles at {url} within a minute; what the demo said stands above")


def test() -> None:
    """Format, lint, types, imports, all tests, the fuzzer, the broken laws: exactly what CI runs."""
    for name in ("fmt-check", "lint", "types", "imports", "tests"):
        if name == "tests":
            install()
        task(name)
    task("fuzz", *(["--install"] if can_install("clang") else []))
    task("broken")


def bench() -> None:
    """All benchmarks but the long one (bench-memory)."""
    for name in ("bench-replay", "bench-tape", "bench-feed", "bench-live", "bench-stream", "bench-rest"):
        task(name)


def bench_cluster() -> None:
    """Kafka, Flink and PostgreSQL in a new folder; publishing, sinks, folds and steps; nothing is left running."""
    stack = (PYTHON, "-m", "tapeflow", "stack")
    with tempfile.TemporaryDirectory(prefix="tapeflow-bench-") as folder:
        Path(folder).chmod(0o755)  # under root the user postgres must enter it
        where = ("--data", str(Path(folder) / "stack"))
        try:
            call(*stack, "up", "--services", "kafka,flink,postgres", *where)
            told = subprocess.run([*map(str, stack), "env", *where], capture_output=True, text=True, check=True).stdout
            for line in told.splitlines():
                name, _, value = line.partition("=")
                os.environ[name] = value.strip("'")
            os.environ["TAPEFLOW_DATA"] = where[1]
            for name in ("bench-bus", "bench-flink"):
                task(name)
        finally:
            subprocess.run([*map(str, stack), "down", *where], check=False)


def install() -> None:
    """Install what the tests run, where we may; the system's own servers stay off."""
    missing = [package for command, package in PROGRAMS.items() if can_install(command)]
    if not missing:
        return
    is_ours = not NO_DAEMONS.exists()
    if is_ours:
        NO_DAEMONS.write_text("#!/bin/sh\nexit 101\n")
        NO_DAEMONS.chmod(0o755)
    try:
        call("apt-get", "update", "--quiet")
        call("apt-get", "install", "--yes", "--no-install-recommends", *missing)
    finally:
        if is_ours:
            NO_DAEMONS.unlink()


def can_install(command: str) -> bool:
    """True if a system package would bring the command, and we may install it."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return is_root and shutil.which("apt-get") is not None and shutil.which(command) is None


TASKS: dict[str, tuple[str, ...]] = {
    "fmt": ("ruff", "format"),
    "fmt-check": ("ruff", "format", "--check"),
    "lint": ("ruff", "check"),
    "types": ("mypy",),
    "imports": ("lint-imports",),
    "tests": ("pytest", "-n", "2", "-q"),
    "quick": ("pytest", "-m", "not slow", "-n", "2", "-q"),
    "docs": (PYTHON.name, "docs/generate.py"),
    "jars": (PYTHON.name, "requirements/jars.py"),
    "page": (PYTHON.name, "web/build.py"),
    "screenshots": (PYTHON.name, "docs/screenshots.py"),
    "fuzz": (PYTHON.name, "fuzz/run.py"),
    "broken": (PYTHON.name, "tests/broken.py"),
    "bench-replay": (PYTHON.name, "bench/run.py"),
    "bench-tape": (PYTHON.name, "bench/tape.py"),
    "bench-live": (PYTHON.name, "bench/live.py"),
    "bench-feed": (PYTHON.name, "bench/feed.py"),
    "bench-stream": (PYTHON.name, "bench/stream.py"),
    "bench-rest": (PYTHON.name, "bench/rest.py"),
    "bench-memory": (PYTHON.name, "bench/memory.py"),
    "bench-bus": (PYTHON.name, "bench/bus.py"),
    "bench-flink": (PYTHON.name, "bench/flink.py"),
}


def task(name: str, *more: str) -> None:
    """One of the tools of the environment."""
    print(f"== {name}", flush=True)
    command = TASKS[name]
    call(BIN / command[0], *command[1:], *more)


def main() -> None:
    """Do what the first argument says."""
    name, *more = sys.argv[1:] or ["help"]
    own = {"setup": setup, "run": run, "test": test, "bench": bench, "bench-cluster": bench_cluster}
    if name not in own and name not in TASKS:
        sys.exit(f"{__doc__}\nAlso: setup {' '.join(TASKS)}")
    setup()
    if name in TASKS:
        task(name, *more)
    elif name != "setup":
        own[name]()


if __name__ == "__main__":
    main()
