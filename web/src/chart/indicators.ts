/** Indicators over the candles and in panes of their own: streamed where the run computes them, else asked for. */
import { HistogramSeries, LineSeries, LineStyle, PriceScaleMode, type IChartApiBase, type ISeriesApi, type Time } from "lightweight-charts";
import * as api from "../api";
import type { History } from "./history";
import { IndicatorLine } from "./legend";
import { read, type Pick } from "./names";
import type { Stream } from "../stream";
import { framed } from "../ticks";
import type { IndicatorRow } from "../types/rows";
import { fade, type Colours, type View } from "../view";

/** Rows asked for at once. */
const PAGE = 5000;
/** How often the forming value is asked for where it is not streamed. */
const POLL_MS = 1000;
/** Values that are no prices, of kinds whose other values are: they are told in the legend. */
const UNDRAWN = new Set(["slope", "intercept"]);

type Line = ISeriesApi<"Line"> | ISeriesApi<"Histogram">;

interface Shown {
  pick: Pick;
  keys: readonly string[];
  lines: Map<string, Line>;
  rows: Map<number, IndicatorRow>;
  legend: IndicatorLine;
  pane: number;
  /** Times of the first and the last row; 0 without any. */
  oldest: number;
  newest: number;
  isStreamed: boolean;
  problem: string;
}

export interface Surroundings {
  chart: IChartApiBase<Time>;
  stream: Stream;
  view: View;
  colours: () => Colours;
  history: () => History;
  /** The times that are in the candles' series: no other may be in ours. */
  drawn: () => number[];
  isDrawn: (time: number) => boolean;
  /** Whether what is loaded reaches to now. */
  isLive: () => boolean;
  changed: () => void;
  edit: (pick: Pick) => void;
  remove: (pick: Pick) => void;
}

export class Indicators {
  /** What the server can compute. */
  kinds: readonly api.Kind[] = [];
  /** Names that the run streams; where the server does not say, all. */
  streamed: readonly string[] | undefined;
  private shown: Shown[] = [];
  private leave: (() => void)[] = [];
  private generation = 0;
  private polled = "";
  private isPolling = false;
  private readonly waiting = new Map<string, IndicatorRow>();
  private readonly flush = framed(() => this.draw());

  constructor(private readonly of: Surroundings) {
    window.setInterval(() => void this.poll(), POLL_MS);
  }

  /** Show those of the view, from nothing. */
  async open(): Promise<void> {
    const mine = ++this.generation;
    this.clear();
    let pane = 0;
    this.shown = this.of.view.shown.map((pick) => this.make(pick, () => ++pane));
    this.of.changed();
    if (!this.shown.length) return;
    const first = this.of.history().first?.ts_start;
    await Promise.all(this.shown.map((one) => this.load(one, first, this.end())));
    if (mine !== this.generation) return;
    for (const one of this.shown) this.fill(one);
    this.follow();
    this.of.changed();
  }

  private make(pick: Pick, nextPane: () => number): Shown {
    const kind = read(pick.name, this.kinds)?.kind;
    return {
      pick, keys: kind?.values ?? [], lines: new Map(), rows: new Map(), oldest: 0, newest: 0, problem: "",
      pane: kind?.overlay ? 0 : nextPane(),
      isStreamed: this.streamed?.includes(pick.name) ?? true,
      legend: new IndicatorLine(pick, () => this.of.edit(pick), () => this.of.remove(pick)),
    };
  }

  private clear(): void {
    const { chart } = this.of;
    for (const leave of this.leave) leave();
    this.leave = [];
    this.waiting.clear();
    for (const one of this.shown) for (const line of one.lines.values()) chart.removeSeries(line);
    while (chart.panes().length > 1) chart.removePane(chart.panes().length - 1);
    this.shown = [];
  }

  private follow(): void {
    if (!this.shown.some((one) => one.isStreamed)) return;
    const { symbol, interval } = this.of.view;
    const rows = (found: IndicatorRow[]): void => this.take(found);
    this.leave = [
      this.of.stream.subscribe("indicators", symbol, interval, { rows, lost: () => void this.newer() }),
      this.of.stream.subscribe("indicators.forming", symbol, interval, { rows }),
    ];
  }

  /** Rows after what is loaded of the candles are not asked for. */
  private end(): number | undefined {
    return this.of.isLive() ? undefined : this.of.history().last?.ts_end;
  }

  /** Older candles have come: the same of every indicator. */
  async older(): Promise<void> {
    const first = this.of.history().first?.ts_start;
    await this.extend((one) => {
      const known = one.oldest;
      return this.load(one, first, known ? known * 1e6 : this.end());
    });
  }

  /** What is older than the candles is known no more. */
  forget(): void {
    const first = (this.of.history().first?.ts_start ?? 0) / 1e6;
    for (const one of this.shown) {
      for (const time of one.rows.keys()) if (time < first) one.rows.delete(time);
      one.oldest = first;
    }
  }

  /** Newer candles have come, or rows may be missing. */
  async newer(): Promise<void> {
    const first = this.of.history().first?.ts_start;
    await this.extend((one) => this.load(one, one.newest ? one.newest * 1e6 : first, this.end()));
  }

  private async extend(load: (one: Shown) => Promise<void>): Promise<void> {
    const mine = this.generation;
    await Promise.all(this.shown.map(load));
    if (mine !== this.generation) return;
    for (const one of this.shown) this.fill(one);
    this.of.changed();
  }

  private async load(one: Shown, start: number | undefined, end: number | undefined): Promise<void> {
    const { symbol, interval } = this.of.view;
    const mine = this.generation;
    let cursor: string | undefined;
    do {
      const forming = end === undefined && !cursor ? true : undefined;
      const page = await this.ask(one, { symbol, interval, name: one.pick.name, start, end, limit: PAGE, cursor, forming });
      if (mine !== this.generation) return;
      for (const row of page?.data ?? []) keep(one, row);
      cursor = start === undefined ? undefined : (page?.next ?? undefined);
    } while (cursor);
  }

