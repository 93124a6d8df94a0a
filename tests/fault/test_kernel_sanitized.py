"""The C kernel, fuzzed for a while under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

NO_COMPILER = 2


@pytest.mark.slow
def test_fuzzing_finds_nothing() -> None:
    if shutil.which("clang") is None and shutil.which("gcc") is None:
        assert os.environ.get("CI") != "true", "the gate needs clang or gcc"
        pytest.skip("neither clang nor gcc is here")
    command = [sys.executable, "fuzz/run.py", "--seconds", "20"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=240)
    if done.returncode == NO_COMPILER and os.environ.get("CI") != "true":
        pytest.skip(f"no sanitizers here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
