/** How far what is shown can be trusted: always visible, judged each quarter of a second, never kinder than what is known. */
import * as api from "./api";
import { at, write } from "./dom";
import { clock, reason, span } from "./format";
import type { Stream } from "./stream";
import type { View } from "./view";

/** A price older than this does not look live. */
const STALE_S = 10;
const POLL_MS = 4000;

export class Trust {
  /** Server time of the newest quote or trade of the shown symbol, microseconds. */
  private newest = 0;
  private latencies: number[] = [];
  private goneAt = 0;
  private polls = 0;
  private coverage: { text: string; tone: string } = { text: "–", tone: "" };
  private holes: { text: string; tone: string } = { text: "–", tone: "" };
  private health: api.Health | null = null;

  constructor(
    private readonly stream: Stream,
    private readonly view: View,
    private readonly venue: () => string,
  ) {
    window.setInterval(() => this.show(), 250);
    window.setInterval(() => void this.poll(), POLL_MS);
  }

  /** Another symbol is shown. */
  reset(): void {
    this.newest = 0;
    this.latencies = [];
    this.coverage = { text: "–", tone: "" };
    void this.poll();
    this.show();
  }

  /** A quote or a trade came. */
  heard(ts: number): void {
    if (ts <= this.newest) return;
    this.newest = ts;
    this.latencies.push((this.now() - ts) / 1000);
    if (this.latencies.length > 40) this.latencies.shift();
  }

  /** The server's clock. */
  now(): number {
    return Date.now() * 1000 + this.stream.offset;
  }

  /** The connection has changed. */
  connected(): void {
    const isGone = this.stream.state === "gone";
    if (isGone && !this.goneAt) this.goneAt = Date.now();
    if (!isGone) this.goneAt = 0;
    document.documentElement.classList.toggle("gone", isGone);
    if (!isGone) void this.poll();
    this.show();
  }

  private async poll(): Promise<void> {
    if (this.stream.state === "gone" || !this.view.symbol || document.hidden) return;
    const { symbol } = this.view;
    try {
      const [health, metrics] = await Promise.all([api.health(), api.metrics()]);
      this.health = health;
      this.showHoles(metrics);
      if (this.polls++ % 2 === 0) await this.cover(symbol);
    } catch {
      // the stream tells whether the server is there
    }
  }

  private showHoles(metrics: Map<string, number>): void {
    const open = metrics.get("tapeflow_holes_open") ?? 0;
    const left = metrics.get("tapeflow_refill_remaining_seconds") ?? 0;
    this.holes = open ? { text: `${open} being refilled, about ${span(left)}`, tone: "warn" } : { text: "none open", tone: "" };
  }

  private async cover(symbol: string): Promise<void> {
    const rows = (await api.coverage({ symbol, limit: 1000 })).data.filter((row) => row.stream === "trades");
    if (symbol !== this.view.symbol) return;
    const gaps = rows.filter((row) => row.state !== "complete");
    const last = rows.at(-1);
    if (!last) {
      this.coverage = { text: "not known yet", tone: "warn" };
    } else if (!gaps.length) {
      this.coverage = { text: `trades complete since ${clock(rows[0]?.ts_start ?? 0, this.view.zone)}`, tone: "" };
    } else {
      const worst = gaps.at(-1);
      const more = gaps.length > 1 ? `, ${gaps.length} in all` : "";
      this.coverage = { text: `gap ${clock(worst?.ts_start ?? 0, this.view.zone)} (${reason(worst?.reason)})${more}`, tone: "warn" };
    }
  }

  private show(): void {
    const { state } = this.stream;
    const age = this.newest ? Math.max(0, (this.now() - this.newest) / 1e6) : Infinity;
    const isStale = state !== "live" || age > STALE_S;
    document.documentElement.classList.toggle("stale", isStale);
    this.showConnection(isStale, age);
    this.set("t-age", this.newest ? `${span(age)} ago` : "nothing yet", age > STALE_S ? "bad" : "");
    this.showLatency(state === "live" && !isStale);
    this.set("t-coverage", this.coverage.text, this.coverage.tone);
    this.set("t-holes", this.holes.text, this.holes.tone);
    this.showNotice();
  }

  private showConnection(isStale: boolean, age: number): void {
    const { state } = this.stream;
    const health = this.health?.status;
    const venue = this.venue();
    if (state === "gone") this.set("t-connection", "Server gone", "bad");
    else if (state === "connecting") this.set("t-connection", "Connecting", "");
    else if (health === "failing") this.set("t-connection", "Failing", "bad");
    else if (isStale) this.set("t-connection", age === Infinity ? "Waiting for data" : "Stale", "warn");
    else if (health === "degraded") this.set("t-connection", `Degraded · ${venue}`, "warn");
    else this.set("t-connection", `Live · ${venue}`, "good");
  }

  private showLatency(isLive: boolean): void {
    if (!isLive || !this.latencies.length) {
      this.set("t-latency", "–", "");
      return;
    }
    const sorted = [...this.latencies].sort((a, b) => a - b);
    const median = Math.max(0, sorted[sorted.length >> 1] ?? 0);
    this.set("t-latency", median < 1 ? "< 1 ms" : `${median.toFixed(0)} ms`, median > 1000 ? "bad" : median > 250 ? "warn" : "");
  }

  private showNotice(): void {
    const box = at("notice");
    const worst = this.health?.checks.find((check) => check.status !== "ok");
    if (this.goneAt) {
      const wait = Math.max(0, (this.stream.retryAt - performance.now()) / 1000);
      const since = clock(this.goneAt * 1000, this.view.zone);
      write(box, `The server is gone since ${since}. What you see is of then; it is kept. Trying again in ${wait.toFixed(0)} s.`);
    } else if (worst) {
      write(box, `${worst.name}: ${worst.detail}`);
    }
    box.hidden = !this.goneAt && !worst;
  }

  private set(id: string, text: string, tone: string): void {
    const element = at(id);
    write(element, text);
    if (element.dataset["tone"] !== tone) element.dataset["tone"] = tone;
  }
}
