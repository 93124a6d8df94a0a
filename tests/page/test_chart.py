"""The chart as a person uses it: indicators, scales, zones, dates, alerts; what is on screen against the API."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from paging import Demo, Shown, same, until

pytestmark = pytest.mark.slow

VIEW = "symbol=BTCUSDT&interval=1m"
MINUTE = 60_000_000


def hover(shown: Shown, part: float, y: int = 150) -> int:
    """Move the pointer to a part of the chart's width; when the candle under it begins."""
    box = shown.page.locator("#canvas").bounding_box()
    shown.page.mouse.move(box["x"] + box["width"] * part - 3, box["y"] + y)
    shown.page.mouse.move(box["x"] + box["width"] * part, box["y"] + y)
    shown.page.wait_for_timeout(400)
    return int(shown.page.get_attribute("#legend", "data-ts"))


def line(shown: Shown, name: str) -> str:
    """The line of the legend with this indicator."""
    found = shown.page.locator(".legend .line", has=shown.page.get_by_role("button", name=name, exact=True))
    return found.inner_text().replace("\n", " ")  # type: ignore[no-any-return]


def numbers(text: str) -> list[float]:
    return [float(one) for one in re.findall(r"-?\d+\.\d+", text)]


def end(shown: Shown, index: int, name: str) -> str:
    """A field of the first or the last candle that is loaded; empty while there is none."""
    rows = shown.saved()
    return rows[index][name] if rows else ""


def location(shown: Shown) -> str:
    return shown.page.evaluate("location.hash")  # type: ignore[no-any-return]


