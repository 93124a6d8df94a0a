"""Windows against brute force: every window of the family is tried."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeflow.domain.errors import SettingsError
from tapeflow.domain.window import INTERVALS, Window, interval_name, sliding, tumbling

families = st.builds(Window, st.integers(1, 40), st.integers(1, 40), st.integers(-50, 50))


def holding(window, ts):
    """The ends of the windows that hold ts, found by trying all that are near."""
    near = range(ts // window.slide_us - 120, ts // window.slide_us + 220)
    ends = (window.origin_us + n * window.slide_us for n in near)
    return [end for end in ends if end - window.size_us <= ts < end]


@given(families, st.integers(-100, 1000))
def test_ends(window, ts):
    assert list(window.ends(ts)) == holding(window, ts)


@given(families, st.integers(-100, 1000))
def test_first_end(window, ts):
    ends = holding(window, ts)
    if ends:
        assert window.first_end(ts) == ends[0]


@given(families, st.integers(-100, 1000))
def test_every_window_is_whole_panes(window, ts):
    pane = window.pane_us
    start = window.origin_us + window.pane(ts) * pane
    assert start <= ts < start + pane
    assert window.size_us % pane == window.slide_us % pane == 0
    for end in holding(window, ts):
        assert end - window.size_us <= start
        assert start + pane <= end
        assert (end - window.origin_us) % pane == 0


@given(st.sampled_from(INTERVALS), st.integers(0, 4 * 10**15))
def test_a_tumbling_interval_holds_every_time_once(interval, ts):
    window = tumbling(interval)
    (end,) = window.ends(ts)
    assert window.is_tumbling
    assert end - window.size_us <= ts < end
    assert window.pane_us == window.size_us


def test_weeks_begin_on_monday():
    (end,) = tumbling("1w").ends(1_767_225_600_000_000)
    assert (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=end)).isoformat() == "2026-01-05T00:00:00+00:00"
    assert tumbling("7d") == tumbling("1w")


def test_days_begin_at_midnight():
    (end,) = tumbling("1d").ends(1_767_225_600_000_000)
    assert end == 1_767_225_600_000_000 + 86_400_000_000


def test_a_sliding_window_ends_at_multiples_of_its_slide():
    window = sliding(3_000_000, "500ms")
    assert [end / 1e6 for end in window.ends(10_000_000)] == [10.5, 11, 11.5, 12, 12.5, 13]
    assert not window.is_tumbling
    assert sliding("3s", "500ms") == window


def test_one_spelling():
    assert [interval_name(text) for text in ("60s", "7d", "24h", "90s", "1000ms")] == ["1m", "1w", "1d", "90s", "1s"]


@pytest.mark.parametrize("text", ["8d", "2w", "500ms", "1500ms", "0s", "1M", ""])
def test_refused_intervals(text):
    with pytest.raises(SettingsError, match="expected"):
        tumbling(text)


@pytest.mark.parametrize(
    ("size", "slide"), [(0, 1000), (1000, 0), (-1000, 1000), (1500, 1000), ("1us", "1s"), ("3s", "1us")]
)
def test_refused_slides(size, slide):
    with pytest.raises(SettingsError, match="expected a size and a slide of whole milliseconds"):
        sliding(size, slide)
