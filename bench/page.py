"""The page in Chromium: how soon it stands, what it weighs, how fast it draws, what it costs.

    python bench/page.py [--only start weight paint pan share] [--seconds N]

Needs the page built (`python web/build.py`), Playwright and a Chromium (`CHROMIUM` names one that is not on the path).
Demo, venue, run and browser share the machine. What is measured in the page is hooked in from outside: the page has no
code for it. Chromium is headless and draws by software, 60 frames a second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Browser, CDPSession, Error, Page, sync_playwright

from steady import seed_of

TAPEFLOW = (sys.executable, "-m", "tapeflow")
SIZE = {"width": 1440, "height": 900}
CANDLES = 100_000
MINUTE = 60_000_000
VIEW = "symbol={symbol}&interval=1m"
#: As of the demo: all that the page shows.
FLOW = "[flow]\nquotes = true\nklines = true\n[flow.candles]\n[[flow.moving_average]]\n[flow.book]\n"

#: When each message came; from one with another price of the chart's symbol, or of its book, to that on screen.
HOOK = """
window.__came = []; window.__price = []; window.__book = []; window.__frames = 0; window.__long = [];
const waiting = {price: [], book: []};
let close = "";
const priceOf = (text) => {
    const told = JSON.parse(text), here = new URLSearchParams(location.hash.slice(1));
    const isHere = told.symbol === here.get("symbol") && told.interval === here.get("interval");
    return isHere ? told.data.at(-1).close : close;
};
const painted = (done) => requestAnimationFrame(() => { const c = new MessageChannel();
    c.port1.onmessage = () => done(performance.now()); c.port2.postMessage(0); });
const Plain = window.WebSocket;
window.WebSocket = class extends Plain {
    constructor(...given) { super(...given);
        this.addEventListener("message", (event) => {
            if (!event.data.startsWith('{"type":"update"')) return;
            const at = performance.now();
            window.__came.push(at);
            if (event.data.includes('"channel":"book"')) waiting.book.push(at);
            if (!event.data.includes('"channel":"candles.forming"')) return;
            const price = priceOf(event.data);
            if (price !== close) waiting.price.push(at);
            close = price;
        }); } };
const watch = (id, waiting, told) => new MutationObserver(() => {
    const these = waiting.splice(0);
    if (these.length) painted((then) => { for (const at of these) told.push(then - at); });
}).observe(document.getElementById(id), {subtree: true, childList: true, characterData: true});
document.addEventListener("DOMContentLoaded", () => {
    watch("price", waiting.price, window.__price);
    watch("book-rows", waiting.book, window.__book);
});
new PerformanceObserver((list) => { for (const one of list.getEntries()) window.__long.push(one.duration); })
    .observe({type: "longtask"});
(function count() { window.__frames += 1; requestAnimationFrame(count); })();
"""

#: Only counts messages: frames that nobody asked for would cost more than the page does.
COUNT = """
window.__came = 0;
const Plain = window.WebSocket;
window.WebSocket = class extends Plain {
    constructor(...given) { super(...given);
        this.addEventListener("message", (event) => {
            if (event.data.startsWith('{"type":"update"')) window.__came += 1;
        });
    } };
