"""A sink over a real broker and a real database: each row once, whatever happens to either or to the sink."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition

from cluster.topics import CHANNELS, US, Cluster, candle, trade
from servers import Servers
from tapeflow.bus.client import Bus
from tapeflow.bus.dead import DeadLetters, letters, put_back
from tapeflow.bus.follower import Record, bounds
from tapeflow.domain.errors import BusError
from tapeflow.stores.postgres.store import PostgresStore

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(servers: Servers, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(servers, str(tmp_path))
    yield made
    made.stop()


def test_rows_are_numbered_and_a_restart_goes_on(cluster: Cluster) -> None:
    cluster.send("trades", *[trade(n) for n in range(5)], {"venue": "binance", "symbol": "X", "ts_watermark": US})
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 5)
    cluster.stop()
    cluster.send("trades", *[trade(n) for n in range(5, 8)], trade(1, "Y"))
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 9)
    found = cluster.rows("SELECT symbol, id, seq FROM trades ORDER BY symbol, seq")
    assert found == [*[("X", str(n), n + 1) for n in range(8)], ("Y", "1", 1)]
    assert dict(cluster.rows("SELECT series, count FROM series")) == {"binance:X": 8, "binance:Y": 1}


def test_a_topic_whose_beginning_was_deleted_by_age(cluster: Cluster) -> None:
    """Met by a new schema, by a sink that was away for longer than the topic is kept, and by one that runs."""
    cluster.send("trades", *[trade(n) for n in range(20)])
    cluster.delete("trades", 15)
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 5)
    assert sum(": rows from 0 on were deleted" in text for text in cluster.said) == 1
    assert cluster.rows("SELECT seq FROM trades ORDER BY seq") == [(n,) for n in range(1, 6)]
    cluster.stop()
    epoch = cluster.rows("SELECT value FROM meta WHERE name = 'epoch'")
    cluster.send("trades", *[trade(n) for n in range(20, 40)])
    cluster.delete("trades", 30)
    sink = cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) > 5)
    cluster.send("trades", trade(40))
    cluster.until(lambda: ("40",) in cluster.rows("SELECT id FROM trades"))
    assert cluster.rows("SELECT min(id::int) FROM trades WHERE id::int >= 20")[0][0] > 20
    assert cluster.rows("SELECT value FROM meta WHERE name = 'epoch'") != epoch, "numbers mean something else now"
    for topic, number in sink._next:  # as one that fetches what has just been deleted
        sink._consumer.seek(TopicPartition(topic, number, 0))
    time.sleep(0.5)
    cluster.send("trades", trade(41))
    cluster.until(lambda: ("41",) in cluster.rows("SELECT id FROM trades"))
    assert not any("another sink" in text for text in cluster.said)
    assert cluster.rows("SELECT count(*) - max(seq) FROM trades") == [(0,)]


def test_many_rows_at_once_are_the_same_rows(cluster: Cluster) -> None:
    few, more = [trade(n, "XYZ"[n % 3]) for n in range(300)], [trade(n, "XYZ"[n % 3]) for n in range(300, 600)]
    time_row = {"venue": "binance", "symbol": "X", "ts_watermark": US}
    cluster.send("trades", *few, time_row)
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 300)
    # One that is there already, one that nobody can keep, and the rest.
    cluster.send("trades", few[7], *more[:150], trade(1, price="abc"), *more[150:])
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 600)
    found = cluster.rows("SELECT id::bigint, symbol, price, extract(epoch FROM ts_event) * 1000000 FROM trades")
    assert sorted(found) == [(n, "XYZ"[n % 3], Decimal("1.5"), US + n) for n in range(600)]
    assert dict(cluster.rows("SELECT series, max(count) FROM series GROUP BY 1")) == {
        "binance:X": 200, "binance:Y": 201, "binance:Z": 200
    }  # fmt: skip
    assert len(list(letters(cluster.bus, cluster.topic("dead_letters")))) == 1


def test_rows_are_dropped_when_they_are_older_than_the_settings_say(servers: Servers, tmp_path: Path) -> None:
    cluster = Cluster(servers, str(tmp_path), keep={"trades": "1d"})
    try:
        now = time.time_ns() // 1000
        cluster.send("trades", trade(1), trade(2, ts_event=now), trade(3))
        cluster.send("candles", candle(0))
        cluster.start()
        cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles")) == 1)
        cluster.stop()
        cluster.start()  # it looks when it begins
        cluster.until(lambda: cluster.rows("SELECT id FROM trades") == [("2",)])
        assert len(cluster.rows("SELECT 1 FROM candles")) == 1
    finally:
        cluster.stop()


def test_rows_are_written_while_very_many_are_dropped(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapeflow.stores.postgres.store.DROPPED", 100)
    cluster = Cluster(servers, str(tmp_path), keep={"trades": "1d"})
    try:
        PostgresStore(cluster.url, CHANNELS).close()
        old = "SELECT 'binance', 'Z', n::text, '2020-01-01'::timestamptz FROM generate_series(1, 3000) n"
        with psycopg.connect(cluster.url, options="-c search_path=tapeflow") as db:
            db.execute(f"INSERT INTO trades (venue, symbol, id, ts_event) {old}")  # type: ignore[call-overload]
        cluster.send("trades", trade(1, ts_event=time.time_ns() // 1000))
        cluster.start()
        cluster.until(lambda: cluster.rows("SELECT id FROM trades WHERE symbol = 'X'") == [("1",)])
        assert len(cluster.rows("SELECT 1 FROM trades WHERE symbol = 'Z'")) > 100, "what is old is not waited for"
        cluster.until(lambda: not cluster.rows("SELECT 1 FROM trades WHERE symbol = 'Z'"))
        assert cluster.rows("SELECT id FROM trades") == [("1",)]
    finally:
        cluster.stop()


def test_what_was_replaced_is_dropped_after_two_days_whatever_the_settings_keep(cluster: Cluster) -> None:
    later = 2 * 86_400 + 10
    cluster.send("candles", *[candle(at, revision) for at in (0, 11, later) for revision in (0, 1)])
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles")) == 3)
    cluster.stop()
    cluster.start()  # it looks when it begins
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles_revised")) == 2)
    assert cluster.rows("SELECT revision FROM candles") == [(1,)] * 3


def test_an_older_revision_never_replaces_a_newer_one(cluster: Cluster) -> None:
    cluster.send("candles", candle(0, closed=False), candle(0), candle(1), candle(0, 2, 5), candle(0, 1, 4))
    cluster.send("candles", candle(1, 1, 2))  # fewer trades: computed from less
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles_revised")) == 3)
    found = cluster.rows("SELECT revision, count, seq FROM candles ORDER BY ts_start")
    assert found == [(2, 5, 3), (0, 3, 2)]
    assert sorted(cluster.rows("SELECT revision, seq FROM candles_revised")) == [(0, 1), (1, 4), (1, 5)]
    store = PostgresStore(cluster.url, CHANNELS)
    numbers = store.since("candles", 1, 10, symbol="X", interval="1s").column("seq").to_pylist()
    store.close()
    assert numbers == [1, 2, 3, 4, 5], "who resumes is given every revision"


def test_a_poison_row_is_a_dead_letter_and_the_rest_goes_on(cluster: Cluster) -> None:
    bad = [
        b"no json",
        trade(3, price="abc"),
        trade(4, ts_event=1 << 62),
        {"venue": "binance", "symbol": "X", "id": "5"},
        trade(7) | {"id": "abc"},
    ]
    odd = [b"", b"null", b"3", b'"text"', b"[1, 2]", b"[{}]"]  # JSON, or nothing, and no row
    cluster.send("trades", trade(1))
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 1)
    cluster.send("trades", *bad[:2], trade(2), *bad[2:], trade(6))  # behind the end of another transaction
    cluster.send("candles", *odd, candle(0))
    cluster.send("coverage", *odd)
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles")) == 1)
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) >= 3)
    dead = cluster.topic("dead_letters")
    cluster.until(lambda: len(list(letters(cluster.bus, dead))) == len(bad) + 2 * len(odd))
    assert all(thread.is_alive() for _, thread in cluster.running)
    assert not any("another sink" in text for text in cluster.said)
    found = [letter for letter in letters(cluster.bus, dead) if letter.topic == cluster.topic("trades")]
    reasons = " ".join(letter.reason for letter in found)
    assert "malformed" in reasons
    assert "'abc'" in reasons
    assert "expected an integer as text, got 'abc'" in reasons
    assert cluster.rows("SELECT id FROM trades ORDER BY id") == [("1",), ("2",), ("6",)]
    first = min(found, key=lambda letter: letter.offset)
    assert put_back(cluster.bus, dead, lambda letter: letter.name == first.name) == 1
    cluster.until(lambda: all(letter.name != first.name for letter in letters(cluster.bus, dead)))
    cluster.until(lambda: len(list(letters(cluster.bus, dead))) == len(bad) + 2 * len(odd))  # it is no better now


def test_a_quarantined_frame_that_names_no_symbol_is_kept(cluster: Cluster) -> None:
    frame = {
        "venue": "binance",
        "symbol": None,
        "ts_recv": US,
        "connection": "c",
        "reason": "not_json",
        "frame": "YWI=",
    }
    cut = frame | {"frame": "YWM=", "frame_size": 70_000, "frame_sha256": "00"}
    cluster.send("quarantine", frame, cut, {"symbol": None})
    cluster.start()
    dead = cluster.topic("dead_letters")
    cluster.until(lambda: len(list(letters(cluster.bus, dead))) == 1)
    kept = [("not_json", b"ab", None), ("not_json", b"ac", None)]
    cluster.until(lambda: cluster.rows("SELECT reason, frame, symbol FROM quarantine ORDER BY frame") == kept)


def test_a_text_too_long_for_its_index_is_a_dead_letter(cluster: Cluster) -> None:
    long = random.Random(1).randbytes(5_000).hex()  # one that is of use to nobody, nor can be made short
    cluster.send("trades", trade(1))
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 1)
    # In two partitions, so that it is alone in one batch or among others.
    cluster.send("trades", *[trade(n) for n in range(2, 80)], trade(1, long), trade(80))
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 80)
    dead = cluster.topic("dead_letters")
    cluster.until(lambda: len(list(letters(cluster.bus, dead))) == 1)
    assert "index row" in next(letters(cluster.bus, dead)).reason
    assert not any("trying again" in text for text in cluster.said)


def test_each_push_of_klines_is_a_row_and_forming_candles_are_none(servers: Servers, tmp_path: Path) -> None:
    cluster = Cluster(servers, str(tmp_path), channels=("klines", "candles"))
    try:
        ids = {"first_id": "1", "last_id": "3"}
        pushes = [candle(0, closed=n == 3) | ids | {"ts_event": US + n, "ts_recv": US + n} for n in range(4)]
        cluster.send("klines", *pushes)
        cluster.send("candles", candle(0, closed=False), candle(1))
        cluster.start()
        cluster.until(lambda: len(cluster.rows("SELECT 1 FROM klines")) == 4)
        cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles")) == 1)
        assert cluster.rows("SELECT closed FROM klines ORDER BY ts_event") == [(False,), (False,), (False,), (True,)]
        assert list(letters(cluster.bus, cluster.topic("dead_letters"))) == []
    finally:
        cluster.stop()


def test_dead_letters_where_no_part_of_the_cluster_has_run_are_none(servers: Servers, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(f'symbols = ["X"]\n[bus]\nbootstrap = "{servers.kafka()}"\nprefix = "nobodys."\n')
    command = [sys.executable, "-m", "tapeflow", "dead", "ls", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "0 dead letters\n")


def test_a_dead_letter_that_is_not_there_is_no_silent_nothing(cluster: Cluster, tmp_path: Path) -> None:
    cluster.send("trades", b"no json")
    cluster.start()
    dead = cluster.topic("dead_letters")
    cluster.until(lambda: len(list(letters(cluster.bus, dead))) == 1)
    known = next(letters(cluster.bus, dead)).name
    unknown = _dead(cluster, tmp_path, "back", "trades:7:7", known)
    assert unknown.returncode == 2
    assert "no dead letter trades:7:7" in unknown.stderr
    assert len(list(letters(cluster.bus, dead))) == 1
    assert _dead(cluster, tmp_path, "back", known, "--drop").stderr == "1 dead letters were dropped\n"
    assert list(letters(cluster.bus, dead)) == []


def test_a_dead_letter_that_has_become_good_is_written_once_and_gone(cluster: Cluster, tmp_path: Path) -> None:
    """Of events, of windows and of a channel without a key: what the tables refuse at first, and then take."""
    frame = {"venue": "binance", "symbol": "X", "ts_recv": US, "connection": "c", "reason": "odd", "frame": "YWI="}
    refused = {
        "trades": "price < 100",
        "candles": "volume < 100",
        "quarantine": "reason <> 'odd'",
    }
    cluster.send("trades", trade(0))
    cluster.send("candles", candle(0))
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles, trades")) == 1)
    for table, rule in refused.items():
        _change(cluster, f"ALTER TABLE {table} ADD CONSTRAINT odd_{table} CHECK ({rule})")
    # Alone in a batch, and among so many that they are read as columns.
    cluster.send("trades", trade(1, price="150"))
    cluster.send("trades", *[trade(n, price="150" if n == 40 else "1.5") for n in range(2, 100)])
    cluster.send("candles", candle(1) | {"volume": "200"}, candle(2))
    cluster.send("quarantine", frame)
    dead = cluster.topic("dead_letters")
    cluster.until(lambda: len(list(letters(cluster.bus, dead))) == 4)
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 98)
    assert {table for table in refused if f"odd_{table}" in _dead(cluster, tmp_path, "ls").stdout} == set(refused)
    for table in refused:
        _change(cluster, f"ALTER TABLE {table} DROP CONSTRAINT odd_{table}")
    assert _dead(cluster, tmp_path, "back").stderr == "4 dead letters were put back\n"
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 100)
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM candles")) == 3)
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM quarantine")) == 1)
    assert _dead(cluster, tmp_path, "back").stderr == "0 dead letters were put back\n"
    assert _dead(cluster, tmp_path, "ls").stderr == "0 dead letters\n"
    cluster.send("trades", trade(100))  # behind whatever has been put back
    cluster.send("quarantine", frame | {"reason": "last"})
    cluster.until(lambda: ("100",) in cluster.rows("SELECT id FROM trades"))
    cluster.until(lambda: ("last",) in cluster.rows("SELECT reason FROM quarantine"))
    assert cluster.rows("SELECT count(*), count(DISTINCT id), max(seq), count(DISTINCT seq) FROM trades") == [
        (101, 101, 101, 101)
    ]
    assert cluster.rows("SELECT volume, seq FROM candles ORDER BY ts_start") == [(3, 1), (200, 3), (3, 2)]
    assert cluster.rows("SELECT reason, count(*) FROM quarantine GROUP BY 1 ORDER BY 1") == [("last", 1), ("odd", 1)]
    assert not any("trying again" in text for text in cluster.said)


def _change(cluster: Cluster, statement: str) -> None:
    with psycopg.connect(cluster.url, options="-c search_path=tapeflow", autocommit=True) as db:
        db.execute(statement)  # type: ignore[call-overload]


def _dead(cluster: Cluster, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``tapeflow dead`` as a user gives it."""
    config, own = folder / "run.toml", cluster.bus_settings
    config.write_text(f'symbols = ["X"]\n[bus]\nbootstrap = "{own.bootstrap}"\nprefix = "{own.prefix}"\n')
    command, rest = words[0], words[1:]
    whole = [sys.executable, "-m", "tapeflow", "dead", command, str(config), *rest]
    return subprocess.run(whole, capture_output=True, text=True, check=False)


