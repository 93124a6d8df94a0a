/** How far what is shown can be trusted: always visible, judged some times a second, never kinder than what is known. */
import * as api from "../api";
import { at, hide, write } from "../dom";
import { clock, moment, reason, span } from "../format";
import type { Pulse } from "./pulse";
import type { Stream } from "../stream";
import { framed } from "../ticks";
import type { View } from "../view";

/** A price older than this does not look live. */
const STALE_S = 10;
/** Rows that come later than this after their message are told as delayed. */
const DELAYED_S = 1;
const RECENT_US = 12 * 3_600_000_000;

/** How often ages are told anew. */
const SHOW_MS = 375;

export class Trust {
  /** Server time of the newest quote or trade of the shown symbol, microseconds. */
  private newest = 0;
  private latencies: number[] = [];
  private goneAt = 0;
  private polls = 0;
  private coverage: { text: string; tone: string } = { text: "–", tone: "" };
  private holes: { text: string; tone: string } = { text: "–", tone: "" };

  constructor(
    private readonly stream: Stream,
    private readonly view: View,
    private readonly venue: () => string,
    private readonly pulse: Pulse,
  ) {
    const show = framed(() => this.show(), SHOW_MS); // with all else that is drawn, not in frames of its own
    window.setInterval(show, SHOW_MS);
    pulse.each(() => this.polled());
  }

  /** Another symbol is shown. */
  reset(): void {
    this.newest = 0;
    this.latencies = [];
    this.coverage = { text: "–", tone: "" };
    void this.cover().catch(() => undefined);
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
    if (!isGone) void this.pulse.poll();
    this.show();
  }

  private polled(): void {
    this.showHoles();
    if (this.polls++ % 2 === 0 && this.view.symbol) void this.cover().catch(() => undefined);
  }

  /** What is not there yet: holes that are refilled, messages that are not computed. */
  private showHoles(): void {
    const of = (name: string): number => this.pulse.value(`tapeflow_${name}`) ?? 0;
    const open = of("holes_open");
    const lag = of("lag_seconds");
    const waiting = of("tape_position_records") - of("tape_played_records");
    const left = waiting / ((this.pulse.rate("tapeflow_tape_played_records") ?? 0) - (this.pulse.rate("tapeflow_tape_records_total") ?? 0));
    const told: string[] = [];
    if (open) told.push(`${open} being refilled, about ${span(of("refill_remaining_seconds"))} left`);
    const until = left > 0 && left < Infinity ? `, about ${span(left)} left` : "";
    if (this.pulse.value("tapeflow_live") === 0) told.push(`catching up, ${waiting.toLocaleString("en")} messages${until}`);
    else if (lag > DELAYED_S) told.push(`delayed by ${span(lag)}`);
    this.holes = told.length ? { text: told.join("; "), tone: "warn" } : { text: "none open", tone: "" };
  }

  private async cover(): Promise<void> {
    const { symbol } = this.view;
    const rows = (await api.coverage({ symbol, stream: "trades", limit: 1000 })).data;
    if (symbol !== this.view.symbol) return;
    const gaps = rows.filter((row) => row.state !== "complete");
    const last = rows.at(-1);
    if (!last) {
      this.coverage = { text: "not known yet", tone: "warn" };
    } else if (!gaps.length) {
      this.coverage = { text: `trades complete since ${this.when(rows[0]?.ts_start ?? 0)}`, tone: "" };
    } else {
      const worst = gaps.at(-1);
      const more = gaps.length > 1 ? `, ${gaps.length} in all` : "";
      this.coverage = { text: `gap ${this.when(worst?.ts_start ?? 0)} (${reason(worst?.reason)})${more}`, tone: "warn" };
    }
  }

  /** With its date where that is not plain. */
  private when(micros: number): string {
    const isRecent = this.now() - micros < RECENT_US;
    return isRecent ? clock(micros, this.view.zone) : moment(micros / 1e6, this.view.zone);
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
    const health = this.pulse.health?.status;
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
    const worst = this.pulse.health?.checks.find((check) => check.status !== "ok");
    if (this.goneAt) {
      const wait = Math.max(0, (this.stream.retryAt - performance.now()) / 1000);
      const since = clock(this.goneAt * 1000, this.view.zone);
      write(box, `The server is gone since ${since}. What you see is of then; it is kept. Trying again in ${wait.toFixed(0)} s.`);
    } else if (worst) {
      write(box, `${worst.name}: ${worst.detail}`);
    }
    hide(box, !this.goneAt && !worst);
  }

  private set(id: string, text: string, tone: string): void {
    const element = at(id);
    write(element, text);
    if (element.dataset["tone"] !== tone) element.dataset["tone"] = tone;
  }
}
