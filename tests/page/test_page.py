"""The page as a person uses it: Chromium over a demo, values on screen against what the API says."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tapeflow.api.page import BUILT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("page")]

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
PATIENCE_S = 120.0
_WATCH_CSP = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.__violations.push(event.violatedDirective));
"""


class Demo:
    """A demo on a port of its own that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        options = ("--no-browser", "--port", str(self._port), "--data", str(self._folder / "demo"))
        command = [sys.executable, "-m", "tapeflow", "demo", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=10) as answer:
            return json.load(answer)


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.25)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    if not (BUILT / "index.html").is_file():
        pytest.fail("the page is not built: run python web/build.py")
    made = Demo(tmp_path_factory.mktemp("page"))
    made.start()
    try:  # its past is fetched
        until(lambda: len(made.ask("/v1/candles?symbol=BTCUSDT&interval=1m&limit=1000")["data"]) > 900)
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        lacking = "no Chromium: apt-get install chromium, or name one in CHROMIUM"
        pytest.fail(lacking) if os.environ.get("CI") else pytest.skip(lacking)
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM)
        yield made
        made.close()


class Shown:
    """A page, and what it complained of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        page.add_init_script(_WATCH_CSP)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def open(self, demo: Demo, view: str) -> None:
        self.page.goto(f"{demo.address}/#{view}")
        self.live()

    def live(self) -> None:
        self.page.wait_for_selector("#loading", state="hidden")
        self.page.wait_for_selector("#t-connection[data-tone=good]", timeout=60_000)

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)  # type: ignore[no-any-return]

    def violations(self) -> list[str]:
        return self.page.evaluate("window.__violations")  # type: ignore[no-any-return]

    def saved(self) -> list[dict[str, str]]:
        """The candles as the page saves them."""
        self.page.click("#share-menu > summary")
        with self.page.expect_download() as download:
            self.page.click("[data-export=csv]")
        with Path(download.value.path()).open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def shown(browser: Any) -> Iterator[Shown]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    yield Shown(page)
    page.close()


_COMPARED = ("ts_start", "open", "high", "low", "close", "volume", "count", "source", "revision")


def told(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in _COMPARED)


def same(shown: Shown, demo: Demo, interval: str) -> bool:
    """Whether every closed candle on the page is the API's, and none of the API's between them is missing."""
    rows = [row for row in shown.saved() if row["closed"] == "true"]
    start, end = rows[0]["ts_start"], int(rows[-1]["ts_end"])
    path = f"/v1/candles?symbol=BTCUSDT&interval={interval}&start={start}&end={end}&limit=10000"
    return [told(row) for row in rows[:-5]] == [told(row) for row in demo.ask(path)["data"]][: len(rows) - 5]


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
        pytest.skip("axe-core is not installed: python web/build.py")
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
