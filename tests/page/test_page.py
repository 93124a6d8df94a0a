"""The page as a person uses it: Chromium over a demo, values on screen against what the API says."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from paging import Demo, Shown, same, until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"


def test_values_on_screen_are_those_of_the_api(shown: Shown, demo: Demo) -> None:
    shown.open(demo, "symbol=BTCUSDT&interval=1m")
    box = shown.page.locator("#canvas").bounding_box()
    shown.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4, steps=5)
    shown.page.wait_for_timeout(300)
    start = int(shown.page.get_attribute("#legend", "data-ts"))
    (row,) = demo.ask(f"/v1/candles?symbol=BTCUSDT&interval=1m&start={start}&limit=1")["data"]
    legend = shown.text("#legend").replace("\n", " ")
    for name, field in (("O", "open"), ("H", "high"), ("L", "low"), ("C", "close"), ("Vol", "volume")):
        assert f"{name}{row[field]}" in legend.replace(" ", ""), (field, legend)
    assert same(shown, demo, "1m")
    symbols = {one["symbol"] for one in demo.ask("/v1/symbols")["data"]}
    assert set(shown.page.locator(".pick").all_inner_texts()) == symbols
    assert not shown.errors
    assert not shown.violations()


def test_live_updates_come(shown: Shown, demo: Demo) -> None:
    shown.open(demo, "symbol=BTCUSDT&interval=1s&show=sma_20,rsi_14")
    before = int(shown.page.get_attribute("#legend", "data-ts"))
    until(lambda: int(shown.page.get_attribute("#legend", "data-ts")) >= before + 3_000_000)
    assert float(shown.text("#mean-value")) > 0
    assert shown.page.locator(".level.bid").first.inner_text().strip()
    assert shown.page.locator(".trade:not([hidden])").count() > 3
    assert not shown.errors
    assert not shown.violations()


def test_what_is_wanted_first_is_asked_at_once_and_once(shown: Shown, demo: Demo) -> None:
    shown.open(demo, "symbol=BTCUSDT&interval=1m")
    found = "performance.getEntriesByType('resource').map((e) => [e.name, e.initiatorType, e.startTime])"
    entries = [entry for entry in shown.page.evaluate(found) if "/v1/" in entry[0]]
    # On a slow machine the watchlist has looked again by now, as it does every two seconds.
    end = 1_500 + min(at for name, _, at in entries if name.endswith("/v1/symbols"))
    asked = [
        (name.removeprefix(demo.address), by)
        for name, by, at in entries
        if at < end or not name.endswith("/v1/symbols")
    ]
    for path in ("/v1/about", "/v1/symbols", "/v1/catalogue"):
        assert [by for name, by in asked if name == path] == ["link"], asked  # while the script was read
    assert len([name for name, _ in asked if name.startswith("/v1/candles?symbol=BTCUSDT&interval=1m")]) == 1
    assert not shown.errors


def test_older_pages_come_when_scrolled_back(shown: Shown, demo: Demo) -> None:
    shown.open(demo, "symbol=BTCUSDT&interval=1m")
    shown.page.click("#fit")
    (oldest,) = demo.ask("/v1/candles?symbol=BTCUSDT&interval=1m&start=0&limit=1")["data"]
    until(lambda: shown.saved()[0]["ts_start"] == str(oldest["ts_start"]))
    assert same(shown, demo, "1m")


def test_a_gap_is_drawn_as_one_with_its_reason(shown: Shown, demo: Demo) -> None:
    """The answer is changed on its way: what the server lacks, and says so, stays empty on the chart."""

    def without(route: Any) -> None:
        answer = route.fetch()
        told = answer.json()
        rows = told["data"]
        if len(rows) > 100:
            start, end = rows[-60]["ts_start"], rows[-20]["ts_start"]
            told["data"] = [row for row in rows if not start <= row["ts_start"] < end]
            told["coverage"]["gaps"] = [{"ts_start": start, "ts_end": end, "reason": "disconnected"}]
        route.fulfill(response=answer, json=told)

    shown.page.route("**/v1/candles?*interval=1m*", without)
    shown.open(demo, "symbol=BTCUSDT&interval=1m")
    box = shown.page.locator("#canvas").bounding_box()
    # 7 px a bar, 6 bars of room and the price scale at the right: this is about 40 bars back.
    shown.page.wait_for_timeout(1000)
    shown.page.mouse.move(box["x"] + box["width"] - 75 - 7 * 46, box["y"] + 150, steps=5)
    shown.page.wait_for_timeout(500)
    assert "gap: disconnected" in shown.text("#legend")
    assert "Vol" not in shown.text("#legend")


def test_a_symbol_is_added_and_removed(shown: Shown, demo: Demo) -> None:
    shown.open(demo, "symbol=BTCUSDT&interval=1m")
    last = sorted(one["symbol"] for one in demo.ask("/v1/symbols")["data"])[-1]
    shown.page.click(f"[aria-label='Follow {last} no more']")
    shown.page.wait_for_selector(f"tr[data-symbol={last}]", state="detached")
    shown.page.fill("#search", last.lower())
    shown.page.click("#add")
    shown.page.wait_for_selector(f"tr[data-symbol={last}]")
    assert not shown.errors


def test_keys_and_the_url_hold_the_view(shown: Shown, demo: Demo) -> None:
    shown.open(demo, "symbol=BTCUSDT&interval=1m")
    shown.page.keyboard.press("2")
    until(lambda: "interval=5s" in shown.page.evaluate("location.hash"))
    shown.page.keyboard.press("Alt+l")
    until(lambda: "log=1" in shown.page.evaluate("location.hash"))
    shown.page.keyboard.press("/")
    assert shown.page.evaluate("document.activeElement.id") == "search"


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_axe_finds_nothing_serious(shown: Shown, demo: Demo, theme: str, size: tuple[int, int]) -> None:
    if not AXE.is_file():
        lacking = "axe-core is not installed: python web/build.py"
        pytest.fail(lacking) if os.environ.get("CI") else pytest.skip(lacking)
    shown.page.set_viewport_size({"width": size[0], "height": size[1]})
    shown.open(demo, f"symbol=BTCUSDT&interval=1m&theme={theme}&show=rsi_14")
    shown.page.click("#operator")
    shown.page.wait_for_selector(".counts")
    shown.page.evaluate(AXE.read_text())
    found = shown.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    worst = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not worst, [(one["id"], [node["html"] for node in one["nodes"]][:5]) for one in worst]


def test_a_killed_server_dims_the_page_and_it_resumes_without_a_hole(shown: Shown, demo: Demo) -> None:
    shown.open(demo, "symbol=BTCUSDT&interval=1s")
    assert not shown.errors
    demo.kill()
    shown.page.wait_for_selector("html.gone", timeout=5000)
    assert "gone" in shown.text("#notice")
    assert shown.text("#t-connection") == "Server gone"
    assert float(shown.page.evaluate("getComputedStyle(document.querySelector('main')).opacity")) < 0.7
    assert len(shown.saved()) > 100, "what was there is kept"
    time.sleep(3)
    demo.start()
    shown.page.wait_for_selector("html:not(.gone)", timeout=30_000)
    shown.live()
    until(lambda: same(shown, demo, "1s"))
    assert not shown.violations()