def test_two_sinks_share_the_work_and_one_takes_over(cluster: Cluster) -> None:
    first = cluster.start()
    second = cluster.start()
    symbols = [f"S{n}" for n in range(12)]
    cluster.send("trades", *[trade(n, symbol) for symbol in symbols for n in range(50)])
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 600)
    cluster.end(second)
    cluster.send("trades", *[trade(n, symbol) for symbol in symbols for n in range(50, 100)])
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 1200)
    assert cluster.rows("SELECT DISTINCT count FROM series") == [(100,)]
    cluster.until(lambda: first.written >= 600)  # it is counted after it can be seen
    bad = cluster.rows("SELECT symbol FROM trades GROUP BY symbol HAVING max(seq) <> 100 OR count(DISTINCT seq) <> 100")
    assert bad == []


def test_a_sink_that_another_has_overtaken_writes_nothing(cluster: Cluster) -> None:
    cluster.send("trades", trade(1))
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 1)
    with psycopg.connect(cluster.url) as db:  # another one has written what comes next
        db.execute("UPDATE tapeflow.positions SET next = next + 1 WHERE topic = %s", (cluster.topic("trades"),))
        db.execute("UPDATE tapeflow.series SET count = count + 1")
    cluster.send("trades", trade(2))
    cluster.send("trades", trade(3))
    cluster.until(lambda: ("3",) in cluster.rows("SELECT id FROM trades"))
    assert any("another sink has written" in text for text in cluster.said)


