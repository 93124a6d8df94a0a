"""Spans and times read and written; what is refused says what to do."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeflow.domain.errors import SettingsError
from tapeflow.domain.time import (
    DAY,
    HOUR,
    LATEST,
    MINUTE,
    MONDAY,
    SECOND,
    WEEK,
    parse_span,
    parse_time,
    span_text,
    time_text,
)


@given(st.integers(1, 10**12 - 1))
def test_span_round_trips(span):
    assert parse_span(span_text(span)) == span


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1us", 1),
        ("500ms", 500_000),
        ("60s", MINUTE),
        ("4h", 4 * HOUR),
        ("1d", DAY),
        ("7d", WEEK),
        (" 3s ", 3 * SECOND),
    ],
)
def test_span(text, span):
    assert parse_span(text) == span


@pytest.mark.parametrize(
    "text", ["", "0s", "-1s", "1.5s", "1", "s", "1 s", "1M", "1S", "1y", "1s1m", "٣s", "9" * 13 + "s"]
)
def test_refused_span(text):
    with pytest.raises(SettingsError, match="expected a span of time"):
        parse_span(text)


@given(st.integers(0, LATEST))
def test_time_round_trips(ts):
    assert parse_time(time_text(ts)) == parse_time(str(ts)) == parse_time(ts) == ts


@pytest.mark.parametrize(
    ("text", "ts"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2024-08-09T00:00:00Z", 1_723_161_600_000_000),
        ("2024-08-09T03:00:00+03:00", 1_723_161_600_000_000),
        ("2024-08-09T00:00:00.5Z", 1_723_161_600_500_000),
        ("-5", -5),
    ],
)
def test_time(text, ts):
    assert parse_time(text) == ts


@pytest.mark.parametrize(
    "text", ["", "now", "2024-08-09", "2024-08-09T00:00:00", "2024-13-01T00:00:00Z", "1.5", "9" * 5000]
)
def test_refused_time(text):
    with pytest.raises(SettingsError, match="expected microseconds since 1970 or RFC 3339"):
        parse_time(text)


def test_time_text_has_as_many_digits_as_it_needs():
    assert time_text(0) == "1970-01-01T00:00:00Z"
    assert time_text(1_500_000) == "1970-01-01T00:00:01.500Z"
    assert time_text(1) == "1970-01-01T00:00:00.000001Z"
    assert time_text(-1) == "1969-12-31T23:59:59.999999Z"


def test_monday():
    assert (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=MONDAY)).isoweekday() == 1
