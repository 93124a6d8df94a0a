"""The SQL of a flow: what it says of every fold, whatever the flow; Flink itself runs it in tests/cluster."""

from __future__ import annotations

import re

import pytest

from tapeflow.domain.errors import SettingsError
from tapeflow.domain.time import DAY, HOUR, MINUTE, SECOND, WEEK
from tapeflow.flow import catalogue
from tapeflow.flow.builder import Builder
from tapeflow.runners.flink import sql
from tapeflow.runners.flink.spec import Folds, Interval, Sliding, Spec, folds_of

TOPICS = {"candles": "c", "moving_average": "m", "indicators": "i"}


def spec(folds: Folds, **more: object) -> Spec:
    return Spec("job", folds, "trades", TOPICS, "127.0.0.1:1", **more)  # type: ignore[arg-type]


def default() -> Folds:
    return folds_of(catalogue.default(), 8, 8)


def test_a_flow_becomes_its_folds_and_the_names_of_its_steps() -> None:
    folds = default()
    assert [one.name for one in folds.intervals] == list(catalogue.INTERVALS)
    assert folds.intervals[0].steps == catalogue.INDICATORS
    assert folds.means == (Sliding(3 * SECOND, SECOND // 2),)
    assert folds.channels == ("candles", "moving_average", "indicators")


def test_what_flink_cannot_run_is_said_at_once() -> None:
    flow = Builder("mine")
    flow.quotes().latest()
    with pytest.raises(SettingsError, match="neither candles nor a moving average"):
        folds_of(flow.build(), 8, 8)


def test_a_mean_of_klines_reads_their_topic_and_no_trades() -> None:
    flow = Builder("pushes")
    flow.klines().moving_average("3s", "500ms")
    folds = folds_of(flow.build(), 8, 8)
    made = Spec("job", folds, "trades", {"moving_average": "m"}, "", "pushes")
    statements = list(sql.statements(made))
    assert sum("'topic' = 'pushes'" in one for one in statements) == 1
    assert not any("'topic' = 'trades'" in one for one in statements)
    assert "`push_means`" in sql.results(folds)
    with pytest.raises(SettingsError, match="needs their topic"):
        Spec("job", folds, "trades", {"moving_average": "m"}, "")


def test_topics_and_scans_are_each_named_once() -> None:
    statements = list(sql.statements(spec(default())))
    assert sum("scan.startup.mode" in one for one in statements) == 1
    assert [name for name in TOPICS.values() if sum(f"'topic' = '{name}'" in one for one in statements) != 1] == []


def test_every_column_of_every_part_is_there_so_that_one_query_gives_all() -> None:
    parts = sql.results(default()).split(" UNION ALL ")
    for part in parts:
        assert re.findall(r" AS \w+\) AS `(\w+)`", part) == list(sql.COLUMNS)


def test_state_of_a_window_is_kept_for_its_size_the_horizon_and_the_outage() -> None:
    folds = Folds((Interval("1s", SECOND), Interval("1m", MINUTE), Interval("1h", HOUR), Interval("1d", DAY)))
    views = sql.candle_views(folds, 2 * HOUR)
    kept = [int(re.search(r"STATE_TTL\('expanded' = '(\d+)s'\)", view)[1]) for view in views.values()]  # type: ignore[index]
    assert kept == [60 + 3 * 3600, 4 * 3600, 86_400 + 3 * 3600]


def test_all_kinds_of_rows_go_through_one_branch_to_each_aggregation() -> None:
    for view in [
        *sql.candle_views(default(), HOUR).values(),
        sql.mean_view("means", default().means, "events", 8, HOUR),
    ]:
        assert view.count("FROM `events`") == 1
        assert "UNION" not in view


def test_whole_weeks_begin_on_monday() -> None:
    view = sql.candle_views(Folds((Interval("1w", WEEK, 4 * DAY),)), HOUR)["candles_0"]
    assert f"MOD(`ts_event` - {4 * DAY}, {WEEK})" in view
    assert f"MOD(`ts_watermark` - {4 * DAY}, {WEEK}) = 0" in view


def test_steps_cost_nothing_where_there_are_none() -> None:
    folds = Folds((Interval("1s", SECOND),))
    assert "step_tick" not in sql.candle_views(folds, HOUR)["candles_0"]
    assert folds.channels == ("candles",)
    assert "UNION ALL" not in sql.results(folds)


def test_a_window_that_holds_no_whole_number_of_slides_has_null_where_a_trade_is_in_fewer() -> None:
    view = sql.mean_view("means", (Sliding(1_100_000, 500_000),), "events", 8, HOUR)
    assert "ROW(" not in view, "one mean needs no number"
    holds = re.findall(r"WHEN `is_trade` AND MOD\(`ts_event`, 500000\) \+ 1100000 >= (\d+) THEN", view)
    assert holds == ["500000", "1000000", "1500000"]


def test_a_candle_of_the_venue_is_of_one_window_and_of_no_mean() -> None:
    folds = folds_of(catalogue.default(), 8, 8)
    for group, view in zip(sql.groups(folds.intervals), sql.candle_views(folds, HOUR).values(), strict=True):
        assert re.findall(r"WHEN `of` = '(\w+)' AND", view) == [one.name for one in group]
        assert "MAX(`told`) AS `told`" in view
    assert "`told`" not in sql.mean_view("means", folds.means, "events", 8, HOUR)


def test_exact_values_are_canonical_by_trimming_only_where_there_is_a_point() -> None:
    assert sql.exact("`x`", 8) == "TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CAST(`x` AS STRING)))"
    assert sql.exact("`x`", 0) == "CAST(`x` AS STRING)"


def test_exactly_once_gives_each_sink_transactions_of_its_own() -> None:
    made = spec(default())
    prefixes = [re.search(r"transactional-id-prefix' = '([^']+)'", sql.sink(made, name)) for name in TOPICS]
    assert len({found[1] for found in prefixes if found}) == 3
    assert "transactional" not in sql.sink(spec(default(), guarantee="at_least_once"), "candles")


def test_properties_of_the_client_are_passed_on_and_quoted() -> None:
    made = spec(default(), client={"sasl.jaas.config": "x required password='it''s';"})
    assert "'properties.sasl.jaas.config' = 'x required password=''it''''s'';'" in sql.source(made)


def test_a_job_takes_the_state_of_another_only_if_it_computes_the_same() -> None:
    made = spec(default())
    assert made.fingerprint == spec(default(), parallelism=8, checkpoint_ms=5, outage_us=1).fingerprint
    assert made.fingerprint != spec(default(), guarantee="at_least_once").fingerprint
    assert made.fingerprint != spec(folds_of(catalogue.default(["1s"]), 8, 8)).fingerprint


def test_what_is_neither_a_trade_nor_a_time_row_stops_no_job() -> None:
    made = spec(default())
    assert "'json.ignore-parse-errors' = 'true'" in sql.source(made)
    view = sql.parsed(default())
    assert " CAST(`price`" not in view
    for name, read in (("price", "priced"), ("size", "sized")):
        assert f"TRY_CAST(`{name}` AS DECIMAL(19, 8)) AS `{read}`" in view
        assert f"`{read}` IS NOT NULL" in sql.events()


def test_a_number_of_a_message_is_read_once_for_all_aggregations() -> None:
    statements = list(sql.statements(spec(default())))
    for name in ("price", "size", "last_id"):
        assert sum(statement.count(f"TRY_CAST(`{name}` AS ") for statement in statements) == 1


def test_a_channel_without_a_topic_is_refused() -> None:
    with pytest.raises(SettingsError, match="no topic for candles"):
        Spec("job", Folds((Interval("1s", SECOND),)), "trades", {}, "")
