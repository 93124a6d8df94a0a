"""Set-up, demonstration and tests from a fresh clone, with nothing but Python and git on the machine.

    python3 dev.py run     sets up, replays a sample and shows its candles
    python3 dev.py test    sets up and runs the whole gate

The environment is `.venv`, made from `requirements/dev.txt` (versions and hashes) whenever that file changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
LOCK = ROOT / "requirements" / "dev.txt"


def call(*command: str | Path, **more: object) -> None:
    """Run a command; its failure is ours."""
    done = subprocess.run([str(word) for word in command], cwd=ROOT, check=False, **more)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(done.returncode)


def stamp() -> str:
    """What the environment was made from: the lock, the build and the kernel's sources."""
    digest = hashlib.sha256(sys.version.encode())
    kernel = ROOT / "src" / "tapeflow" / "engine" / "kernel"
    for path in (LOCK, ROOT / "pyproject.toml", ROOT / "setup.py", *sorted(kernel.iterdir())):
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
    """Replay a sample that a seeded generator makes, and show its candles."""
    call(PYTHON, "-m", "tapeflow", "sample", "out/sample.ndjson")
    call(PYTHON, "-m", "tapeflow", "replay", "out/sample.ndjson", "--out", "out/results")
    call(PYTHON, "-m", "tapeflow", "show", "out/results", "--symbol", "BTCUSDT", "--interval", "15s")


def test() -> None:
    """Format, lint, types, imports, all tests, the fuzzer, the broken laws: exactly what CI runs."""
    for name in ("fmt-check", "lint", "types", "imports", "tests"):
        task(name)
    task("fuzz", *(["--install"] if can_install("clang") else []))
    task("broken")


def bench() -> None:
    """All benchmarks but the long one (bench-memory)."""
    for name in ("bench-replay", "bench-tape", "bench-feed", "bench-live"):
        task(name)


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
    "fuzz": (PYTHON.name, "fuzz/run.py"),
    "broken": (PYTHON.name, "tests/broken.py"),
    "bench-replay": (PYTHON.name, "bench/run.py"),
    "bench-tape": (PYTHON.name, "bench/tape.py"),
    "bench-live": (PYTHON.name, "bench/live.py"),
    "bench-feed": (PYTHON.name, "bench/feed.py"),
    "bench-memory": (PYTHON.name, "bench/memory.py"),
}


def task(name: str, *more: str) -> None:
    """One of the tools of the environment."""
    print(f"== {name}", flush=True)
    command = TASKS[name]
    call(BIN / command[0], *command[1:], *more)


def main() -> None:
    """Do what the first argument says."""
    name, *more = sys.argv[1:] or ["help"]
    own = {"setup": setup, "run": run, "test": test, "bench": bench}
    if name not in own and name not in TASKS:
        sys.exit(f"{__doc__}\nAlso: setup {' '.join(TASKS)}")
    setup()
    if name in TASKS:
        task(name, *more)
    elif name != "setup":
        own[name]()


if __name__ == "__main__":
    main()
