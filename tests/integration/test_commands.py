"""The other commands, as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def tapeflow(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tapeflow", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    made = tapeflow("sample", folder / "a.ndjson", "--seconds", "30", "--symbols", "btcusdt,ETHUSDT", "--json")
    said = json.loads(made.stdout)
    assert said["symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert len((folder / "a.ndjson").read_bytes().splitlines()) == said["messages"]
    for form in ("ndjson", "parquet"):
        done = tapeflow("replay", folder / "a.ndjson", "--out", folder / form, "--format", form)
        assert done.returncode == 0, done.stderr
    return folder


def test_the_same_seed_gives_the_same_bytes(results: Path) -> None:
    for name, seed in (("b", "7"), ("c", "8")):
        tapeflow(
            "sample", results / f"{name}.ndjson", "--seconds", "30", "--symbols", "BTCUSDT,ETHUSDT", "--seed", seed
        )
    a, b, c = ((results / f"{name}.ndjson").read_bytes() for name in "abc")
    assert a == b != c


def test_show_is_a_table_and_a_picture_of_either_format(results: Path) -> None:
    shown = [
        tapeflow("show", results / form, "--symbol", "ethusdt", "--interval", "5s") for form in ("ndjson", "parquet")
    ]
    assert shown[0].stdout == shown[1].stdout
    assert "ETHUSDT 5s" in shown[0].stdout
    assert "┃" in shown[0].stdout.rpartition("└")[2]
    rows = tapeflow("show", results / "ndjson", "--interval", "5s", "--last", "2", "--json").stdout.splitlines()
    assert [json.loads(row)["symbol"] for row in rows] == ["BTCUSDT"] * 2


def test_show_says_what_there_is(results: Path, tmp_path: Path) -> None:
    missing = tapeflow("show", results / "ndjson", "--symbol", "DOGE")
    assert missing.returncode == 1
    assert "BTCUSDT, ETHUSDT" in missing.stderr
    assert "no candles" in tapeflow("show", tmp_path).stderr


def test_explain_as_a_tree_and_as_json() -> None:
    assert "└─" in tapeflow("explain").stdout
    shown = json.loads(tapeflow("explain", "--json").stdout)
    assert {node["id"] for node in shown["nodes"]} >= {"trades", "candles:1m", "candles:1m/rsi_14", "book:20"}


def test_wrong_usage_ends_with_2() -> None:
    for words in ((), ("nothing",), ("replay",), ("sample", "x", "--seconds", "0"), ("explain", "/nonexistent.toml")):
        done = tapeflow(*words)
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr


def test_version_and_completion() -> None:
    assert tapeflow("--version").stdout.startswith("tapeflow ")
    assert "tapeflow" in tapeflow("--show-completion", "bash").stdout
