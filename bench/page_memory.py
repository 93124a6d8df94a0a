"""Memory of the page that is open for hours of an accelerated market.

    python bench/page_memory.py [--hours N] [--speed N] [--rate N] [--symbols N]

Needs what bench/page.py needs. The page shows the shortest candles, so that most come, with an indicator that is
streamed and one that is not. Thirty times garbage is collected and what is left is counted: it must become flat.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time

from playwright.sync_api import CDPSession, sync_playwright

from page import COUNT, opened, run

VIEW = "symbol={symbol}&interval=1s&show=sma_20,rsi_7"
#: Growth from the second to the last third of the samples that still counts as flat.
FLAT = 1.1


def sample(session: CDPSession) -> tuple[float, int, int]:
    """Megabytes of the heap of JavaScript without garbage, nodes of documents, listeners."""
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    told = session.send("Memory.getDOMCounters")
    return used, told["nodes"], told["jsEventListeners"]


def said(samples: list[tuple[float, int, int]]) -> str:
    """Whether the heap and the nodes of the last third are those of the second one."""
    third = len(samples) // 3
    parts = []
    for place, name in ((0, "heap"), (1, "nodes"), (2, "listeners")):
        before, after = (
            statistics.median(one[place] for one in part) for part in (samples[third:-third], samples[-third:])
        )
        verdict = "flat" if after <= FLAT * before else "GROWS"
        parts.append(f"{name} {before:,.1f} -> {after:,.1f}, {verdict}")
    return "; ".join(parts)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hours", type=float, default=3.0, help="of the market")
    options.add_argument("--speed", type=float, default=20.0)
    options.add_argument("--rate", type=float, default=4.0)
    options.add_argument("--symbols", type=int, default=4)
    chosen = options.parse_args()
    seconds = chosen.hours * 3600 / chosen.speed
    samples: list[tuple[float, int, int]] = []
    with sync_playwright() as playwright, run(chosen.symbols, chosen.rate, chosen.speed) as (address, symbol):
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"))
        page = opened(browser, address, symbol, COUNT, VIEW)
        session = page.context.new_cdp_session(page)
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            page.wait_for_timeout(seconds / 30 * 1000)
            samples.append(sample(session))
            used, nodes, listeners = samples[-1]
            hours = (time.monotonic() - began) * chosen.speed / 3600
            bars = page.get_attribute("#legend", "data-ts")
            came = page.evaluate("window.__came")
            print(
                f"{hours:5.2f} h of market: heap {used:6.2f} MB, {nodes:6,} nodes, {listeners:5,} listeners, "
                f"{came:8,} updates, newest candle {bars}",
                flush=True,
            )
        browser.close()
    print(said(samples))


if __name__ == "__main__":
    main()
