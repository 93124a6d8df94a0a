"""The page over a run that computes little: what is not there is neither shown nor asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from live.running import Live, Venue
from paging import Shown, until

pytestmark = pytest.mark.slow

FLOW = '[flow]\nname = "sparse"\n{more}[flow.candles]\nintervals = ["1s"]\nindicators = []\n'


@pytest.mark.parametrize("has_quotes", [True, False], ids=["quotes", "no quotes"])
def test_of_a_run_without_books_and_minutes_nothing_is_empty_or_refused(
    shown: Shown, tmp_path: Path, has_quotes: bool
) -> None:
    venue = Venue(tmp_path, "--symbols", "2", "--days", "1")
    run = Live(tmp_path, venue, ["BTCUSDT"], FLOW.format(more="quotes = true\n" if has_quotes else ""))
    try:
        run.start()
        run.until_whole()
        shown.page.goto(f"{run.until(lambda status: status['api'])['api']}/")
        shown.live()
        until(lambda: shown.page.locator(".trade:not([hidden])").count() > 3)
        until(lambda: shown.page.is_visible("#book") == has_quotes)
        if has_quotes:
            until(lambda: shown.text("#spread").strip() != "")
            assert shown.text("#book-name") == "Spread"
        for what in ("#book .heads", "#book-rows", "#book .grouping", "#mean"):
            assert not shown.page.is_visible(what), what
        panel, aside = (shown.page.locator(name).bounding_box() for name in ("#trades", "aside"))
        assert panel["y"] + panel["height"] == pytest.approx(aside["y"] + aside["height"], abs=2), (
            "trades fill the rest"
        )
        chart, main = (shown.page.locator(name).bounding_box() for name in ("#chart", "main"))
        assert chart["height"] == pytest.approx(main["height"], abs=2), "so does the chart, where there is no mean"
        assert shown.refused == set()
        assert not shown.errors
        assert not shown.violations()
    finally:
        if run.process is not None:
            run.stop()
        venue.stop()
