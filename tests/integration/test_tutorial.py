"""The live part of the tutorial, followed to the letter: an indicator of one's own, and an alert on it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from integration.test_demo import Demo
from live.truth import get

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="SIGINT ends the demo"),
]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
FIRES_S = 150.0


def saved(name: str, folder: Path) -> None:
    """Save the block of the page with this file's name, there."""
    found = re.search(rf"^```\w+ {re.escape(name)}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, name
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(found[1], encoding="utf-8")


def tapeflow(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "tapeflow", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_indicator_of_ones_own_is_computed_drawn_and_alerts(tmp_path: Path) -> None:
    for name in ("mine/momentum.py", "turn.json"):
        saved(name, tmp_path)
    assert "tapeflow demo --indicators mine\n" in PAGE
    demo = Demo(tmp_path, "--port", "0", "--indicators", "mine")
    try:
        rows = demo.until("/v1/indicators?symbol=BTCUSDT&interval=1m&name=momentum_10&limit=500", least=400)
        candles = demo.rows(f"/v1/candles?symbol=BTCUSDT&interval=1m&limit=10000&end={rows[-1]['ts_end']}")
        closes = {row["ts_start"]: float(row["close"]) for row in candles}
        starts = sorted(closes)
        for row in rows[-50:]:
            before = starts[starts.index(row["ts_start"]) - 10]
            assert row["values"] == {"momentum": closes[row["ts_start"]] - closes[before]}
        assert "momentum_10" in get(demo.address + "/v1/about")["indicators"]
        study = demo.rows("/v1/indicators?symbol=BTCUSDT&interval=1m&name=momentum_3&limit=5")
        assert [row["name"] for row in study] == ["momentum_3"] * 5

        tapeflow(tmp_path, "alert", "add", "turn.json", "--data", "demo")
        patience = time.monotonic() + FIRES_S
        while not (said := tapeflow(tmp_path, "alert", "events", "--data", "demo", "--json")):
            assert time.monotonic() < patience, demo.said
            time.sleep(1)
        event = json.loads(said.splitlines()[0])
        assert event["name"] == "BTC gains over ten seconds"
        assert float(event["value"]) >= 0
    finally:
        status, _ = demo.stop()
    assert status == 0, demo.said