def test_brokers_that_do_not_answer_for_a_while_end_no_sink(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked where topics begin and end, and given a dead letter: a leader is missing for longer than one try lasts."""
    failing = Counter[str]()

    def twice(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def tried(*given: Any) -> Any:
            failing[name] += 1
            if failing[name] <= 2:
                raise BusError(f"no {name} yet")
            return work(*given)

        return tried

    monkeypatch.setattr("tapeflow.app.sink.bounds", twice("bounds", bounds))
    monkeypatch.setattr(DeadLetters, "flush", twice("letters", DeadLetters.flush))
    cluster.send("trades", trade(1), b"no json", trade(2))
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 2)
    cluster.until(lambda: len(list(letters(cluster.bus, cluster.topic("dead_letters")))) == 1)
    assert all(thread.is_alive() for _, thread in cluster.running)
    told = [text for text in cluster.said if "yet" in text or "again" in text]
    assert told == [
        text for name in ("bounds", "letters") for text in (f"no {name} yet; trying again", "Kafka answers again")
    ]


def test_a_dead_letter_waits_for_brokers_that_are_away(
    breakable: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(breakable, str(tmp_path))
    name = cluster.topic("dead_letters")
    dead = DeadLetters(Bus(cluster.bus.servers, {"message.timeout.ms": "1500"}), name)
    dead.add(Record("trades", 0, 7, None, b"no json"), "malformed")
    dead.flush()
    monkeypatch.setattr("tapeflow.bus.dead._FLUSH_S", 3.0)
    breakable.kill("kafka")
    dead.add(Record("trades", 0, 8, None, b"no json"), "malformed")
    for _ in range(2):  # the client gives up meanwhile: the letter must not be gone with that
        with pytest.raises(BusError, match="dead letters cannot be kept"):
            dead.flush()
    breakable.revive()

    def is_kept() -> bool:
        with contextlib.suppress(BusError):
            dead.flush()
        return dead.count == 2

    cluster.until(is_kept)
    assert [letter.offset for letter in letters(cluster.bus, name)] == [7, 8]


def test_a_database_that_is_away_for_a_while(cluster: Cluster) -> None:
    cluster.send("trades", trade(1))
    cluster.start()
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 1)
    with psycopg.connect(f"{cluster.url.rpartition('/')[0]}/tapeflow", autocommit=True) as db:
        name = cluster.url.rpartition("/")[2]
        db.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # type: ignore[call-overload]
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> "
                   "pg_backend_pid()", (name,))  # fmt: skip
        cluster.send("trades", *[trade(n) for n in range(2, 50)])
        cluster.until(lambda: any("trying again" in text for text in cluster.said))
        time.sleep(2)
        db.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")  # type: ignore[call-overload]
    cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == 49)
    assert any("can be written again" in text for text in cluster.said)
    told = Counter(text for text in cluster.said if "trying again" in text)
    assert max(told.values()) == 1, "once for a reason, not at every try"


def test_a_database_that_is_killed_and_away_for_a_minute(breakable: Servers, tmp_path: Path) -> None:
    cluster = Cluster(breakable, str(tmp_path))
    symbols, sent = [f"S{n}" for n in range(6)], 0

    def send() -> None:
        nonlocal sent
        cluster.send("trades", *[trade(sent + n, symbol) for symbol in symbols for n in range(10)])
        sent += 10

    try:
        sinks = [cluster.start(), cluster.start()]
        for _ in range(5):
            send()
        cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) == len(symbols) * sent)
        cluster.until(lambda: all(sink.status()["partitions"] for sink in sinks))
        send()  # some of it is written, some not
        breakable.kill("postgres")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            send()
            time.sleep(1)
        assert all(thread.is_alive() for _, thread in cluster.running)
        assert all(sink.status()["problem"] for sink in sinks)
        breakable.revive()
        send()
        cluster.until(lambda: len(cluster.rows("SELECT 1 FROM trades")) >= len(symbols) * sent)
        query = "SELECT symbol, count(*), count(DISTINCT id), max(seq), count(DISTINCT seq) FROM trades GROUP BY 1"
        found = cluster.rows(query)
        assert sorted(found) == [(symbol, *[sent] * 4) for symbol in symbols]
        told = Counter(text for text in cluster.said if "trying again" in text)
        assert max(told.values()) <= len(sinks), f"each says a reason once, not at every try: {told}"
        cluster.until(lambda: not any(sink.status()["problem"] for sink in sinks))  # rows are seen before that is said
        assert sum("can be written again" in text for text in cluster.said) == len(sinks)
    finally:
        cluster.stop()
