"""A recipe's folder: one run at a time, one source for good; said before anything is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tapeflow.app.recipe import names
from tapeflow.tape.lock import Lock


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tapeflow", "recipe", "run", "r1", "--no-browser", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_a_folder_is_of_one_source(tmp_path: Path) -> None:
    for known, other in (("binance", "simulated"), ("simulated", "binance")):
        data = tmp_path / known
        data.mkdir()
        (data / "source").write_text(f"{known}\n")
        done = run(tmp_path, "--data", str(data), "--source", other)
        assert done.returncode == 2, done.stderr
        assert f"{data} holds what {known} told, not {other}: choose another --data" in done.stderr


def test_of_two_in_one_folder_the_second_is_refused_and_leaves_the_first_alone(tmp_path: Path) -> None:
    assert "r1" in names()
    for source, folder in (("simulated", tmp_path / "tapeflow-r1"), ("binance", tmp_path / "tapeflow-r1-binance")):
        folder.mkdir()
        lock = Lock(folder, "recipe.lock", "run a recipe in")
        try:
            done = run(tmp_path, "--source", source)
        finally:
            lock.release()
        assert done.returncode == 1, done.stderr
        assert f"process {os.getpid()} does so already" in done.stderr
        assert [path.name for path in folder.iterdir()] == ["recipe.lock"]


def test_an_unknown_source_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    done = run(tmp_path, "--source", "nyse")
    assert done.returncode == 2, done.stderr
    assert "no source 'nyse' here; there are simulated and binance" in done.stderr
    assert not list(tmp_path.iterdir())
