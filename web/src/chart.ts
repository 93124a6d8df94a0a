/** The chart: history by REST, what is new by the stream, one crosshair over all panes. */
import {
  AreaSeries, BarSeries, CandlestickSeries, ColorType, CrosshairMode, HistogramSeries, LineSeries, LineStyle,
  PriceScaleMode, createChart, createSeriesMarkers,
  type IChartApi, type ISeriesApi, type ISeriesMarkersPluginApi, type SeriesMarker, type SeriesType, type Time, type UTCTimestamp,
} from "lightweight-charts";
import * as api from "./api";
import { at, framed, isCalm, make } from "./dom";
import { decimals, moment, percent, reason, secondsOf, tick } from "./format";
import { Gaps } from "./gaps";
import { History } from "./history";
import { Indicators } from "./indicators";
import type { Stream } from "./stream";
import type { CandleRow } from "./types/rows";
import { fade, type Colours, type View } from "./view";

const PAGE = 1000;
const OLDER = 2000;
/** Bars from the left edge at which older ones are asked for. */
const NEAR = 150;
/** Candles before the last that are asked for again after an interruption: they may have been revised. */
const AGAIN = 10;
/** Fewer candles than these may be a past that is still being fetched; how often it is asked for, once a second. */
const FEW = 200;
const SETTLING = 30;

type Main = ISeriesApi<SeriesType>;

export class Chart {
  history = new History(60);
  readonly chart: IChartApi;
  private readonly volume: ISeriesApi<"Histogram">;
  private main: Main;
  private gaps: Gaps;
  private markers: ISeriesMarkersPluginApi<Time>;
  private readonly overlays: Indicators;
  private leave: (() => void)[] = [];
  private readonly waiting = new Map<number, CandleRow>();
  private readonly flush = framed(() => this.draw());
  private generation = 0;
  private isLoading = false;
  private isWhole = false;
  private tick = "0.01";
  private hovered: { time: number; logical: number } | null = null;
  private renewing = 0;
  private readonly boxes: HTMLElement[] = [];