def write(demo: Demo, method: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(demo.address + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_an_indicator_is_found_set_changed_and_removed(shown: Shown, demo: Demo) -> None:
    shown.open(demo, VIEW)
    shown.page.keyboard.press("i")
    shown.page.keyboard.type("exponential")
    shown.page.keyboard.press("Enter")
    shown.page.fill("#catalogue input[type=number]", "55")
    shown.page.click("[aria-label='Colour 3']")
    shown.page.click("#catalogue .primary")
    shown.page.wait_for_selector(".legend .name:text-is('ema 55')")
    assert "show=ema_55~cc79a7" in location(shown)
    until(lambda: bool(numbers(line(shown, "ema 55"))))
    start = hover(shown, 0.6)
    (row,) = demo.ask(f"/v1/indicators?{VIEW}&name=ema_55&start={start}&limit=1")["data"]
    assert row["ts_start"] == start
    assert numbers(line(shown, "ema 55")) == [pytest.approx(row["values"]["ema"], abs=1e-4)]
    shown.page.click(".legend .name")
    assert shown.page.input_value("#catalogue input[type=number]") == "55"
    shown.page.fill("#catalogue input[type=number]", "0")
    shown.page.keyboard.press("Enter")
    assert shown.page.is_visible("#catalogue"), "what the server would refuse is not taken"
    shown.page.fill("#catalogue input[type=number]", "20")
    shown.page.keyboard.press("Enter")
    shown.page.wait_for_selector(".legend .name:text-is('ema 20')")
    shown.page.hover(".legend .name")
    shown.page.click("[aria-label='Remove ema 20']")
    until(lambda: "show=" not in location(shown))
    assert not shown.page.locator(".legend .name").count()
    assert not shown.errors
    assert not shown.violations()


def test_an_indicator_that_is_not_streamed_moves_all_the_same(shown: Shown, demo: Demo) -> None:
    assert "rsi_7" not in demo.ask("/v1/about")["indicators"]
    shown.open(demo, f"{VIEW}&show=rsi_7")
    until(lambda: bool(numbers(line(shown, "rsi 7"))))
    before = numbers(line(shown, "rsi 7"))
    until(lambda: numbers(line(shown, "rsi 7")) not in ([], before))
    path = f"/v1/indicators?{VIEW}&name=rsi_7&forming=true&limit=1"
    until(
        lambda: numbers(line(shown, "rsi 7")) == [pytest.approx(demo.ask(path)["data"][-1]["values"]["rsi"], abs=0.5)]
    )
    assert not shown.errors


def test_names_and_colours_of_a_link(shown: Shown, demo: Demo) -> None:
    shown.open(demo, f"{VIEW}&show=bollinger,macd~0072b2,nothing_5")
    shown.page.wait_for_selector(".legend .name:text-is('bollinger 20 2')")
    until(lambda: len(numbers(line(shown, "bollinger 20 2"))) == 3)
    start = hover(shown, 0.5)
    (row,) = demo.ask(f"/v1/indicators?{VIEW}&name=macd_12_26_9&start={start}&limit=1")["data"]
    assert numbers(line(shown, "macd 12 26 9")) == [pytest.approx(one, abs=1e-4) for one in row["values"].values()]
    assert "show=bollinger_20_2,macd_12_26_9~0072b2,nothing_5" in location(shown)
    assert "nothing_5" in line(shown, "nothing 5"), "the server's words say what is wrong with it"


def test_scales_are_chosen_undone_and_done_again(shown: Shown, demo: Demo) -> None:
    shown.open(demo, VIEW)
    for key, part in (("Alt+l", "log=1"), ("Alt+p", "percent=1"), ("Alt+i", "inverted=1")):
        shown.page.keyboard.press(key)
        assert part in location(shown)
    assert "log=1" not in location(shown)
    assert shown.text("#scale-name") == "% ↓"
    shown.page.keyboard.press("Control+z")
    shown.page.keyboard.press("Control+z")
    assert "log=1" in location(shown)
    assert "inverted=1" not in location(shown)
    shown.page.keyboard.press("Control+y")
    assert "percent=1" in location(shown)
    shown.page.keyboard.press("2")
    until(lambda: "interval=5s" in location(shown))
    shown.page.keyboard.press("Control+z")
    until(lambda: "interval=1m" in location(shown))
    assert shown.page.get_attribute("#intervals [aria-pressed=true]", "data-name") == "1m"
    assert not shown.errors


#: Texts as they are drawn, by the row of the chart's table that they are drawn in: the panes, then the times.
DRAWN = """
window.__drawn = [];
const fill = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...more) {
    const row = this.canvas.closest("#canvas tr");
    if (row) window.__drawn.push([row.rowIndex, text]);
    return fill.call(this, text, ...more);
};
"""


def test_a_pane_has_a_scale_of_its_own(shown: Shown, demo: Demo) -> None:
    """Per cent is of the candles: an RSI in per cent of the first RSI seen would be a wrong number."""
    shown.page.add_init_script(DRAWN)
    shown.open(demo, f"{VIEW}&show=rsi_14&percent=1&inverted=1")
    until(lambda: len(numbers(line(shown, "rsi 14"))) == 1)
    for key in ("2", "4"):  # panes are made again
        shown.page.evaluate("window.__drawn.length = 0")
        shown.page.keyboard.press(key)
        until(lambda: any("%" in text for text in drawn(shown, 0)))
        until(lambda: len(drawn(shown, 2)) > 1)
        assert not [text for text in drawn(shown, 2) if "%" in text]
        assert all(0 <= float(text) <= 100 for text in drawn(shown, 2))


def test_scrolled_back_no_old_price_is_on_the_axis_as_if_it_were_the_newest(shown: Shown, demo: Demo) -> None:
    shown.page.add_init_script(DRAWN)
    shown.open(demo, VIEW)
    until(lambda: shown.text("#price") in drawn(shown, 0))
    for _ in range(3):
        drag(shown, 600)
    shown.page.wait_for_timeout(500)
    last = hover(shown, 0.88)
    rows = demo.ask(f"/v1/candles?{VIEW}&start={last - 5 * MINUTE}&end={last + 15 * MINUTE}")["data"]
    assert len(rows) == 20, "among them is the last one in view"
    shown.page.mouse.move(5, 5)
    shown.page.wait_for_timeout(500)
    shown.page.evaluate("window.__drawn.length = 0")
    until(lambda: len(drawn(shown, 0)) > 5)
    assert not {f"{float(row['close']):.2f}" for row in rows}.intersection(drawn(shown, 0))


def drawn(shown: Shown, row: int) -> list[str]:
    texts: list[list[Any]] = shown.page.evaluate("window.__drawn")
    return [text for at, text in texts if at == row]


def test_times_are_those_of_the_zone(browser: Any, demo: Demo) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900}, timezone_id="Asia/Kolkata")
    shown = Shown(page)
    about = demo.ask("/v1/about") | {"timezone": "America/New_York"}
    page.route("**/v1/about", lambda route: route.fulfill(json=about))
    shown.open(demo, VIEW)
    for name, zone in (("UTC", "UTC"), ("Local", "Asia/Kolkata"), ("Exchange", "America/New_York")):
        assert shown.text("#zone") == name
        start = hover(shown, 0.4)
        then = datetime.fromtimestamp(start / 1e6, ZoneInfo(zone))
        assert f"{then.day} {then:%b %Y %H:%M}" in shown.text("#legend")
        page.click("#zone")
    assert not shown.errors
    page.close()


