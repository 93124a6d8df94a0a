/** Indicators over the candles and in panes of their own, from the `indicators` channel. */
import { HistogramSeries, LineSeries, LineStyle, type IChartApi, type ISeriesApi, type Time } from "lightweight-charts";
import * as api from "./api";
import { framed, make } from "./dom";
import type { History } from "./history";
import type { Stream } from "./stream";
import type { IndicatorRow } from "./types/rows";
import type { View } from "./view";

/** Told apart by the colour-blind too (Okabe and Ito). */
const COLOURS = ["#e69f00", "#56b4e9", "#cc79a7", "#009e73", "#d55e00", "#0072b2"];
const OVERLAYS = ["sma", "ema", "wma", "bollinger", "vwap", "donchian", "keltner", "hma", "dema", "tema"];
/** Rows that the panes of the shown names are filled with at once. */
const ROWS = 1000;

type Line = ISeriesApi<"Line"> | ISeriesApi<"Histogram">;

interface Shown {
  name: string;
  colour: string;
  lines: Map<string, Line>;
  rows: Map<number, IndicatorRow>;
  pane: number;
  newest: number;
}

export const kind = (name: string): string => name.split("_")[0] ?? name;
export const isOverlay = (name: string): boolean => OVERLAYS.includes(kind(name));
export const colourOf = (index: number): string => COLOURS[index % COLOURS.length] as string;

export class Indicators {
  private shown: Shown[] = [];
  private leave: (() => void)[] = [];
  private generation = 0;
  private readonly waiting = new Map<string, IndicatorRow>();
  private readonly flush = framed(() => this.draw());

  constructor(
    private readonly chart: IChartApi,
    private readonly stream: Stream,
    private readonly view: View,
    private readonly history: () => History,
    private readonly changed: () => void,
  ) {}

  /** Show those of the view, from nothing. */
  async open(): Promise<void> {
    const mine = ++this.generation;
    for (const leave of this.leave) leave();
    this.leave = [];
    this.waiting.clear();
    for (const one of this.shown) for (const line of one.lines.values()) this.chart.removeSeries(line);
    while (this.chart.panes().length > 1) this.chart.removePane(this.chart.panes().length - 1);
    this.shown = [];
    let pane = 0;
    this.view.shown.forEach((name, index) => {
      this.shown.push({ name, colour: colourOf(index), lines: new Map(), rows: new Map(), pane: isOverlay(name) ? 0 : ++pane, newest: 0 });
    });
    if (!this.shown.length) return;
    const { symbol, interval } = this.view;
    const first = this.history().first?.ts_start;
    await Promise.all(this.shown.map((one) => this.load(one, first, undefined)));
    if (mine !== this.generation) return;
    for (const one of this.shown) this.fill(one);
    const rows = (found: IndicatorRow[]): void => this.take(found);
    this.leave = [
      this.stream.subscribe("indicators", symbol, interval, { rows, lost: () => void this.open() }),
      this.stream.subscribe("indicators.forming", symbol, interval, { rows }),
    ];
    this.chart.panes().forEach((each, index) => each.setStretchFactor(index ? 1 : 4));
    this.changed();
  }

  /** Older candles have come: the same of every indicator. */
  async older(): Promise<void> {
    const mine = this.generation;
    const first = this.history().first?.ts_start;
    await Promise.all(
      this.shown.map((one) => {
        const known = Math.min(...one.rows.keys());
        return this.load(one, first, Number.isFinite(known) ? known * 1e6 : undefined);
      }),
    );
    if (mine === this.generation) for (const one of this.shown) this.fill(one);
  }

  private async load(one: Shown, start: number | undefined, end: number | undefined): Promise<void> {
    const { symbol, interval } = this.view;
    let cursor: string | undefined;
    do {
      const asked = { symbol, interval, name: one.name, start, end, limit: start ? 5000 : ROWS, cursor };
      const page = await api.indicators(asked).catch(() => null);
      for (const row of page?.data ?? []) one.rows.set(row.ts_start / 1e6, row);
      cursor = start ? (page?.next ?? undefined) : undefined;
    } while (cursor);
  }