  constructor(
    private readonly view: View,
    private colours: Colours,
    private readonly stream: Stream,
    private readonly priced: (row: CandleRow) => void,
  ) {
    this.chart = createChart(at("canvas"), {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: { timeVisible: true, rightOffset: 6, barSpacing: 7, minBarSpacing: 0.2, lockVisibleTimeRangeOnResize: true },
      kineticScroll: { touch: !isCalm(), mouse: false },
    });
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.main = this.makeMain();
    this.gaps = new Gaps(colours.warn);
    this.main.attachPrimitive(this.gaps);
    this.markers = createSeriesMarkers(this.main, []);
    this.overlays = new Indicators(this.chart, stream, view, () => this.history, () => this.legend());
    this.dress(colours);
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < NEAR) void this.older();
      at("now").classList.toggle("wanted", this.isBack());
    });
    this.chart.subscribeCrosshairMove((event) => {
      this.hovered = event.time === undefined || event.logical === undefined ? null : { time: event.time as number, logical: event.logical };
      this.legend();
    });
  }

  // -- what is shown --

  /** Show the view's symbol and interval from nothing. */
  async open(tickSize: string): Promise<void> {
    const mine = ++this.generation;
    this.tick = tickSize;
    for (const leave of this.leave) leave();
    this.leave = [];
    this.waiting.clear();
    this.history = new History(secondsOf(this.view.interval));
    this.isWhole = false;
    this.isLoading = true;
    this.hovered = null;
    this.applyFormat();
    this.redraw();
    at("loading").hidden = false;
    this.follow();
    try {
      await this.load(mine);
    } finally {
      if (mine === this.generation) this.isLoading = false;
    }
    if (mine !== this.generation) return;
    at("loading").hidden = true;
    this.now(false);
    await this.overlays.open();
    await this.settle(mine);
  }

  /** A run that has just begun still fetches its past: ask again until there is some. */
  private async settle(mine: number): Promise<void> {
    for (let tries = 0; tries < SETTLING && this.history.rows.length < FEW; tries += 1) {
      await new Promise((resolve) => window.setTimeout(resolve, 1000));
      if (mine !== this.generation) return;
      const before = this.history.rows.length;
      await this.load(mine).catch(() => undefined);
      if (mine !== this.generation) return;
      this.isWhole = false;
      if (this.history.rows.length > before + 10) await this.overlays.open();
    }
  }

  private async load(mine: number): Promise<void> {
    const page = await api.candles({ ...this.key(), limit: PAGE, forming: true });
    if (mine !== this.generation) return;
    this.history.merge(page.data, page.coverage.gaps);
    this.redraw();
    const last = this.history.last;
    if (last) this.priced(last);
  }

  private key(): { symbol: string; interval: string } {
    return { symbol: this.view.symbol, interval: this.view.interval };
  }

  private follow(): void {
    const { symbol, interval } = this.view;
    const rows = (found: CandleRow[]): void => {
      for (const row of found) {
        const known = this.waiting.get(row.ts_start);
        if (!known || row.closed || !known.closed) this.waiting.set(row.ts_start, row);
      }
      this.flush();
    };
    this.leave.push(
      this.stream.subscribe("candles", symbol, interval, { rows, lost: () => void this.refill() }),
      this.stream.subscribe("candles.forming", symbol, interval, { rows }),
      this.stream.subscribe("coverage", symbol, undefined, { rows: () => this.renewSoon() }),
    );
  }

  /** Messages may be missing: ask for all from the last closed candle on. */
  private async refill(): Promise<void> {
    const mine = this.generation;
    const last = this.history.rows.findLast((row) => row.closed)?.ts_start;
    if (last === undefined) return;
    const from = last - AGAIN * 1e6 * secondsOf(this.view.interval);
    let cursor: string | undefined;
    do {
      const page = await api.candles({ ...this.key(), start: from, limit: 5000, cursor, forming: cursor ? undefined : true }).catch(() => null);
      if (!page || mine !== this.generation) return;
      this.history.merge(page.data, page.coverage.gaps);
      cursor = page.next ?? undefined;
    } while (cursor);
    this.redraw();
  }

  /** Coverage has changed: ask what is missing in what is loaded, at most once in two seconds. */
  renewSoon(): void {
    if (this.renewing) return;
    this.renewing = window.setTimeout(() => {
      this.renewing = 0;
      void this.renew();
    }, 2000);
  }

  private async renew(): Promise<void> {
    const mine = this.generation;
    const first = this.history.first?.ts_start;
    const last = this.history.last?.ts_end;
    if (first === undefined || last === undefined) return;
    const start = Math.max(first, last - PAGE * 1e6 * secondsOf(this.view.interval));
    const page = await api.candles({ ...this.key(), start, end: last, limit: PAGE }).catch(() => null);
    if (!page || mine !== this.generation) return;
    this.history.renew(page.coverage.gaps, start, last);
    this.history.merge(page.data, []);
    this.redraw();
  }

  private async older(): Promise<void> {
    const first = this.history.first;
    if (this.isLoading || this.isWhole || !first) return;
    this.isLoading = true;
    const mine = this.generation;
    try {
      const page = await api.candles({ ...this.key(), end: first.ts_start, limit: OLDER });
      if (mine !== this.generation) return;
      this.isWhole = page.data.length === 0;
      if (!this.isWhole) {
        this.history.merge(page.data, page.coverage.gaps);
        this.redraw();
        await this.overlays.older();
      }
    } catch {
      // asked again when the chart is moved
    } finally {
      if (mine === this.generation) this.isLoading = false;
    }
  }

  // -- drawing --

  private makeMain(): Main {
    const shared = { priceFormat: { type: "price", precision: 2, minMove: 0.01 } as const };
    switch (this.view.style) {
      case "bars":
        return this.chart.addSeries(BarSeries, { ...shared, thinBars: true });
      case "line":
        return this.chart.addSeries(LineSeries, { ...shared, lineWidth: 2 });
      case "area":
        return this.chart.addSeries(AreaSeries, { ...shared, lineWidth: 2 });
      default:
        return this.chart.addSeries(CandlestickSeries, shared);
    }
  }

  restyle(): void {
    this.chart.removeSeries(this.main);
    this.main = this.makeMain();
    this.main.setSeriesOrder(0);
    this.gaps = new Gaps(this.colours.warn);
    this.main.attachPrimitive(this.gaps);
    this.markers = createSeriesMarkers(this.main, []);
    this.dress(this.colours);
    this.applyFormat();
  }

  private applyFormat(): void {
    this.main.applyOptions({ priceFormat: { type: "price", precision: decimals(this.tick), minMove: Number(this.tick) } });
  }

  dress(colours: Colours): void {
    this.colours = colours;
    const { zone } = this.view;
    const hasSeconds = secondsOf(this.view.interval || "1m") < 60;
    this.chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: colours.back }, textColor: colours.dim,
        panes: { separatorColor: colours.line, separatorHoverColor: colours.line },
      },
      grid: { vertLines: { color: colours.line }, horzLines: { color: colours.line } },
      crosshair: {
        vertLine: { color: colours.dim, style: LineStyle.Dashed, labelBackgroundColor: colours.accent },
        horzLine: { color: colours.dim, style: LineStyle.Dashed, labelBackgroundColor: colours.accent },
      },
      rightPriceScale: { borderColor: colours.line, mode: this.view.log ? PriceScaleMode.Logarithmic : PriceScaleMode.Normal },
      timeScale: {
        borderColor: colours.line, secondsVisible: hasSeconds,
        tickMarkFormatter: (time: Time) => tick(time as number, zone, hasSeconds),
      },
      localization: { timeFormatter: (time: Time) => `${moment(time as number, zone, hasSeconds)}${zone === "utc" ? " UTC" : ""}` },
    });
    this.overlays.dress();
    const { up, down, accent } = colours;
    if (this.view.style === "line") this.main.applyOptions({ color: accent });
    else if (this.view.style === "area") this.main.applyOptions({ lineColor: accent, topColor: fade(accent, 0.3), bottomColor: fade(accent, 0.02) });
    else if (this.view.style === "bars") this.main.applyOptions({ upColor: up, downColor: down });
    else this.main.applyOptions({ upColor: up, downColor: down, borderUpColor: up, borderDownColor: down, wickUpColor: up, wickDownColor: down });
    this.redraw();
  }

  /** All of it anew; keeps the place that is looked at. */
  private redraw(): void {
    this.history.layout();
    const rows = new Map(this.history.rows.map((row) => [row.ts_start / 1e6, row]));
    const { times } = this.history;
    this.main.setData(times.map((time) => this.bar(time, rows.get(time))) as never);
    this.volume.setData(times.map((time) => this.volumeBar(time, rows.get(time))) as never);
    this.decorate();
    this.legend();
  }

  private decorate(): void {
    this.gaps.set(this.history.shades(), this.colours.warn);
    const revised = this.history.rows.filter((row) => row.revision > 0).slice(-500);
    this.markers.setMarkers(
      revised.map((row): SeriesMarker<Time> => ({
        time: (row.ts_start / 1e6) as UTCTimestamp, position: "belowBar", shape: "circle", color: this.colours.warn, size: 0.3,
      })),
    );
  }

  /** What came since the last frame. */
  private draw(): void {
    if (!this.history.rows.length && this.isLoading) return; // history first: they wait
    let isWhole = false;
    let isRevised = false;
    const waiting = [...this.waiting.values()].sort((a, b) => a.ts_start - b.ts_start);
    this.waiting.clear();
    for (const row of waiting) {
      const before = this.history.last?.ts_start;
      const what = this.history.put(row);
      if (what === "same") continue;
      isRevised ||= row.revision > 0;
      if (what === "inserted") isWhole = true;
      else if (what === "last") this.append(row, before);
      else this.replace(row);
    }
    if (isWhole) this.redraw();
    else if (isRevised) this.decorate();
    const last = this.history.last;
    if (last) this.priced(last);
    this.legend();
  }

  private append(row: CandleRow, before: number | undefined): void {
    const time = row.ts_start / 1e6;
    if (before !== undefined && before / 1e6 > time) return;
    this.history.times.push(time);
    this.main.update(this.bar(time, row) as never);
    this.volume.update(this.volumeBar(time, row) as never);
  }

  private replace(row: CandleRow): void {
    const time = row.ts_start / 1e6;
    const isOld = time < (this.history.times.at(-1) ?? 0);
    this.main.update(this.bar(time, row) as never, isOld);
    this.volume.update(this.volumeBar(time, row) as never, isOld);
  }

  private bar(time: number, row: CandleRow | undefined): object {
    if (!row) return { time };
    const close = Number(row.close);
    if (this.view.style === "line" || this.view.style === "area") return { time, value: close };
    const made = { time, open: Number(row.open), high: Number(row.high), low: Number(row.low), close };
    const isUp = close >= made.open;
    const colour = isUp ? this.colours.up : this.colours.down;
    if (this.view.style === "bars") return row.closed ? made : { ...made, color: fade(colour, 0.6) };
    if (!row.closed) return { ...made, color: fade(colour, 0.35), borderColor: colour, wickColor: colour };
    return this.view.style === "hollow" && isUp ? { ...made, color: "transparent" } : made;
  }

  private volumeBar(time: number, row: CandleRow | undefined): object {
    if (!row) return { time };
    const colour = Number(row.close) >= Number(row.open) ? this.colours.up : this.colours.down;
    return { time, value: Number(row.volume), color: fade(colour, row.closed ? 0.4 : 0.2) };
  }

  // -- the legend --

  private legend(): void {
    const box = at("legend");
    const row = this.hovered ? this.history.row(this.hovered.time) : this.history.last;
    const first = make("div", "line");
    first.append(make("strong", "", `${this.view.symbol} · ${this.view.interval}`));
    const shade = this.hovered ? this.gaps.at(this.hovered.logical) : undefined;
    if (row) {
      const tone = Number(row.close) >= Number(row.open) ? "up" : "down";
      if (this.hovered) first.append(make("span", "", moment(row.ts_start / 1e6, this.view.zone, secondsOf(row.interval) < 60)));
      for (const [name, value] of [["O", row.open], ["H", row.high], ["L", row.low], ["C", row.close]] as const) {
        first.append(pair(name, value, tone));
      }
      first.append(make("span", tone, percent(Number(row.close) / Number(row.open) - 1)));
      first.append(pair("Vol", row.volume), pair("Trades", String(row.count)));
      if (!row.closed) first.append(make("em", "tag", "forming"));
      if (row.source === "venue") first.append(make("em", "tag", "venue’s"));
      if (row.revision > 0) first.append(make("em", "tag warn", `revised ×${row.revision}`));
    }
    if (shade) first.append(make("em", "tag warn", `${shade.isCovered ? "our trades" : "gap"}: ${reason(shade.reason)}`));
    const lines = this.overlays.legend(this.hovered?.time ?? null, decimals(this.tick) + 2);
    box.replaceChildren(first, ...lines.filter((one) => one.pane === 0).map((one) => one.line));
    box.dataset["ts"] = row ? String(row.ts_start) : "";
    this.paneLegends(lines.filter((one) => one.pane > 0));
  }

  /** Each pane tells what it shows at its own top. */
  private paneLegends(lines: { pane: number; line: HTMLElement }[]): void {
    const panes = this.chart.panes();
    while (this.boxes.length > lines.length) this.boxes.pop()?.remove();
    lines.forEach(({ pane, line }, index) => {
      let box = this.boxes[index];
      if (!box) {
        box = make("div", "legend");
        box.setAttribute("aria-hidden", "true");
        at("chart").append(box);
        this.boxes.push(box);
      }
      box.replaceChildren(line);
      const element = panes[pane]?.getHTMLElement();
      const top = element ? `${element.offsetTop + 4}px` : "-99px";
      if (box.style.top !== top) box.style.top = top;
    });
  }

  // -- moving about --

  private isBack(): boolean {
    return this.chart.timeScale().scrollPosition() < -3;
  }

  now(isMoved = true): void {
    const scale = this.chart.timeScale();
    if (!isMoved) scale.applyOptions({ barSpacing: 7 });
    if (isMoved && !isCalm()) scale.scrollToRealTime();
    else scale.scrollToPosition(6, false);
  }

  fit(): void {
    this.chart.timeScale().fitContent();
    this.chart.priceScale("right").applyOptions({ autoScale: true });
  }

  scroll(bars: number): void {
    const scale = this.chart.timeScale();
    scale.scrollToPosition(scale.scrollPosition() + bars, false);
  }

  zoom(factor: number): void {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range) return;
    const width = (range.to - range.from) / factor;
    this.chart.timeScale().setVisibleLogicalRange({ from: range.to - width, to: range.to });
  }

  /** Follow the shown indicators of the view. */
  async indicate(): Promise<void> {
    await this.overlays.open();
    this.legend();
  }

  picture(): HTMLCanvasElement {
    return this.chart.takeScreenshot(true, false);
  }

  csv(): string {
    const [first] = this.history.rows;
    if (!first) return "";
    const names = Object.keys(first) as (keyof CandleRow)[];
    return [names.join(","), ...this.history.rows.map((row) => names.map((name) => row[name] ?? "").join(","))].join("\n") + "\n";
  }
}

function pair(name: string, value: string, tone = ""): HTMLElement {
  const made = make("span");
  made.append(make("i", "", name), make("b", tone, value));
  return made;
}