@pytest.fixture
def paged(shown: Shown) -> Shown:
    """Pages of the candles are short, so that there are many."""

    def short(route: Any) -> None:
        url = route.request.url.replace("limit=1000", "limit=170").replace("limit=2000", "limit=200")
        route.continue_(url=url)

    shown.page.route("**/v1/candles?*interval=1m*", short)
    return shown


def test_a_date_is_gone_to_and_scrolled_back_from(paged: Shown, demo: Demo) -> None:
    paged.open(demo, f"{VIEW}&show=sma_20")
    (first,) = demo.ask(f"/v1/candles?{VIEW}&start=0&limit=1")["data"]
    asked = first["ts_start"] + 300 * MINUTE
    paged.page.keyboard.press("Alt+g")
    paged.page.fill("#go-time", datetime.fromtimestamp(asked / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    paged.page.keyboard.press("Enter")
    paged.page.wait_for_selector("#now.wanted")
    paged.page.wait_for_selector("#loading", state="hidden")
    paged.page.wait_for_timeout(1000)
    assert abs(hover(paged, 0.47) - asked) < 20 * MINUTE
    assert len(paged.saved()) < 700, "not every page in between"
    until(lambda: bool(numbers(line(paged, "sma 20"))))
    before = hover(paged, 0.3)
    while paged.page.locator("#now.wanted").count():
        for _ in range(4):
            paged.page.keyboard.press("ArrowRight")
        now = hover(paged, 0.3)
        moved = (now - before) / MINUTE  # a pointer at the edge of a bar may be given its neighbour
        assert abs(moved - 20) <= 1, "what is looked at does not jump when more is loaded"
        before = now
    assert same(paged, demo, "1m")
    until(lambda: end(paged, -1, "closed") == "false")
    assert not paged.errors


def test_now_leads_back_from_a_date(paged: Shown, demo: Demo) -> None:
    paged.open(demo, VIEW)
    (first,) = demo.ask(f"/v1/candles?{VIEW}&start=0&limit=1")["data"]
    paged.page.click("#go-open")
    then = datetime.fromtimestamp(first["ts_start"] / 1e6, UTC)
    paged.page.fill("#go-time", then.strftime("%Y-%m-%dT%H:%M:%S"))
    paged.page.click("#go-form .primary")
    paged.page.wait_for_selector("#now.wanted")
    until(lambda: end(paged, 0, "ts_start") == str(first["ts_start"]))
    paged.page.keyboard.press("End")
    until(lambda: end(paged, -1, "closed") == "false")
    assert same(paged, demo, "1m")


def double_click(shown: Shown, x: float, y: float, is_seen: bool) -> None:
    """Until the legend of the candles is seen or not: a page that is busy for half a second takes it for two clicks."""

    def is_so() -> bool:
        shown.page.mouse.dblclick(x, y)
        tries = 0
        while shown.page.is_visible("#legend") is not is_seen and (tries := tries + 1) < 50:
            shown.page.wait_for_timeout(100)
        return shown.page.is_visible("#legend") is is_seen

    until(is_so)


def test_a_pane_is_alone_after_a_double_click(shown: Shown, demo: Demo) -> None:
    shown.open(demo, f"{VIEW}&show=rsi_14")
    shown.page.wait_for_selector(".legend .name:text-is('rsi 14')")
    box = shown.page.locator("#canvas").bounding_box()
    double_click(shown, box["x"] + 300, box["y"] + box["height"] - 80, is_seen=False)
    double_click(shown, box["x"] + 300, box["y"] + 200, is_seen=True)
    with shown.page.expect_download() as download:
        shown.page.keyboard.press("Alt+s")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def ruled(demo: Demo) -> Iterator[Demo]:
    """A demo without rules, before and after."""

    def clear() -> None:
        for rule in demo.ask("/v1/alerts")["data"]:
            write(demo, "DELETE", f"/v1/alerts/{rule['id']}")

    clear()
    yield demo
    clear()


def level(demo: Demo) -> float:
    (rule,) = demo.ask("/v1/alerts")["data"]
    return float(rule["when"]["level"])


def test_an_alert_is_made_dragged_moved_by_keys_and_removed(shown: Shown, ruled: Demo) -> None:
    shown.open(ruled, VIEW)
    shown.page.wait_for_selector("#alerts-menu")
    hover(shown, 0.5, 120)
    shown.page.click("#alarm-add")
    handle = shown.page.locator(".alarm .handle")
    handle.wait_for()
    made = level(ruled)
    assert float(handle.get_attribute("aria-valuetext")) == made
    box = handle.bounding_box()
    x, y = box["x"] + 5, box["y"] + box["height"] / 2
    shown.page.mouse.move(x, y)
    shown.page.mouse.down()
    shown.page.mouse.move(x, y + 40, steps=4)
    shown.page.mouse.up()
    until(lambda: level(ruled) < made)
    until(lambda: float(handle.get_attribute("aria-valuetext")) == level(ruled))
    dragged = level(ruled)
    handle.focus()
    shown.page.keyboard.press("ArrowUp")
    shown.page.keyboard.press("Shift+ArrowUp")
    until(lambda: level(ruled) == pytest.approx(dragged + 0.11))
    assert "symbol=BTCUSDT" in location(shown), "the keys were the handle's"
    shown.page.keyboard.press("Delete")
    until(lambda: ruled.ask("/v1/alerts")["data"] == [])
    handle.wait_for(state="detached")
    assert not shown.errors
    assert not shown.violations()


def test_what_fires_is_told_and_stays(shown: Shown, ruled: Demo) -> None:
    shown.open(ruled, VIEW)
    shown.page.wait_for_selector("#alerts-menu")
    shown.page.wait_for_timeout(3000)
    for _ in range(20):  # a market may walk away from one level for good: there is one where it stands now
        (row,) = ruled.ask("/v1/trades?symbol=BTCUSDT&limit=1")["data"]
        for crosses in ("above", "below"):
            when = {"kind": "price", "symbol": "BTCUSDT", "crosses": crosses, "level": row["price"]}
            write(ruled, "POST", "/v1/alerts", {"name": f"it is {crosses}", "when": when, "once": True})
        shown.page.wait_for_timeout(5000)
        if shown.page.locator(".note").count():
            break
    said = shown.page.locator(".note span").first.inner_text()
    assert said in [event["text"] for event in ruled.ask("/v1/alerts/events")["data"]]
    shown.page.wait_for_timeout(4000)
    shown.page.locator(".note").last.wait_for()
    shown.page.click("#alerts-menu summary")
    shown.page.locator("#alerts .rule button", has_text="Test").first.click()
    shown.page.wait_for_selector(".note:has-text('Test')")
    shown.page.locator("#alerts label").click()
    assert shown.page.evaluate("localStorage.getItem('tapeflow.sound')") == "1"
    while shown.page.locator(".note").count():
        shown.page.locator(".note .drop").first.click()
    assert not shown.errors


def test_where_a_gateway_keeps_no_alerts_nothing_of_them_is_seen_or_asked_for(shown: Shown, demo: Demo) -> None:
    about = demo.ask("/v1/about")
    assert about["has_alerts"]
    shown.page.route("**/v1/about", lambda route: route.fulfill(json=about | {"has_alerts": False, "has_sql": False}))
    asked: list[str] = []
    shown.page.on("request", lambda request: asked.append(request.url))
    shown.open(demo, VIEW)
    shown.page.wait_for_timeout(1000)
    hover(shown, 0.5)
    assert not shown.page.is_visible("#alerts-menu")
    assert not shown.page.is_visible("#alarm-add")
    shown.page.keyboard.press("Alt+a")
    assert "keeps no alerts" in shown.text("#toast")
    shown.page.click("#share-menu > summary")
    assert shown.page.is_visible("[data-copy=python]")
    assert not shown.page.is_visible("[data-copy=sql]")
    assert not [url for url in asked if "/v1/alerts" in url]
    assert not shown.errors


def test_it_is_drawn_no_oftener_than_is_seen(shown: Shown, demo: Demo) -> None:
    shown.open(demo, f"{VIEW}&show=sma_20,rsi_14")
    session = shown.page.context.new_cdp_session(shown.page)
    session.send("Performance.enable")

    def styled() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return {one["name"]: one["value"] for one in metrics}["RecalcStyleCount"]  # type: ignore[no-any-return]

    before = styled()
    shown.page.wait_for_timeout(5000)
    assert styled() - before < 5 * 20


def test_history_that_a_busy_server_cannot_give_is_asked_for_again(shown: Shown, demo: Demo) -> None:
    asked: list[str] = []

    def busy(route: Any) -> None:
        asked.append(route.request.url)
        if len(asked) > 2:
            route.continue_()
            return
        problem = {"type": "urn:tapeflow:problem:busy", "title": "Busy", "status": 503, "detail": "the store is busy"}
        route.fulfill(status=503, json=problem)

    shown.page.route("**/v1/candles?*limit=1000*", busy)
    shown.page.goto(f"{demo.address}/#{VIEW}")
    shown.page.locator("#loading", has_text="the store is busy").wait_for()
    shown.live()
    assert len(asked) >= 3
    assert same(shown, demo, "1m")
    shown.errors.clear()  # the browser names each 503


#: The first answer has 30,000 candles before its own: many times what is put into the chart at once.
MANY = """
const ask = window.fetch;
window.fetch = async (address, ...more) => {
    const answer = await ask(address, ...more), url = String(address);
    if (!url.includes("/v1/candles?") || !url.includes("interval=1m")) return answer;
    const told = await answer.json(), rows = told.data;
    if (rows.length > 100 && !url.includes("start=") && !url.includes("end=")) {
        const at = (index) => rows[0].ts_start - (30000 - index) * 60e6;
        told.data = Array.from({length: 30000}, (_, index) =>
            ({...rows[index % rows.length], ts_start: at(index), ts_end: at(index) + 60e6})).concat(rows);
    } else if (rows.length > 100) told.data = [];
    told.next = null;
    told.coverage.gaps = [];
    return new Response(JSON.stringify(told), {status: answer.status, headers: {"Content-Type": "application/json"}});
};
"""


def drag(shown: Shown, pixels: int) -> None:
    """Hold the chart at its middle and move it."""
    mouse = shown.page.mouse
    box = shown.page.locator("#canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + 200
    mouse.move(x - pixels / 2, y)
    mouse.down()
    mouse.move(x + pixels / 2, y, steps=12)
    shown.page.wait_for_timeout(150)
    mouse.up()


@pytest.fixture
def filled(shown: Shown, demo: Demo) -> Shown:
    """A chart of 31,000 candles, with an indicator."""
    shown.page.add_init_script(MANY)
    shown.open(demo, f"{VIEW}&show=sma_20")
    return shown


def test_what_is_looked_at_does_not_jump_among_very_many_candles(filled: Shown) -> None:
    before, step = hover(filled, 0.5), 0.0
    for sign in (1, -1):
        for _ in range(12 if sign > 0 else 9):
            drag(filled, sign * 840)  # a hundred candles: over all of it farther than what is put in at once
            now = hover(filled, 0.5)
            moved = (before - now) / MINUTE
            step = step or moved
            assert moved == pytest.approx(sign * step, abs=2)
            before = now
    assert step >= 90
    assert "C" in filled.text("#legend")
    rows = filled.saved()
    assert len(rows) > 30_000
    starts = [int(row["ts_start"]) for row in rows]
    assert starts == sorted(set(starts))
    assert not filled.errors


def test_the_price_goes_on_and_now_leads_back_among_very_many_candles(filled: Shown) -> None:
    for _ in range(10):
        drag(filled, 840)
    filled.page.wait_for_selector("#now.wanted")
    filled.page.wait_for_timeout(500)
    price = filled.text("#price")
    until(lambda: filled.text("#price") != price)
    filled.page.keyboard.press("End")
    filled.page.wait_for_selector("#now:not(.wanted)", state="attached")
    filled.page.wait_for_timeout(800)
    last = filled.saved()[-1]
    assert abs(hover(filled, 0.8) - int(last["ts_start"])) < 60 * MINUTE
    assert not filled.errors


def test_all_that_fits_is_shown_and_wheeled_back_from(filled: Shown) -> None:
    filled.page.click("#fit")
    filled.page.wait_for_timeout(500)
    starts = [hover(filled, part) for part in (0.1, 0.5, 0.9)]
    assert (starts[2] - starts[0]) / MINUTE > 2500
    drag(filled, 900)
    filled.page.wait_for_timeout(500)
    again = [hover(filled, part) for part in (0.1, 0.5, 0.9)]
    assert again[2] < starts[2]
    assert (again[2] - again[0]) / MINUTE == pytest.approx((starts[2] - starts[0]) / MINUTE, rel=0.02)
    for _ in range(12):
        filled.page.mouse.wheel(0, -400)
        filled.page.wait_for_timeout(100)
    assert (hover(filled, 0.9) - hover(filled, 0.1)) / MINUTE < 1500
    assert not filled.errors
