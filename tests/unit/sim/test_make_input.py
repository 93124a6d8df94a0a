"""The benchmark's input is what it says."""

import importlib.util
import json
from collections import defaultdict
from pathlib import Path

PATH = Path(__file__).parents[3] / "bench" / "make_input.py"
SPEC = importlib.util.spec_from_file_location("make_input", PATH)
make_input = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make_input)


def lines(*args):
    return b"".join(make_input.trades_ndjson(*args)).splitlines()


def test_lines():
    found = lines(20_000, 50, 3)
    assert found == lines(20_000, 50, 3) != lines(20_000, 50, 4)
    rows = [json.loads(line) for line in found]
    assert all(list(row) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"] for row in rows)
    assert json.dumps(rows[0], separators=(",", ":")).encode() == found[0]

    ids = defaultdict(list)
    for row in rows:
        ids[row["s"]].append(row["t"])
    assert all(sorted(of) == list(range(1, len(of) + 1)) for of in ids.values())
    counts = sorted(map(len, ids.values()), reverse=True)
    assert len(ids) == 50
    assert 1.6 < counts[0] / counts[1] < 2.4

    latest = late = 0
    for row in rows:
        late += row["T"] < latest
        assert latest - row["T"] <= 1500
        latest = max(latest, row["T"])
    assert 0.005 < late / len(rows) < 0.015
    assert 1200 < len(rows) / (latest - rows[0]["T"]) * 1000 < 1600


def test_small():
    assert lines(0, 3) == []
    assert len(lines(1, 1)) == 1