"""

#: The first answer of candles has as many as wanted before its own, and there are no others.
MANY = """
const ask = window.fetch;
window.fetch = async (address, ...more) => {
    const answer = await ask(address, ...more), url = String(address);
    if (!url.includes("/v1/candles?") || !url.includes("interval=1m")) return answer;
    const told = await answer.json(), rows = told.data;
    if (rows.length > 100 && !url.includes("start") && !url.includes("end=")) {
        const at = (index) => rows[0].ts_start - (CANDLES - index) * MINUTE;
        const older = Array.from({length: CANDLES}, (_, index) =>
            ({...rows[index % rows.length], ts_start: at(index), ts_end: at(index) + MINUTE}));
        Object.assign(told, {data: [...older, ...rows], next: null});
    } else if (rows.length > 100) told.data = [];
    told.coverage.gaps = [];
    return new Response(JSON.stringify(told), {status: answer.status, headers: {"Content-Type": "application/json"}});
};
""".replace("CANDLES", str(CANDLES)).replace("MINUTE", str(MINUTE))


# -- what is looked at --


@contextmanager
def process(*command: str, cwd: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that is asked to end, as by Ctrl-C."""
    made = subprocess.Popen(
        [*TAPEFLOW, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=cwd
    )
    try:
        yield made
    finally:
        made.send_signal(signal.SIGINT)
        made.wait(30)


def line(made: subprocess.Popen[str]) -> str:
    assert made.stdout is not None
    return made.stdout.readline().strip()


@contextmanager
def run(symbols: int, rate: float, speed: float = 1) -> Iterator[tuple[str, str]]:
    """A run that follows a simulated venue; its address and a symbol."""
    with tempfile.TemporaryDirectory() as data, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        seed = str(seed_of(rate, symbols))
        market = ("--symbols", str(symbols), "--rate", str(rate), "--seed", seed, "--days", "1", "--speed", str(speed))
        with process("simulate", "binance", *market) as venue:
            told = json.loads(line(venue))
            text = f"symbols = {json.dumps(told['symbols'])}\ndata = 'data'\n[api]\nport = {port}\n[endpoints]\n"
            text += f"websocket = '{told['websocket']}'\nrest = '{told['rest']}'\n"
            Path(data, "run.toml").write_text(text + FLOW)
            with process("run", "run.toml", cwd=data):
                yield f"http://127.0.0.1:{port}/", told["symbols"][0]


def opened(browser: Browser, address: str, symbol: str, hook: str, view: str = VIEW) -> Page:
    """A page with candles and live data."""
    page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
    page.add_init_script(hook)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            page.goto(f"{address}#{view.format(symbol=symbol)}")
            break
        except Error:  # the run does not serve yet
            time.sleep(0.3)
    page.wait_for_selector("#t-connection[data-tone=good]", timeout=60_000)
    page.wait_for_selector("#loading", state="hidden", timeout=60_000)
    return page


def say(what: str, figure: str, goal: str = "") -> None:
    print(f"{what:58} {figure:34} {goal and 'goal ' + goal}", flush=True)


def tail(values: list[float]) -> str:
    cuts = statistics.quantiles(values, n=100)
    return f"p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms"


# -- the figures --


def start(browser: Browser, seconds: float) -> None:
    """From the command to candles on screen: in a new folder, then in the same one; in a new tab of an open browser."""
    with tempfile.TemporaryDirectory() as data, browser.new_context(viewport=SIZE) as window:  # type: ignore[arg-type]
        window.new_page()
        for name, goal in (("cold, a new folder", "5 s"), ("warm, the same folder", "2 s")):
            began = time.monotonic()
            with process("demo", "--port", "0", "--no-browser", "--data", data) as demo:
                address = line(demo)
                served = time.monotonic() - began
                page = window.new_page()
                page.goto(f"{address}#{VIEW.format(symbol='BTCUSDT')}")
                page.wait_for_selector("#loading", state="hidden")
                page.wait_for_selector("#legend[data-ts]:not([data-ts=''])", state="attached")
                shown = time.monotonic() - began
                say(f"tapeflow demo to first candles, {name}", f"{shown:.1f} s (address after {served:.1f} s)", goal)
                page.close()
                time.sleep(min(5.0, seconds))


def weight(browser: Browser, seconds: float) -> None:
    """Bytes of the page itself over the wire, without data."""
    with tempfile.TemporaryDirectory() as data, process("demo", "--port", "0", "--no-browser", "--data", data) as demo:
        address = line(demo)
        page = browser.new_page()
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        paths: dict[str, str] = {}
        sizes: dict[str, int] = {}
        session.on(
            "Network.responseReceived", lambda event: paths.update({event["requestId"]: event["response"]["url"]})
        )
        session.on(
            "Network.loadingFinished", lambda event: sizes.update({event["requestId"]: event["encodedDataLength"]})
        )
        page.goto(address)
        page.wait_for_timeout(3000)
        own = {url: sizes.get(key, 0) for key, url in paths.items() if url == address or "/assets/" in url}
        say("the page, compressed, with headers", f"{sum(own.values()) / 1000:.0f} kB in {len(own)} files", "< 200 kB")
        page.close()


def paint(browser: Browser, seconds: float) -> None:
    """From a message to the screen, with 50 symbols and about 1,000 updates a second at the venue.

    Once the past is fetched: meanwhile it is the venue that has the processor, which makes days of candles.
    """
    seconds *= 3
    with run(50, 1000) as (address, symbol):
        page = opened(browser, address, symbol, HOOK)
        end = time.monotonic() + 300
        while "tapeflow_history_waiting 0.0\n" not in page.request.get(f"{address}metrics").text():
            assert time.monotonic() < end, "its past is not fetched"
            page.wait_for_timeout(1000)
        page.wait_for_timeout(8000)
        page.evaluate("window.__came.length = window.__price.length = window.__book.length = 0; window.__frames = 0")
        page.wait_for_timeout(seconds * 1000)
        came, price, book, frames = page.evaluate(
            "[window.__came.length, window.__price, window.__book, window.__frames]"
        )
        rate = f"50 symbols, {came / seconds:,.0f} messages/s at the page"
        say(f"message to its price on screen, {rate}", tail(price), "p99 < 50 ms")
        say("message of the book to its levels on screen", tail(book), "p99 < 50 ms")
        say("frames a second meanwhile", f"{frames / seconds:.0f}", "60")
        page.close()


def pan(browser: Browser, seconds: float) -> None:
    """Script time a frame while 100,000 candles are dragged to and fro."""
    with tempfile.TemporaryDirectory() as data, process("demo", "--port", "0", "--no-browser", "--data", data) as demo:
        address = line(demo)
        time.sleep(20)  # its past is fetched
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.add_init_script(HOOK)
        page.goto(f"{address}#{VIEW.format(symbol='BTCUSDT')}")
        page.wait_for_selector("#loading", state="hidden", timeout=120_000)
        page.wait_for_timeout(5000)
        say("script a second, live, 1,000 candles loaded", f"{idle(page, seconds / 2) * 1000:.0f} ms")
        page.add_init_script(MANY)
        page.reload()
        page.wait_for_selector("#loading", state="hidden", timeout=120_000)
        page.wait_for_timeout(5000)
        with page.expect_download() as download:
            page.evaluate("document.querySelector('[data-export=csv]').click()")
        assert Path(download.value.path()).read_text().count("\n") > CANDLES, "the page has not loaded them all"
        say(f"script a second, live, {CANDLES:,} candles loaded", f"{idle(page, seconds / 2) * 1000:.0f} ms")
        for name, prepare in (("7 px a candle", lambda: None), ("all on screen", lambda: page.click("#fit"))):
            prepare()
            page.wait_for_timeout(1000)
            spent, frames, longest = dragged(page, seconds / 2)
            say(
                f"script a frame, panning {CANDLES:,} candles, {name}",
                f"{spent / frames * 1000:.1f} ms, {frames / seconds * 2:.0f} frames/s",
                "< 8 ms",
            )
            say("the longest task meanwhile", f"{longest:.0f} ms", "< 50 ms")
        page.close()


def idle(page: Page, seconds: float) -> float:
    """Seconds of script a second while only the market moves."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    before = script(session)
    page.wait_for_timeout(seconds * 1000)
    return (script(session) - before) / seconds


def script(session: CDPSession) -> float:
    """Seconds of script so far."""
    told = session.send("Performance.getMetrics")["metrics"]
    return next(float(one["value"]) for one in told if one["name"] == "ScriptDuration")


def dragged(page: Page, seconds: float) -> tuple[float, int, float]:
    """Seconds of script, frames, and the longest task while the mouse drags."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 200, y)
    page.mouse.down()
    page.evaluate("window.__frames = 0; window.__long.length = 0")
    before, end, right = script(session), time.monotonic() + seconds, True
    while time.monotonic() < end:
        page.mouse.move(box["x"] + (900 if right else 200), y, steps=40)
        right = not right
    after, frames, longest = (
        script(session),
        page.evaluate("window.__frames"),
        page.evaluate("Math.max(0, ...window.__long)"),
    )
    page.mouse.up()
    return after - before, frames, longest


def share(browser: Browser, seconds: float) -> None:
    """The share of one processor that the page takes at about 50 updates a second."""
    with run(4, 28) as (address, symbol):
        page = opened(browser, address, symbol, COUNT)
        page.wait_for_timeout(10_000)
        page.evaluate("window.__came = 0")
        before = used()
        page.wait_for_timeout(seconds * 1000)
        after, came = used(), page.evaluate("window.__came")
        say(
            f"processor share of the page at {came / seconds:.0f} updates/s",
            f"{(after['renderer'] - before['renderer']) / seconds:.1%}",
            "< 10 %",
        )
        say(
            "of the process that draws by software in place of a GPU",
            f"{(after['gpu-process'] - before['gpu-process']) / seconds:.1%}",
        )
        page.close()


def used() -> dict[str, float]:
    """Processor seconds of the browser's processes, by what they do."""
    found = {"renderer": 0.0, "gpu-process": 0.0}
    for one in psutil.Process().children(recursive=True):
        try:
            words, times = one.cmdline(), one.cpu_times()
        except psutil.Error:
            continue
        for kind in found:
            if f"--type={kind}" in words:
                found[kind] += times.user + times.system
    return found


FIGURES = {"start": start, "weight": weight, "paint": paint, "pan": pan, "share": share}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", nargs="+", choices=tuple(FIGURES), default=list(FIGURES))
    options.add_argument("--seconds", type=float, default=20)
    chosen = options.parse_args()
    with sync_playwright() as playwright:
        found = os.environ.get("CHROMIUM") or shutil.which("chromium")
        for name in chosen.only:
            browser = playwright.chromium.launch(executable_path=found)
            FIGURES[name](browser, chosen.seconds)
            browser.close()


if __name__ == "__main__":
    main()
