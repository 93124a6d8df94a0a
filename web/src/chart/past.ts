/** The candles that are loaded: the newest, or those around a moment; more of them when an end is neared. */
import * as api from "../api";
import { secondsOf } from "../format";
import { History } from "./history";
import type { View } from "../view";

const PAGE = 1000;
const MORE = 2000;
/** Candles before the last that are asked for again after an interruption: they may have been revised. */
const AGAIN = 10;
/** Fewer candles than these may be a past that is still being fetched; how often it is asked for, once a second. */
const FEW = 200;
const SETTLING = 30;
const RENEW_MS = 2000;
/** History that a server could not give is asked for again after this, doubled each time up to the longest. */
const FIRST_MS = 1000;
const LONGEST_MS = 15_000;

/** How the newest candles of a view are asked for. */
export const newest = ({ symbol, interval }: Pick<View, "symbol" | "interval">): api.Params => ({ symbol, interval, limit: PAGE, forming: true });

/** What has come: all anew, more at an end, or changes within. */
export type Change = "all" | "older" | "newer" | "within";

export class Past {
  history = new History(60);
  /** What is loaded reaches to now. */
  isLive = true;
  isLoading = false;
  private isWhole = false;
  private generation = 0;
  private renewing = 0;

  constructor(
    private readonly view: View,
    private readonly changed: (what: Change) => Promise<void>,
    /** The history could not be had, and is asked for again in a while. */
    private readonly failed: (error: Error) => void,
  ) {}

  /** The newest candles, or those around a moment (microseconds), from nothing; false if something else was asked for meanwhile. */
  async open(around?: number): Promise<boolean> {
    const mine = ++this.generation;
    this.history = new History(secondsOf(this.view.interval));
    this.isLive = around === undefined;
    this.isWhole = false;
    this.isLoading = true;
    for (let wait = FIRST_MS; ; wait = Math.min(2 * wait, LONGEST_MS)) {
      try {
        await (around === undefined ? this.load(mine) : this.loadAround(around, mine));
        break;
      } catch (error) {
        const isOurs = error instanceof api.ProblemError && error.status < 500 && error.status !== 429;
        if (mine !== this.generation) return false;
        this.isLoading = false; // what comes live is drawn meanwhile
        if (isOurs) throw error;
        this.failed(error as Error);
        await new Promise((resolve) => window.setTimeout(resolve, wait));
        if (mine !== this.generation) return false;
      }
    }
    if (mine === this.generation) this.isLoading = false;
    return mine === this.generation;
  }

  private async load(mine: number): Promise<void> {
    const page = await api.candles(newest(this.view));
    if (mine === this.generation) this.history.merge(page.data, page.coverage.gaps);
  }

  private async loadAround(moment: number, mine: number): Promise<void> {
    const [before, after] = await Promise.all([
      api.candles({ ...this.key(), end: moment, limit: PAGE }),
      api.candles({ ...this.key(), start: moment, limit: PAGE, forming: true }),
    ]);
    if (mine !== this.generation) return;
    this.history.merge(before.data, before.coverage.gaps);
    this.history.merge(after.next ? after.data.filter((row) => row.closed) : after.data, after.coverage.gaps);
    this.isLive = !after.next;
  }

  /** A run that has just begun still fetches its past: ask again until there is some. */
  async settle(): Promise<void> {
    const mine = this.generation;
    for (let tries = 0; tries < SETTLING && this.isLive && this.history.rows.length < FEW; tries += 1) {
      await new Promise((resolve) => window.setTimeout(resolve, 1000));
      if (mine !== this.generation) return;
      const before = this.history.rows.length;
      await this.load(mine).catch(() => undefined);
      if (mine !== this.generation) return;
      this.isWhole = false;
      await this.changed(this.history.rows.length > before + 10 ? "all" : "within");
    }
  }

  /** So many of the oldest candles are known no more; they are asked for again when they are wanted. */
  forget(count: number): void {
    this.history.drop(count);
    this.isWhole = false;
  }

  private key(): { symbol: string; interval: string } {
    return { symbol: this.view.symbol, interval: this.view.interval };
  }

  async older(): Promise<void> {
    const first = this.history.first?.ts_start;
    if (first === undefined || this.isWhole) return;
    await this.more("older", async (mine) => {
      const page = await api.candles({ ...this.key(), end: first, limit: MORE });
      if (mine !== this.generation) return;
      this.isWhole = page.data.length === 0;
      this.history.merge(page.data, page.coverage.gaps);
    });
  }

  /** The candles that follow, until they join those that come live. */
  async newer(): Promise<void> {
    const last = this.history.last?.ts_start;
    if (last === undefined || this.isLive) return;
    await this.more("newer", async (mine) => {
      const page = await api.candles({ ...this.key(), start: last, limit: MORE, forming: true });
      if (mine !== this.generation) return;
      this.history.merge(page.next ? page.data.filter((row) => row.closed) : page.data, page.coverage.gaps);
      this.isLive = !page.next;
    });
  }

  private async more(what: Change, load: (mine: number) => Promise<void>): Promise<void> {
    if (this.isLoading) return;
    const mine = this.generation;
    this.isLoading = true;
    const before = this.history.rows.length;
    try {
      await load(mine);
      if (mine === this.generation && (this.history.rows.length > before || this.isLive)) await this.changed(what);
    } catch {
      // asked again when the chart is moved
    } finally {
      if (mine === this.generation) this.isLoading = false;
    }
  }

  /** Messages may be missing: ask for all from the last closed candle on. */
  async refill(): Promise<void> {
    const mine = this.generation;
    const last = this.history.rows.findLast((row) => row.closed)?.ts_start;
    if (last === undefined || !this.isLive) return;
    const start = last - AGAIN * 1e6 * secondsOf(this.view.interval);
    let cursor: string | undefined;
    do {
      const asked = { ...this.key(), start, limit: 5000, cursor, forming: cursor ? undefined : true };
      const page = await api.candles(asked).catch(() => null);
      if (!page || mine !== this.generation) return;
      this.history.merge(page.data, page.coverage.gaps);
      cursor = page.next ?? undefined;
    } while (cursor);
    await this.changed("within");
  }

  /** Coverage has changed: ask what is missing in what is loaded, at most once in two seconds. */
  renewSoon(): void {
    if (this.renewing) return;
    this.renewing = window.setTimeout(() => {
      this.renewing = 0;
      void this.renew();
    }, RENEW_MS);
  }

  private async renew(): Promise<void> {
    const mine = this.generation;
    const first = this.history.first?.ts_start;
    const last = this.history.last?.ts_end;
    if (first === undefined || last === undefined) return;
    const start = Math.max(first, last - PAGE * 1e6 * secondsOf(this.view.interval));
    const page = await api.candles({ ...this.key(), start, end: last, limit: PAGE }).catch(() => null);
    if (!page || mine !== this.generation) return;
    const isOther = this.history.renew(page.coverage.gaps, start, last);
    if (this.history.merge(page.data, []) || isOther) await this.changed("within"); // a redraw of all that is loaded
  }
}
