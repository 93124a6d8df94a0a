"""The package as a stranger gets it: a wheel in an environment of its own, built by a compiler, by zig, or by none."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

BUILDS = ["compiler", "zig", "nothing"]


def call(*command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    text = [str(word) for word in command]
    return subprocess.run(text, env=os.environ | env, check=True, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module", params=BUILDS)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """How it was built, the wheel, and the ``tapeflow`` command of a fresh environment that has it."""
    folder = tmp_path_factory.mktemp(request.param)
    source = folder / "source"
    call("git", "clone", "--quiet", ROOT, source) if (ROOT / ".git").exists() else pytest.skip("not a checkout")
    env = {} if request.param == "compiler" else {"CC": "/nonexistent/cc"}
    if request.param == "nothing":
        env["PYTHONPATH"] = str(hide_zig(folder))
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source, **env)
    (wheel,) = folder.glob("*.whl")
    call(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    call(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    return request.param, wheel, folder / "venv" / "bin" / "tapeflow"


def hide_zig(folder: Path) -> Path:
    """A path on which ``ziglang`` is a module that is not there."""
    hidden = folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['ziglang'] = None\n")
    return hidden


def run(command: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    # The dependencies come from the environment of the tests; the package does not: it is not found by this path.
    return call(command, *words, PYTHONPATH=sysconfig.get_path("purelib"))


def test_the_wheel_has_the_kernel_that_could_be_built(installed: tuple[str, Path, Path]) -> None:
    how, wheel, _ = installed
    names = zipfile.ZipFile(wheel).namelist()
    assert any("_kernel" in name for name in names) == (how != "nothing")
    assert {"tapeflow/py.typed", "tapeflow/stack/kafka.toml"} <= set(names)
    assert not any(name.startswith(("tests", "bench", "fuzz")) for name in names)


def test_it_says_its_version(installed: tuple[str, Path, Path]) -> None:
    assert run(installed[2], "--version").stdout == "tapeflow 0.1.0\n"


def test_it_replays_to_the_same_bytes(installed: tuple[str, Path, Path], tmp_path: Path) -> None:
    _, _, command = installed
    run(command, "sample", tmp_path / "sample.ndjson", "--seconds", "20")
    run(command, "replay", tmp_path / "sample.ndjson", "--out", tmp_path / "out")
    call(sys.executable, "-m", "tapeflow", "replay", tmp_path / "sample.ndjson", "--out", tmp_path / "expected")
    for expected in (tmp_path / "expected").iterdir():
        assert (tmp_path / "out" / expected.name).read_bytes() == expected.read_bytes(), expected.name
    assert run(command, "show", tmp_path / "out", "--interval", "1s").stdout
