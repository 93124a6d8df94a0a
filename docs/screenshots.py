"""Takes the pictures of the page that the docs show, `docs/images/`, of a demo that it starts.

    python docs/screenshots.py                    a demo of its own, warmed up for half a minute
    python docs/screenshots.py http://host:port   one that runs

Needs the page built (`python web/build.py`), Playwright and a Chromium: `CHROMIUM` names one that is not on the path.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).resolve().parent / "images"
WARM_S = 30
#: A machine may have other work.
PATIENCE_MS = 120_000
WIDE, PHONE = (1440, 900), (390, 844)
_VIEW = "symbol=BTCUSDT&interval=1m"
_RICH = f"{_VIEW}&show=bollinger_20_2,ema_20,rsi_14,macd_12_26_9"
SHOTS = (
    ("page-dark", WIDE, f"{_VIEW}&theme=dark"),
    ("page-light", WIDE, f"{_VIEW}&theme=light"),
    ("page-indicators-dark", WIDE, f"{_RICH}&theme=dark"),
    ("page-seconds-light", WIDE, "symbol=ETHUSDT&interval=1s&theme=light&show=sma_20"),
    ("page-phone-dark", PHONE, f"{_VIEW}&theme=dark"),
    ("page-phone-light", PHONE, f"{_VIEW}&theme=light"),
)


def status(page: Page) -> None:
    """The operator's view, with lines of half a minute."""
    page.click("#operator")
    page.wait_for_selector(".calendar button.cell")
    page.wait_for_timeout(30_000)


def calendar(page: Page) -> None:
    """The hours of today."""
    page.click("#operator")
    page.click(".calendar tr:nth-child(2) td:last-child button")
    page.locator(".calendar").evaluate("(one) => one.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(500)


def palette(page: Page) -> None:
    """Commands, found by some letters."""
    page.keyboard.press("Control+k")
    page.keyboard.type("save")
    page.wait_for_timeout(500)


#: Pictures of what is only there after something was done.
DONE: tuple[tuple[str, str, Callable[[Page], None]], ...] = (
    ("page-status-dark", f"{_VIEW}&theme=dark", status),
    ("page-calendar-light", f"{_VIEW}&theme=light", calendar),
    ("page-palette-dark", f"{_VIEW}&theme=dark", palette),
)


@contextmanager
def demo() -> Iterator[str]:
    """The address of a demo in a folder of its own."""
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "tapeflow", "demo", "--no-browser", "--port", "0", "--data", data]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            time.sleep(WARM_S)
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def settled(page: Page) -> None:
    """Wait until history stands and the trust bar says that it is live."""
    page.wait_for_selector("#loading", state="hidden", timeout=PATIENCE_MS)
    page.wait_for_selector("#t-connection[data-tone=good]", timeout=PATIENCE_MS)
    page.wait_for_timeout(2500)


def take(address: str, only: tuple[str, ...]) -> None:
    """Every picture, or those named."""
    with sync_playwright() as playwright:
        found = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=found)
        for name, (width, height), view in SHOTS:
            if only and name not in only:
                continue
            page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=1)
            page.goto(f"{address.rstrip('/')}/#{view}", timeout=PATIENCE_MS)
            settled(page)
            page.screenshot(path=IMAGES / f"{name}.png")
            page.close()
        for name, view, does in DONE:
            if only and name not in only:
                continue
            page = browser.new_page(viewport={"width": WIDE[0], "height": WIDE[1]})
            page.goto(f"{address.rstrip('/')}/#{view}", timeout=PATIENCE_MS)
            settled(page)
            does(page)
            page.screenshot(path=IMAGES / f"{name}.png")
            page.close()
        browser.close()


def main() -> None:
    """Of a demo, or of the address given; further words name the pictures."""
    IMAGES.mkdir(exist_ok=True)
    address, *only = sys.argv[1:] or [""]
    if address:
        take(address, tuple(only))
    else:
        with demo() as own:
            take(own, ())


if __name__ == "__main__":
    main()
