"""History that was fetched: all that the venue answered is computed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tapeflow.app.backfill import _compute, _store, backfill_files, spans
from tapeflow.app.run import Folder
from tapeflow.domain.time import MINUTE, SECOND
from tapeflow.settings import load_run
from tapeflow.tape.records import Kind
from tapeflow.tape.writer import TapeWriter

START = 1_735_689_600_000_000


@pytest.mark.parametrize(
    ("fetched_at", "ended"), [(START + 10_000 * MINUTE, 1440), (START + 1439 * MINUTE + SECOND, 1439)]
)
def test_the_last_candle_of_a_page_counts_if_it_had_ended_when_it_was_fetched(
    tmp_path: Path, fetched_at: int, ended: int
) -> None:
    (tmp_path / "run.toml").write_text(
        'symbols = ["BTCUSDT"]\ndata = "data"\n[store]\nchannels = ["candles", "trades", "coverage"]\n'
    )
    settings = load_run(tmp_path / "run.toml")
    writer = TapeWriter(Folder(settings.data).history / "BTCUSDT-x-y")
    for first, after in ((0, 1000), (1000, 1440)):
        request = f"/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1000&startTime={(START + first * MINUTE) // 1000}"
        answer = json.dumps([_row(START + at * MINUTE) for at in range(first, after)]).encode()
        writer.append(Kind.ANSWER, "rest", answer, at=fetched_at, mono=0, head=f"200 {request}")
    writer.commit()
    writer.close()
    with _store(settings) as store:
        _compute(settings, store, START)
        found = store.read("candles", interval="1m").column("ts_start").to_pylist()
    assert [int(at.timestamp() * 1e6) for at in found] == [START + at * MINUTE for at in range(ended)]


def test_an_interrupted_fetch_up_to_now_goes_on_and_then_to_the_now_of_today(tmp_path: Path) -> None:
    assert spans(tmp_path, "X", 10, None, 100) == [(10, 100)]
    (tmp_path / "X-10-100").mkdir()
    (tmp_path / "X-11-105").mkdir()
    assert spans(tmp_path, "X", 10, None, 200) == [(10, 100), (100, 200)]
    assert spans(tmp_path, "X", 10, 1000, 200) == [(10, 100), (100, 200)], "an end that is yet to come is now"
    assert spans(tmp_path, "X", 10, 150, 200) == [(10, 150)]
    (tmp_path / "X-10-100/whole").touch()
    assert spans(tmp_path, "X", 10, None, 200) == [(10, 200)]


def test_candles_of_a_dump_count(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'symbols = ["BTCUSDT"]\ndata = "data"\n[store]\nchannels = ["candles", "trades", "coverage"]\n'
    )
    settings = load_run(tmp_path / "run.toml")
    dump = tmp_path / "BTCUSDT-1m-2025-01-01.csv"
    dump.write_text("".join(",".join(map(str, _row(START + at * MINUTE))) + "\n" for at in range(5)))
    for _ in range(2):  # and again, when it is there already
        backfill_files(settings, [dump], lambda _: None)
        with _store(settings) as store:
            assert store.read("candles", interval="1m").num_rows == 5


def _row(ts: int) -> list[object]:
    begin, end = ts // 1000, (ts + MINUTE) // 1000 - 1
    return [begin, "100.0", "101.0", "99.0", "100.5", "10.0", end, "1000.0", 5, "5.0", "500.0", "0"]
