"""The page's sources: types as the server says, strict TypeScript, a lock without addresses."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "web"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node() -> list[str]:
    build = runpy.run_path(str(WEB / "build.py"))
    if not build["node"]() and os.environ.get("CI") != "true":
        pytest.skip("no node")
    build["build"]()
    build["_install"](build["node"]()[1])
    return build["node"]()[0]  # type: ignore[no-any-return]


def test_types_are_those_that_the_server_says(node: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "generate.py", "--check"], cwd=WEB, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_it_is_strict_typescript(node: list[str]) -> None:
    done = subprocess.run(
        [*node, "node_modules/typescript/bin/tsc", "--noEmit"], cwd=WEB, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_lock_has_hashes_and_no_addresses() -> None:
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    assert not any("resolved" in entry for entry in packages.values())
    assert all("integrity" in entry for name, entry in packages.items() if name)