  private async ask(one: Shown, params: Parameters<typeof api.indicators>[0]): Promise<api.Page<IndicatorRow> | null> {
    try {
      const page = await api.indicators(params);
      one.problem = "";
      return page;
    } catch (error) {
      if (error instanceof api.ProblemError) one.problem = error.message;
      return null; // without an answer at all: the trust bar says so
    }
  }

  /** Names that are not streamed: the rows from the last closed candle on, if any candle has changed since. */
  private async poll(): Promise<void> {
    const asked = this.shown.filter((one) => !one.isStreamed && !one.problem);
    const history = this.of.history();
    const { last } = history;
    if (!asked.length || !last || document.hidden || this.isPolling || !this.of.isLive()) return;
    const state = `${this.generation} ${last.ts_start} ${last.count} ${last.closed}`;
    if (state === this.polled) return;
    this.polled = state;
    const { symbol, interval } = this.of.view;
    const start = history.rows.findLast((row) => row.closed)?.ts_start ?? last.ts_start;
    this.isPolling = true;
    const mine = this.generation;
    await Promise.all(asked.map(async (one) => {
      const page = await this.ask(one, { symbol, interval, name: one.pick.name, start, forming: true, limit: PAGE });
      if (mine === this.generation) this.take(page?.data ?? []);
    }));
    this.isPolling = false;
  }

  private take(rows: IndicatorRow[]): void {
    for (const row of rows) {
      if (!this.shown.some((one) => one.pick.name === row.name)) continue;
      this.waiting.set(`${row.name} ${row.ts_start} ${row.closed}`, row);
    }
    if (this.waiting.size) this.flush();
  }

  private draw(): void {
    const rows = [...this.waiting.values()].sort((a, b) => a.ts_start - b.ts_start);
    this.waiting.clear();
    for (const row of rows) {
      const one = this.shown.find((each) => each.pick.name === row.name);
      const time = row.ts_start / 1e6;
      if (!one || !this.of.history().row(time)) continue; // the candle comes first
      const known = one.rows.get(time);
      if (known && (known.closed && !row.closed || known.revision > row.revision)) continue;
      keep(one, row);
      if (!this.of.isDrawn(time)) continue;
      for (const [key, value] of Object.entries(row.values)) {
        if (value !== null) this.line(one, key)?.update(this.point(key, time, value) as never, time < one.newest);
      }
    }
    this.of.changed();
  }

  private fill(one: Shown): void {
    const rows = this.of.drawn().flatMap((time) => one.rows.get(time) ?? []);
    const last = one.rows.get(one.newest);
    if (last) one.keys = Object.keys(last.values);
    for (const key of one.keys) {
      const points = rows.flatMap((row) => {
        const value = row.values[key];
        return value == null ? [] : [this.point(key, row.ts_start / 1e6, value)];
      });
      this.line(one, key)?.setData(points as never);
    }
  }

  private line(one: Shown, key: string): Line | undefined {
    if (one.pane === 0 && UNDRAWN.has(key)) return undefined;
    const known = one.lines.get(key);
    if (known) return known;
    const made = this.makeLine(one, key);
    // A new pane begins with the scale of the candles': per cent of the first value seen, which is none of its own.
    if (one.pane > 0) made.priceScale().applyOptions({ mode: PriceScaleMode.Normal, invertScale: false });
    if (one.pick.name.startsWith("rsi")) {
      for (const price of [30, 70]) {
        made.createPriceLine({ price, color: fade(one.pick.colour, 0.5), lineWidth: 1, lineStyle: LineStyle.Dashed, axisLabelVisible: false, title: "" });
      }
    }
    one.lines.set(key, made);
    return made;
  }

  private makeLine(one: Shown, key: string): Line {
    const { chart, colours } = this.of;
    const shared = { priceLineVisible: false, lastValueVisible: one.pane > 0 };
    if (key === "hist") return chart.addSeries(HistogramSeries, { ...shared, base: 0 }, one.pane);
    const isSecond = key === "signal" || key === "forecast";
    return chart.addSeries(
      LineSeries,
      {
        ...shared, lineWidth: 1, crosshairMarkerVisible: false,
        color: isSecond ? colours().accent : one.pick.colour,
        lineStyle: key === "middle" || key === "forecast" ? LineStyle.Dashed : LineStyle.Solid,
      },
      one.pane,
    );
  }

  private point(key: string, time: number, value: number): { time: Time; value: number; color?: string } {
    const made = { time: time as Time, value };
    const { up, down } = this.of.colours();
    return key === "hist" ? { ...made, color: fade(value >= 0 ? up : down, 0.55) } : made;
  }

  /** All series empty, so that the axis lays its ticks anew; `fill` them again. */
  empty(): void {
    for (const one of this.shown) for (const line of one.lines.values()) line.setData([]);
  }

  refill(): void {
    for (const one of this.shown) this.fill(one);
  }

  /** The lines of the legend, with the values of that time or the newest. */
  legend(time: number | null, places: number): { pane: number; line: HTMLElement }[] {
    return this.shown.map((one) => {
      one.legend.show(one.rows.get(time ?? one.newest)?.values, one.keys, places, one.problem);
      return { pane: one.pane, line: one.legend.element };
    });
  }
}

function keep(one: Shown, row: IndicatorRow): void {
  const time = row.ts_start / 1e6;
  one.rows.set(time, row);
  one.oldest = one.oldest ? Math.min(time, one.oldest) : time;
  one.newest = Math.max(time, one.newest);
}
