"""The market, the operator's view, the palette and what is taken along, as a person uses them; against the API."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from paging import PATIENCE_S, Demo, Shown, until

pytestmark = pytest.mark.slow

VIEW = "symbol=BTCUSDT&interval=1m"
AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
HOUR = 3_600_000_000
PHONE = {"width": 390, "height": 844}
_BUTTONS = """() => [...document.querySelectorAll('button')]
    .filter((one) => !one.closest('dialog, [hidden]') && !one.disabled)
    .map((one) => [one, one.closest('[role=group][aria-label], section[aria-label], nav[aria-label]') ? '' : one.title])
    .map(([one, title]) => title.replace(/ *\\(.*/, '') || (one.getAttribute('aria-label') ?? one.textContent))
    .map((name) => name.trim())"""
_SMALL = """() => [...document.querySelectorAll('button, summary, input')]
    .filter((one) => one.checkVisibility() && !one.closest('.legend, .alarms, .calendar'))
    .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
    .filter(([, box]) => box.width > 1 && (box.height < 39.5 || box.width < 39.5)).map(([text]) => text)"""
#: What jumps. The tape of trades is out of sight: that new ones move those below them down is what it is for.
_SHIFTS = """window.__shift = 0; window.__moved = [];
const unseen = new CSSStyleSheet();
unseen.replaceSync("#trade-rows > * { visibility: hidden; }");
document.adoptedStyleSheets = [unseen];
new PerformanceObserver((list) => {
    for (const one of list.getEntries().filter((each) => !each.hadRecentInput)) {
        window.__shift += one.value;
        for (const {node} of one.sources) window.__moved.push(`${one.value.toFixed(3)} ${node?.id || node?.nodeName}`);
    }
}).observe({type: 'layout-shift', buffered: true});"""
_FLASHES = """() => new MutationObserver(() => (window.__flashed = true))
    .observe(document.body, {subtree: true, attributeFilter: ['data-flash']})"""
_OPENINGS = (
    "#palette-open",
    "#help",
    "#go-open",
    "#indicators-open",
    "#share-menu > summary",
    "#styles-menu > summary",
)


def location(shown: Shown) -> str:
    return shown.page.evaluate("location.hash")  # type: ignore[no-any-return]


def command(shown: Shown, words: str) -> None:
    """What the palette finds first by some letters."""
    shown.page.keyboard.press("Control+k")
    shown.page.keyboard.type(words)
    shown.page.keyboard.press("Enter")
    shown.page.wait_for_selector("#palette", state="hidden")


def serious(shown: Shown) -> list[Any]:
    if not AXE.is_file():
        lacking = "axe-core is not installed: python web/build.py"
        pytest.fail(lacking) if os.environ.get("CI") else pytest.skip(lacking)
    shown.page.evaluate(AXE.read_text())
    found = shown.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    worst = [one for one in found if one["impact"] in ("serious", "critical")]
    return [(one["id"], [node["html"] for node in one["nodes"]][:5]) for one in worst]


# -- the palette --


def test_commands_are_found_and_done(shown: Shown, demo: Demo) -> None:
    shown.open(demo, VIEW)
    command(shown, "eth")
    until(lambda: "symbol=ETHUSDT" in location(shown))
    command(shown, "15m")
    until(lambda: "interval=15m" in location(shown))
    command(shown, "hollow")
    command(shown, "theme light")
    command(shown, "zone exchange")
    command(shown, "logarithmic")
    for part in ("style=hollow", "theme=light", "zone=exchange", "log=1"):
        until(lambda part=part: part in location(shown))  # type: ignore[misc]
    command(shown, "trades from")
    assert shown.page.evaluate("document.activeElement.id") == "least"
    shown.page.evaluate("document.activeElement.blur()")
    shown.page.keyboard.press(":")
    shown.page.keyboard.type("exponential moving")
    shown.page.keyboard.press("Enter")
    assert shown.page.input_value("#catalogue input[type=search]").startswith("Exponential")
    assert not shown.errors
    assert not shown.violations()


def test_the_palette_has_every_button_and_is_a_combobox(shown: Shown, demo: Demo) -> None:
    shown.open(demo, VIEW)
    shown.page.wait_for_timeout(500)
    names = set(shown.page.evaluate(_BUTTONS))
    shown.page.keyboard.press("Control+k")
    for name in sorted(names):
        shown.page.fill("#palette-input", name)
        assert name in shown.page.locator(".option .what").all_inner_texts(), name
    shown.page.fill("#palette-input", "")
    field = shown.page.locator("#palette-input")
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowUp"):
        shown.page.keyboard.press(key)
        active = field.get_attribute("aria-activedescendant")
        assert shown.page.get_attribute(f"#{active}", "aria-selected") == "true"
        assert shown.page.locator("[role=option][aria-selected=true]").count() == 1
    assert not serious(shown)
    shown.page.fill("#palette-input", "zzzz")
    assert "Nothing" in shown.text("#palette-list")
    shown.page.keyboard.press("Escape")
    assert not shown.page.is_visible("#palette")


# -- taken along --


def copied(shown: Shown, kind: str) -> str:
    shown.page.click("#share-menu > summary")
    shown.page.click(f"[data-copy={kind}]")
    shown.page.wait_for_selector("#toast:has-text('Copied')")
    return shown.page.evaluate("navigator.clipboard.readText()")  # type: ignore[no-any-return]


@pytest.fixture
def copying(shown: Shown) -> Shown:
    shown.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return shown


def ran(command: list[str], data: str | None = None) -> str:
    return subprocess.run(command, input=data, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("is_past", [False, True])
def test_what_is_copied_works_when_pasted(copying: Shown, demo: Demo, is_past: bool) -> None:
    copying.open(demo, VIEW)
    if is_past:
        (first,) = demo.ask(f"/v1/candles?{VIEW}&start=0&limit=1")["data"]
        copying.page.keyboard.press("Alt+g")
        then = time.gmtime((first["ts_start"] + 10 * HOUR) / 1e6)
        copying.page.fill("#go-time", time.strftime("%Y-%m-%dT%H:%M:%S", then))
        copying.page.keyboard.press("Enter")
        copying.page.wait_for_timeout(2500)
    rows = json.loads(ran(["sh", "-c", copied(copying, "curl")]))["data"]
    assert rows
    assert {row["symbol"] for row in rows} == {"BTCUSDT"}
    statement = copied(copying, "sql")
    found = json.loads(ran(["curl", "-sS", f"{demo.address}/v1/sql", "--data-binary", "@-"], statement))["data"]
    assert found
    assert {row["ts_start"] for row in found} <= {row["ts_start"] for row in rows} | {found[0]["ts_start"]}
    text = copied(copying, "python")
    if is_past:
        counted = text.replace(".arrow())", ".arrow().num_rows, 'rows')")
        assert f"{len(rows)} rows" in ran([sys.executable, "-c", counted])
        assert rows[-1]["ts_start"] < time.time() * 1e6 - HOUR
    else:
        head, _, _ = text.rpartition("    print(row)")
        assert '"symbol"' in ran([sys.executable, "-c", f"{head}    import json; print(json.dumps(row)); break\n"])
    assert copied(copying, "link") == copying.page.url
    assert not copying.errors


def downloaded(shown: Shown, kind: str) -> Path:
    shown.page.click("#share-menu > summary")
    with shown.page.expect_download(timeout=90_000) as download:
        shown.page.click(f"[data-file='{kind}']")
    path = Path(download.value.path())
    return path.rename(path.with_name(download.value.suggested_filename))


def test_files_have_the_rows_of_the_api(shown: Shown, demo: Demo) -> None:
    shown.open(demo, VIEW)
    shown.page.wait_for_timeout(1500)
    loaded = pq.read_table(downloaded(shown, "loaded.parquet")).to_pylist()
    seen = pq.read_table(downloaded(shown, "seen.parquet")).to_pylist()
    assert 100 < len(seen) < len(loaded)
    with downloaded(shown, "seen.csv").open(newline="") as file:
        told = list(csv.DictReader(file))
    starts = [f"{row['ts_start'].timestamp() * 1e6:.0f}" for row in seen]
    assert [row["ts_start"] for row in told[:-1]] == starts[: len(told) - 1]
    start, end = told[0]["ts_start"], told[-1]["ts_end"]
    rows = demo.ask(f"/v1/candles?{VIEW}&start={start}&end={end}&limit=10000")["data"]
    assert [row["close"] for row in told[:-2]] == [row["close"] for row in rows[: len(told) - 2]]
    assert not shown.errors


def test_an_hour_of_trades_is_saved_whole(shown: Shown, demo: Demo) -> None:
    ask = "/v1/trades?symbol=BTCUSDT&limit=100"
    until(lambda: len(demo.ask(ask)["data"]) == 100)  # how soon depends on where the market walks
    # A market that has gone on for long has more than the page would save in pages of 40.
    page = max(40, len(demo.ask("/v1/trades?symbol=BTCUSDT&limit=10000")["data"]) // 20)

    def short(route: Any) -> None:
        route.continue_(url=route.request.url.replace("limit=10000", f"limit={page}"))

    shown.page.route("**/v1/trades?*limit=10000*", short)
    shown.open(demo, VIEW)
    before = demo.ask(ask)["data"]
    with downloaded(shown, "trades.csv").open(newline="") as file:
        told = list(csv.DictReader(file))
    ids = [int(row["id"]) for row in told]
    assert len(ids) >= 100, "more than two pages"
    assert ids == sorted(set(ids)), "each once, names of columns but at the top"
    kept = {row["id"] for row in told}
    assert {row["id"] for row in before} <= kept


# -- the operator --


def test_the_operator_sees_feeds_queues_and_figures(shown: Shown, demo: Demo) -> None:
    shown.open(demo, VIEW)
    shown.page.keyboard.press("o")
    shown.page.wait_for_selector(".feeds tbody tr")
    connection = shown.page.locator(".feeds tbody tr").first.inner_text()
    assert "binance-1" in connection
    assert "open" in connection
    until(lambda: float(shown.page.locator(".feeds td:nth-child(4) span").first.inner_text().strip("\u2013") or 0) > 0)
    shown.page.wait_for_selector(".figures .trend polyline[points]")
    text = shown.text("#operator-view")
    for name in ("Tape, in memory", "Store behind", "Holes open", "Streams open", "Quarantined", "Health: ok"):
        assert name in text
    assert shown.page.evaluate("document.querySelector('#chart').inert"), "what lies beneath is not reached"
    shown.page.click(".shut")
    assert not shown.page.is_visible("#operator-view")
    assert shown.page.evaluate("document.activeElement.id") == "operator"
    assert not shown.page.evaluate("document.querySelector('#chart').inert")
    assert not shown.errors
    assert not shown.violations()


def test_what_cannot_be_read_and_what_is_refilled_is_told(shown: Shown, demo: Demo) -> None:
    frame = "eyJlIjoidHJhZGUifQ=="
    named = {"venue": "binance", "symbol": None, "connection": "binance-1-2", "reason": "missing_field"}
    rows = [named | {"ts_recv": 1795285341000000, "frame": frame}]
    shown.page.route("**/v1/quarantine*", lambda route: route.fulfill(json={"data": rows, "next": None}))

    def holes(route: Any) -> None:
        text = route.fetch().text()
        for name, value in (("holes_open", "2.0"), ("refill_remaining_seconds", "45.0"), ("quarantined_total", "1.0")):
            text = text.replace(f"\ntapeflow_{name} 0.0", f"\ntapeflow_{name} {value}")
        route.fulfill(body=text, content_type="text/plain")

    shown.page.route("**/metrics", holes)
    shown.open(demo, VIEW)
    until(lambda: shown.text("#t-holes") == "2 being refilled, about 45 s left")
    shown.page.click("#operator")
    shown.page.wait_for_selector(".quarantine li")
    line = shown.text(".quarantine li")
    assert "missing field" in line
    assert '{"e":"trade"}' in line


def test_the_calendar_is_the_coverage(shown: Shown, demo: Demo) -> None:
    day = 86_400_000_000
    now = int(time.time() * 1e6)
    today = now // day * day

    def row(stream: str, start: int, end: int, state: str = "complete", reason: str | None = None) -> dict[str, Any]:
        ids = {"first_id": "1", "last_id": "2", "guarantee": "sequence"}
        named = {"venue": "binance", "symbol": "BTCUSDT", "stream": stream}
        return named | {"ts_start": start, "ts_end": end, "state": state, "reason": reason} | ids

    cut = today - 2 * day + 5 * HOUR
    pages = [
        [row("trades", today - 5 * day, cut), row("trades", cut, cut + HOUR // 2, "gap", "venue_unreachable")],
        [row("trades", cut + HOUR // 2, now - 1_000_000), row("quotes", today - day + HOUR, today - day + 3 * HOUR)],
    ]

    def told(route: Any) -> None:
        if "start=0" not in route.request.url:
            route.continue_()
            return
        index = int("cursor=more" in route.request.url)
        route.fulfill(json={"data": pages[index], "next": None if index else "more"})

    shown.page.route("**/v1/coverage*", told)
    shown.open(demo, VIEW)
    shown.page.keyboard.press("o")
    shown.page.wait_for_selector(".calendar .cell[data-from]")

    def states(stream: str) -> list[str]:
        cells = shown.page.locator(f".calendar tr:has(th:text-is('{stream}')) button.cell")
        return cells.evaluate_all("(all) => all.map((one) => one.dataset.state)")  # type: ignore[no-any-return]

    assert states("trades")[-7:] == ["none", "complete", "complete", "complete", "partial", "complete", "complete"]
    assert states("quotes")[-3:] == ["none", "partial", "none"]
    cell = shown.page.locator(f"#cell-trades-{(today - 2 * day) // 1_000_000}")
    cell.focus()
    assert "venue unreachable" in shown.text(".told")
    shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("ArrowLeft")
    shown.page.keyboard.press("Enter")
    assert states("trades")[4:7] == ["complete", "partial", "complete"]
    assert len(states("trades")) == 24
    shown.page.keyboard.press("Escape")
    assert shown.page.evaluate("document.activeElement.dataset.from") == str((today - 2 * day) // 1_000_000)
    assert not serious(shown)
    assert not shown.errors
    assert not shown.violations()


# -- the market --


def test_the_book_is_grouped_without_losing_a_coin(shown: Shown, demo: Demo) -> None:
    shown.open(demo, VIEW)
    shown.page.wait_for_selector(".level.bid .number")
    assert shown.page.is_disabled("#finer")
    for _ in range(6):
        shown.page.click("#coarser")
    assert shown.text("#group") == "1.00"
    until(lambda: bool(shown.page.locator(".level.bid:not(.heads) span").first.inner_text()))
    prices, sizes, sums = _ladder(shown, "bid")
    assert all(price == price.to_integral_value() for price in prices)
    assert prices == sorted(prices, reverse=True)
    assert sums == [sum(sizes[: index + 1]) for index in range(len(sizes))]
    assert "tick" in shown.text("#spread")
    assert "bp" in shown.text("#spread")
    assert not shown.errors


def _ladder(shown: Shown, side: str) -> tuple[list[Decimal], list[Decimal], list[Decimal]]:
    """Prices, sizes and sums of a side, taken at one moment."""
    script = "(all) => all.map((one) => [...one.querySelectorAll('span')].map((cell) => cell.textContent))"
    rows = shown.page.locator(f".level.{side}").evaluate_all(script)
    columns = zip(*[row for row in rows if row[0]], strict=True)
    prices, sizes, sums = ([Decimal(text.removeprefix("≥ ")) for text in column] for column in columns)
    return prices, sizes, sums


def stored(demo: Demo, lines: list[list[str]]) -> list[tuple[list[str], dict[str, Any]]]:
    """The rows of trades on the page, each with that of the store, which is behind the stream."""
    for _ in range(20):
        newest = demo.ask("/v1/trades?symbol=BTCUSDT&limit=2000")["data"]
        known = {(Decimal(row["price"]), Decimal(row["size"])): row for row in newest}
        found = [(line, known.get((Decimal(line[1][2:]), Decimal(line[2])))) for line in lines]
        there = [(line, row) for line, row in found if row is not None]
        if len(there) > 3:
            return there
        time.sleep(0.5)
    raise AssertionError("what is on the page is not in the store")


def test_trades_are_filtered_by_size_and_told_to_the_millisecond(shown: Shown, demo: Demo) -> None:
    shown.open(demo, VIEW)
    shown.page.wait_for_timeout(2000)
    rows = demo.ask("/v1/trades?symbol=BTCUSDT&limit=60")["data"]
    least = sorted(Decimal(row["size"]) for row in rows)[40]
    shown.page.fill("#least", str(least))
    shown.page.wait_for_timeout(500)
    script = "(all) => all.map((one) => [one.dataset.tone, ...[...one.children].map((cell) => cell.textContent)])"
    lines = shown.page.locator(".trade:not(.heads):not([hidden])").evaluate_all(script)
    assert lines
    assert all(Decimal(size) >= least for _, _, size, _ in lines)
    found = 0
    for (tone, _, _, clock), row in stored(demo, lines):
        found += 1
        assert tone == {"buy": "up", "sell": "down"}[row["side"]]
        millis = row["ts_event"] // 1000
        assert clock == time.strftime("%H:%M:%S", time.gmtime(millis / 1000)) + f".{millis % 1000:03}"
    assert found > 3


def test_the_watchlist_is_sorted_walked_and_mended(shown: Shown, demo: Demo) -> None:
    shown.open(demo, VIEW)  # the venue sums up a thousand hours of trades for it: most of a minute on a quiet machine
    shown.page.wait_for_selector("#symbols td.number:has-text('%')", timeout=1000 * PATIENCE_S)
    until(lambda: all(shown.page.locator("#symbols td:nth-child(3)").all_inner_texts()))
    shown.page.click("[data-sort=last]")
    prices = [float(text) for text in shown.page.locator("#symbols td:nth-child(3)").all_inner_texts()]
    assert prices == sorted(prices, reverse=True)
    assert shown.page.get_attribute("th:has([data-sort=last])", "aria-sort") == "descending"
    shown.page.click("[data-sort=change]")
    shown.page.click("[data-sort=symbol]")
    first, second = shown.page.locator(".pick").all_inner_texts()[:2]
    shown.page.locator(".pick").first.focus()
    shown.page.keyboard.press("ArrowDown")
    assert shown.page.evaluate("document.activeElement.textContent") == second
    shown.page.keyboard.press("Delete")
    shown.page.wait_for_selector(f"tr[data-symbol={second}]", state="detached")
    assert second not in {row["symbol"] for row in demo.ask("/v1/symbols")["data"] if row["status"] != "not_followed"}
    shown.page.fill("#search", second[:-1])
    shown.page.keyboard.press("Enter")
    shown.page.click(f"#suggested button:text-is('Add {second}')")
    shown.page.wait_for_selector(f"tr[data-symbol={second}]")
    assert first != second


def test_what_the_venue_lists_is_offered_while_one_types(shown: Shown, demo: Demo) -> None:
    shown.open(demo, VIEW)
    last = sorted(row["symbol"] for row in demo.ask("/v1/symbols")["data"] if row["status"] != "not_followed")[-1]
    shown.page.click(f"[aria-label='Follow {last} no more']")
    shown.page.wait_for_selector(f"tr[data-symbol={last}]", state="detached")
    listed = demo.ask("/v1/symbols/listed?limit=1000")["data"]
    others = [row["symbol"] for row in listed if not row["is_followed"]]
    assert last in others
    offered = shown.page.locator("#suggested button")

    shown.page.locator("#search").press_sequentially(last[:-1].lower(), delay=30)
    shown.page.wait_for_selector(f"#suggested button:text-is('Add {last}')")
    assert not serious(shown)
    shown.page.fill("#search", "")
    assert not shown.page.is_visible("#suggested")
    shown.page.fill("#search", "b")
    shown.page.fill("#search", "")
    shown.page.wait_for_timeout(600)
    assert not shown.page.is_visible("#suggested")  # nor when an answer comes after all
    shown.page.fill("#search", "usdt")
    wanted = [f"Add {name}" for name in others if "USDT" in name][:8]
    until(lambda: offered.all_inner_texts() == wanted)
    shown.page.fill("#search", "zzzz")
    shown.page.wait_for_selector("#suggested", state="hidden")

    shown.page.fill("#search", last[:-1])
    button = shown.page.locator(f"#suggested button:text-is('Add {last}')")
    button.wait_for()
    for _ in range(3):  # from the box past Add to what is offered
        shown.page.keyboard.press("Tab")
        if button.evaluate("(one) => one === document.activeElement"):
            break
    shown.page.keyboard.press("Enter")
    shown.page.wait_for_selector(f"tr[data-symbol={last}]")  # and the list is what it was
    shown.page.wait_for_selector(
        "#suggested", state="hidden"
    )  # a look at the list may show the row before the answer is here
    until(lambda: shown.page.input_value("#search") == "")
    assert not shown.errors


def test_a_search_that_fails_offers_nothing_and_says_nothing(shown: Shown, demo: Demo) -> None:
    shown.open(demo, VIEW)
    shown.page.route("**/v1/symbols/listed?*", lambda route: route.abort())
    with shown.page.expect_event("requestfailed"):
        shown.page.fill("#search", "BTC")
    shown.page.wait_for_timeout(300)
    assert not shown.page.is_visible("#suggested")
    assert not shown.page.is_visible("#toast")
    assert shown.page.locator("#symbols tr:not([hidden]) .pick").all_inner_texts() == ["BTCUSDT"]


def test_a_tick_the_venue_has_not_told_yet_comes_later(shown: Shown, demo: Demo) -> None:
    """A gateway may know a symbol by its rows before its collector has heard what its prices move by."""
    known: list[str | None] = [None]

    def symbols(route: Any) -> None:
        found = route.fetch().json()
        route.fulfill(json=found | {"data": [row | {"tick": known[0]} for row in found["data"]]})

    shown.page.route("**/v1/symbols", symbols)
    shown.open(demo, VIEW)
    row = shown.page.locator("#symbols tr[data-symbol=BTCUSDT]")
    until(lambda: row.locator("td.number").first.inner_text() != "")
    assert shown.text("#group") == "0.01", "the usual one meanwhile"
    for _ in range(3):
        shown.page.keyboard.press("ArrowLeft")
    shown.page.locator("#canvas").click(position={"x": 300, "y": 200})
    for _ in range(30):
        shown.page.keyboard.press("ArrowLeft")
    until(lambda: "wanted" in (shown.page.get_attribute("#now", "class") or ""))
    known[0] = "0.5"
    until(lambda: shown.text("#group") == "0.5")
    until(lambda: "tick" in shown.text("#spread"))
    assert "wanted" in shown.page.get_attribute("#now", "class"), "where one has scrolled to is still there"
    assert not shown.errors


def test_nothing_flashes_for_who_wants_it_calm(browser: Any, demo: Demo) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    shown = Shown(page)
    shown.open(demo, VIEW)
    page.evaluate(_FLASHES)
    page.wait_for_timeout(4000)
    assert not page.evaluate("window.__flashed")
    page.close()


# -- sizes and themes --


def test_a_phone_has_one_column_and_tabs(shown: Shown, demo: Demo) -> None:
    shown.page.set_viewport_size(PHONE)
    shown.open(demo, VIEW)
    parts = {"chart": "#chart", "market": "#watch", "trades": "#trades", "status": "#operator-view"}
    for tab, part in parts.items():
        shown.page.click(f"#tabs [data-tab={tab}]")
        shown.page.wait_for_selector(part, state="visible")
        assert [name for name, other in parts.items() if shown.page.is_visible(other)] == [tab]
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert shown.page.evaluate(_SMALL) == []
    shown.page.click("#operator")
    shown.page.wait_for_selector("#chart", state="visible")
    assert not shown.errors


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_serious_anywhere(shown: Shown, demo: Demo, theme: str, width: int) -> None:
    shown.page.set_viewport_size({"width": width, "height": 844})
    shown.open(demo, f"{VIEW}&theme={theme}")
    for tab in ("chart", "market", "trades", "status") if width < 760 else ("chart", "status"):
        shown.page.evaluate(f"document.querySelector('#tabs [data-tab={tab}]').click()")
        shown.page.wait_for_timeout(1500)
        assert not serious(shown), tab
    shown.page.evaluate("document.querySelector('#tabs [data-tab=chart]').click()")
    for opening in _OPENINGS:
        shown.page.click(opening)
        assert not serious(shown), opening
        shown.page.evaluate("document.querySelectorAll('dialog').forEach((one) => one.close())")
        shown.page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_jumps(shown: Shown, demo: Demo, width: int) -> None:
    shown.page.set_viewport_size({"width": width, "height": 900})
    shown.page.add_init_script(_SHIFTS)
    shown.open(demo, VIEW)
    shown.page.wait_for_timeout(5000)
    moved = shown.page.evaluate("window.__moved.filter((one) => one > '0.005').join(', ')")
    assert shown.page.evaluate("window.__shift") < 0.05, moved
