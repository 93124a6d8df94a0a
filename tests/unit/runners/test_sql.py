"""The SQL of a flow: what it says of every fold, whatever the flow; Flink itself runs it in tests/cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tapeflow.domain.candle import NOTIONAL_LIMIT
from tapeflow.domain.errors import SettingsError
from tapeflow.domain.number import decimal_text, ratio
from tapeflow.domain.time import DAY, HOUR, MINUTE, SECOND, WEEK
from tapeflow.flow import catalogue
from tapeflow.flow.builder import Builder
from tapeflow.runners.flink.spec import Folds, Interval, Sliding, Spec, folds_of
from tapeflow.runners.flink.sql import events, program, results, tables, words
from tapeflow.runners.flink.sql.folds import candle_views, groups, mean_view

TOPICS = {"candles": "c", "moving_average": "m", "indicators": "i"}


def all_of(made: Spec) -> list[str]:
    """The whole SQL of a job."""
    return [*program.tables(made), *program.read(made).values(), *program.views(made), *program.inserts(made)]


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
    statements = all_of(made)
    assert sum("'topic' = 'pushes'" in one for one in statements) == 1
    assert not any("'topic' = 'trades'" in one for one in statements)
    assert "`push_means`" in results.results(folds)
    with pytest.raises(SettingsError, match="needs their topic"):
        Spec("job", folds, "trades", {"moving_average": "m"}, "")


def test_topics_and_scans_are_each_named_once() -> None:
    statements = all_of(spec(default()))
    assert sum("scan.startup.mode" in one for one in statements) == 1
    assert [name for name in TOPICS.values() if sum(f"'topic' = '{name}'" in one for one in statements) != 1] == []


def test_every_column_of_every_part_is_there_so_that_one_query_gives_all() -> None:
    parts = results.results(default()).split(" UNION ALL ")
    for part in parts:
        assert re.findall(r" AS \w+\) AS `(\w+)`", part) == list(results.COLUMNS)


def test_state_of_a_window_is_kept_for_its_size_the_horizon_and_the_outage() -> None:
    folds = Folds((Interval("1s", SECOND), Interval("1m", MINUTE), Interval("1h", HOUR), Interval("1d", DAY)))
    views = candle_views(folds, 2 * HOUR)
    kept = [int(re.search(r"STATE_TTL\('expanded' = '(\d+)s'\)", view)[1]) for view in views.values()]  # type: ignore[index]
    assert kept == [60 + 3 * 3600, 4 * 3600, 86_400 + 3 * 3600]


def test_all_kinds_of_rows_go_through_one_branch_to_each_aggregation() -> None:
    for view in [
        *candle_views(default(), HOUR).values(),
        mean_view("means", default().means, "events", HOUR),
    ]:
        assert view.count("FROM `events`") == 1
        assert "UNION" not in view


def test_whole_weeks_begin_on_monday() -> None:
    view = candle_views(Folds((Interval("1w", WEEK, 4 * DAY),)), HOUR)["candles_0"]
    assert f"MOD(`ts_event` - {4 * DAY}, {WEEK})" in view
    assert f"MOD(`ts_watermark` - {4 * DAY}, {WEEK}) = 0" in view


@pytest.mark.parametrize(
    ("intervals", "closing"),
    [
        (("1s", "5s", "1m"), ["1s"]), (("5s", "3s", "1m"), ["3s", "5s"]), (("2m", "5m", "10m"), ["2m", "5m"]),
        (("3d", "1w"), ["3d", "1w"]), (("1d", "1w"), ["1d"]), (("4h", "6h", "12h"), ["4h", "6h"]),
    ],
)  # fmt: skip
def test_a_trade_late_for_any_interval_is_late_for_one_of_those_that_are_looked_at(
    intervals: tuple[str, ...], closing: list[str]
) -> None:
    made = Builder("uneven")
    made.trades().candles(*intervals).indicator("sma_3")
    assert [one.name for one in folds_of(made.build(), 8, 8).closing] == closing


def test_steps_cost_nothing_where_there_are_none() -> None:
    folds = Folds((Interval("1s", SECOND),))
    assert "step_tick" not in candle_views(folds, HOUR)["candles_0"]
    assert folds.channels == ("candles",)
    assert "UNION ALL" not in results.results(folds)


def test_a_window_that_holds_no_whole_number_of_slides_has_null_where_a_trade_is_in_fewer() -> None:
    view = mean_view("means", (Sliding(1_100_000, 500_000),), "events", HOUR)
    assert "ROW(" not in view, "one mean needs no number"
    holds = re.findall(r"WHEN `is_trade` AND MOD\(`ts_event`, 500000\) \+ 1100000 >= (\d+) THEN", view)
    assert holds == ["500000", "1000000", "1500000"]


def test_a_candle_of_the_venue_is_of_one_window_and_of_no_mean() -> None:
    folds = folds_of(catalogue.default(), 8, 8)
    for group, view in zip(groups(folds.intervals), candle_views(folds, HOUR).values(), strict=True):
        assert re.findall(r"WHEN `of` = '(\w+)' AND", view) == [one.name for one in group]
        assert "MAX(`told`) AS `told`" in view
    assert "`told`" not in mean_view("means", folds.means, "events", HOUR)


def told(expressions: Mapping[str, str], rows: str) -> tuple[Any, ...]:
    """What expressions of Flink give, by a database that has the same functions."""
    text = ", ".join(expressions.values()).replace("`", '"').replace(" / ", " // ").replace("DOUBLE) //", "DOUBLE) /")
    rows = rows.replace("`", '"').replace(" / ", " // ")
    with duckdb.connect() as db:
        found = db.execute(f"SELECT {text} FROM {rows}").fetchone()
    assert found is not None
    return found


def mantissas(limit: int) -> st.SearchStrategy[int]:
    """Of all lengths alike: one number in two is beyond half its digits."""
    return st.integers(1, len(str(limit)) - 1).flatmap(lambda digits: st.integers(1, 10**digits)) | st.just(limit)


@given(
    st.lists(
        st.tuples(mantissas(2**63 - 1), mantissas(2**63 - 1), st.booleans()).filter(
            lambda trade: trade[0] * trade[1] < NOTIONAL_LIMIT
        ),
        min_size=1,
        max_size=9,
    )
)
@example([(2**63 - 1, 99_999_999, True), (99_999_999, 2**63 - 1, False)])
@example([(10**16, 10**16 - 1, True)] * 9)
@settings(deadline=None)
def test_totals_in_words_are_exact(trades: list[tuple[int, int, bool]]) -> None:
    values = ", ".join(f"({price}::BIGINT, {size}::BIGINT, {buys})" for price, size, buys in trades)
    sums = ", ".join(f"SUM({value}) AS `{name}`" for name, value in words.of_trade(8).items())
    of_price = ", ".join(f"SUM({value}) AS `{name}`" for name, value in words.of_price().items())
    table = f"(SELECT *, 1 AS `trades` FROM (VALUES {values}) AS t(`price`, `size`, `buys`))"
    rows = f"(SELECT {sums}, {of_price}, SUM(`trades`) AS `trades` FROM {table})"
    found = told({"v": words.volume(8), "b": words.bought(8), "q": words.quote(8), "m": words.mean(8)}, rows)
    volume, bought = (sum(size for _, size, buys in trades if buys or every) for every in (True, False))
    quote = sum(price * size for price, size, _ in trades)
    mean = ratio(sum(price for price, *_ in trades), 8, len(trades), 0)
    assert found == (decimal_text(volume, 8), decimal_text(bought, 8), decimal_text(quote, 16), mean)


@pytest.mark.parametrize("quote", [10**38 - 1, 10**38])
def test_a_total_of_more_digits_than_it_may_have_is_none(quote: int) -> None:
    above, rest = divmod(quote, 10**16)
    held = {
        "quote_words": above // 10**9,
        "quote": above % 10**9,
        "quote_parts": rest // 10**8,
        "quote_last": rest % 10**8,
    }
    row = f"(SELECT {', '.join(f'{value} AS `{name}`' for name, value in held.items())})"
    assert told({"fits": words.fits(8), "text": words.quote(8)}, row) == (quote < 10**38, decimal_text(quote, 16))


@pytest.mark.parametrize("text", ["1", "64123.45", "0.00000001", "92233720368.54775807"])
def test_a_number_is_read_to_its_last_decimal(text: str) -> None:
    expected = int(Decimal(text).scaleb(8))
    assert told({"price": words.mantissa("price", 8)}, f"(SELECT '{text}' AS `price`)") == (expected,)


def test_exactly_once_gives_each_sink_transactions_of_its_own() -> None:
    made = spec(default())
    prefixes = [re.search(r"transactional-id-prefix' = '([^']+)'", tables.sink(made, name)) for name in TOPICS]
    assert len({found[1] for found in prefixes if found}) == 3
    assert "transactional" not in tables.sink(spec(default(), guarantee="at_least_once"), "candles")


def test_properties_of_the_client_are_passed_on_and_quoted() -> None:
    made = spec(default(), client={"sasl.jaas.config": "x required password='it''s';"})
    assert "'properties.sasl.jaas.config' = 'x required password=''it''''s'';'" in tables.source(made)


def test_a_job_takes_the_state_of_another_only_if_it_computes_the_same() -> None:
    made = spec(default())
    assert made.fingerprint == spec(default(), parallelism=8, checkpoint_ms=5, outage_us=1).fingerprint
    assert made.fingerprint != spec(default(), guarantee="at_least_once").fingerprint
    assert made.fingerprint != spec(folds_of(catalogue.default(["1s"]), 8, 8)).fingerprint


def test_what_is_neither_a_trade_nor_a_time_row_stops_no_job() -> None:
    made = spec(default())
    assert "'json.ignore-parse-errors' = 'true'" in tables.source(made)
    view = events.parsed(default())
    assert " CAST(`price`" not in view
    for name, read in (("price", "priced"), ("size", "sized")):
        assert f"TRY_CAST(`{name}` AS DECIMAL(19, 8))" in view
        assert f"`{read}` > 0" in events.events()


def test_a_number_of_a_message_is_read_once_for_all_aggregations() -> None:
    statements = all_of(spec(default()))
    for name in ("price", "size", "last_id"):
        assert sum(statement.count(f"TRY_CAST(`{name}` AS ") for statement in statements) == 1


def test_a_channel_without_a_topic_is_refused() -> None:
    with pytest.raises(SettingsError, match="no topic for candles"):
        Spec("job", Folds((Interval("1s", SECOND),)), "trades", {}, "")