  private take(rows: IndicatorRow[]): void {
    for (const row of rows) if (this.view.shown.includes(row.name)) this.waiting.set(`${row.name} ${row.ts_start} ${row.closed}`, row);
    if (this.waiting.size) this.flush();
  }

  private draw(): void {
    const rows = [...this.waiting.values()].sort((a, b) => a.ts_start - b.ts_start);
    this.waiting.clear();
    for (const row of rows) {
      const one = this.shown.find((each) => each.name === row.name);
      const time = row.ts_start / 1e6;
      if (!one || !this.history().row(time)) continue; // the candle comes first
      const known = one.rows.get(time);
      if (known && (known.closed && !row.closed || known.revision > row.revision)) continue;
      one.rows.set(time, row);
      one.newest = Math.max(time, one.newest);
      for (const [key, value] of Object.entries(row.values)) {
        if (value === null) continue;
        this.line(one, key).update(point(key, time, value) as never, time < one.newest);
      }
    }
    this.changed();
  }

  private fill(one: Shown): void {
    const times = [...one.rows.keys()].sort((a, b) => a - b);
    one.newest = times.at(-1) ?? 0;
    const { times: drawn } = this.history();
    const known = new Set(drawn);
    one.rows = new Map(times.map((time) => [time, one.rows.get(time) as IndicatorRow]));
    const keys = new Set([...one.rows.values()].slice(-1).flatMap((row) => Object.keys(row.values)));
    for (const key of keys) {
      const points = times.flatMap((time) => {
        const value = one.rows.get(time)?.values[key];
        return value == null || !known.has(time) ? [] : [point(key, time, value)];
      });
      this.line(one, key).setData(points as never);
    }
  }

  private line(one: Shown, key: string): Line {
    const known = one.lines.get(key);
    if (known) return known;
    const index = one.lines.size;
    const shared = { priceLineVisible: false, lastValueVisible: one.pane > 0 };
    const made: Line = key === "hist"
      ? this.chart.addSeries(HistogramSeries, { ...shared, base: 0 }, one.pane)
      : this.chart.addSeries(
          LineSeries,
          {
            ...shared, lineWidth: 1, crosshairMarkerVisible: false,
            color: key === "middle" || index === 0 ? one.colour : key === "signal" ? "#d55e00" : one.colour,
            lineStyle: key === "middle" ? LineStyle.Dashed : LineStyle.Solid,
          },
          one.pane,
        );
    if (kind(one.name) === "rsi") {
      for (const price of [30, 70]) {
        (made as ISeriesApi<"Line">).createPriceLine({ price, color: "#8884", lineWidth: 1, lineStyle: LineStyle.Dashed, axisLabelVisible: false, title: "" });
      }
    }
    one.lines.set(key, made);
    return made;
  }

  dress(): void {
    // the colours of indicators are those of both themes
  }

  /** A line of the legend for each; these values are derived, so digits below any use are left out. */
  legend(time: number | null, places: number): { pane: number; line: HTMLElement }[] {
    return this.shown.map((one) => {
      const line = make("div", "line");
      const name = make("strong", "", one.name.replaceAll("_", " "));
      name.style.color = one.colour;
      line.append(name);
      const row = one.rows.get(time ?? one.newest);
      for (const [key, value] of Object.entries(row?.values ?? {})) {
        const shown = make("span");
        if (Object.keys(row?.values ?? {}).length > 1) shown.append(make("i", "", key));
        shown.append(make("b", "", value === null ? "–" : String(Number(value.toFixed(places)))));
        line.append(shown);
      }
      return { pane: one.pane, line };
    });
  }
}

function point(key: string, time: number, value: number): { time: Time; value: number; color?: string } {
  const made = { time: time as Time, value };
  return key === "hist" ? { ...made, color: value >= 0 ? "#22ab9488" : "#f7525f88" } : made;
}
