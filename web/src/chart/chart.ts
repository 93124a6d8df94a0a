/** The chart: history by REST, what is new by the stream, one crosshair over all panes. */
import {
  AreaSeries, BarSeries, CandlestickSeries, ColorType, CrosshairMode, HistogramSeries, LineSeries, LineStyle,
  PriceScaleMode, createChartEx,
  type IChartApiBase, type ISeriesApi, type SeriesType, type Time,
} from "lightweight-charts";
import { Axis } from "./axis";
import { at, hide, isCalm, mark, toast, write } from "../dom";
import { decimals, moment, secondsOf, zoneName } from "../format";
import { Gaps } from "./gaps";
import { Hand } from "./hand";
import type { History } from "./history";
import { Indicators } from "./indicators";
import { CandleLine } from "./legend";
import type { Pick } from "./names";
import { Newest } from "./newest";
import { Panes } from "./panes";
import { Past, type Change } from "./past";
import { Revised } from "./revised";
import { isEnough, wanted, type Stretch } from "./stretch";
import type { Stream } from "../stream";
import { framed } from "../ticks";
import type { CandleRow } from "../types/rows";
import { fade, type Colours, type View } from "../view";

/** Bars from an end of what is loaded at which more are asked for. */
const NEAR = 150;
/** The library makes every bar that it has anew when one changes: with so many of them that is done a millisecond later. */
const BARS_PER_MS = 100;
/** Messages kept for a chart that shows another time. */
const KEPT = 20;
/** The default distance of bars, and their room at the right. */
const SPACING_PX = 7;
const LEAST_PX = 0.3;
const ROOM = 6;
/** So many bars that came live are kept beyond those that were loaded, before as many of the oldest go. */
const GROWN = 3000;
/** How long the library glides to the newest bar, and by what part of the way it may fall short. */
const GLIDE_MS = 1050;
const SHORT = 0.3;
const MODES = { normal: PriceScaleMode.Normal, log: PriceScaleMode.Logarithmic, percent: PriceScaleMode.Percentage };

type Main = ISeriesApi<SeriesType>;

export interface Told {
  /** The newest candle has changed. */
  priced(row: CandleRow): void;
  /** The settings of an indicator are wanted, or that it goes. */
  edit(pick: Pick): void;
  remove(pick: Pick): void;
}

export class Chart {
  readonly chart: IChartApiBase<Time>;
  readonly overlays: Indicators;
  readonly past: Past;
  private readonly axis = new Axis();
  private readonly panes: Panes;
  private readonly volume: ISeriesApi<"Histogram">;
  private main: Main;
  private gaps: Gaps;
  private revised: Revised;
  private readonly line = new CandleLine();
  private leave: (() => void)[] = [];
  private readonly waiting = new Map<number, CandleRow>();
  private readonly flush = framed(() => this.draw(), () => (this.stretch.to - this.stretch.from) / BARS_PER_MS);
  private readonly stretchSoon = framed(() => this.restretch());
  private readonly hand: Hand;
  private readonly newest: Newest;
  private readonly tell = framed(() => this.legend());
  private tick = "0.01";
  private drawn: History | null = null;
  /** Bars that came live. */
  private grown = 0;
  /** The bars that are in the series. */
  private stretch: Stretch = { from: 0, to: 0 };
  /** Where the library moves in its next frame, if it does: a position, or a stretch that is to be seen. */
  private aim: number | null = null;
  private coming: Stretch | null = null;
  private hovered: { time: number; logical: number } | null = null;
  /** Called when there is another series to attach to. */
  attached: (series: Main) => void = () => undefined;

  constructor(
    private readonly view: View,
    private colours: Colours,
    private readonly stream: Stream,
    private readonly told: Told,
  ) {
    this.axis.zone = view.zone;
    this.chart = createChartEx<Time, Axis>(at("canvas"), this.axis, {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: { timeVisible: true, rightOffset: ROOM, barSpacing: SPACING_PX, minBarSpacing: LEAST_PX, uniformDistribution: true, lockVisibleTimeRangeOnResize: true },
      kineticScroll: { touch: !isCalm(), mouse: false },
    });
    const failed = (error: Error): void => write(at("loading"), `The history cannot be had now (${error.message}); it is asked for again`);
    this.past = new Past(view, (what) => this.came(what), failed);
    this.panes = new Panes(this.chart, at("chart"));
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.main = this.makeMain();
    this.newest = new Newest(this.main, colours);
    this.hand = new Hand(at("canvas"), () => this.stretchSoon());
    this.gaps = new Gaps(colours.warn);
    this.main.attachPrimitive(this.gaps);
    this.revised = new Revised(colours.warn);
    this.main.attachPrimitive(this.revised);
    this.overlays = new Indicators({
      chart: this.chart, stream, view, colours: () => this.colours, history: () => this.history, isLive: () => this.past.isLive,
      drawn: () => this.history.times.slice(this.stretch.from, this.stretch.to), isDrawn: (time) => this.isDrawn(time),
      changed: this.tell, edit: (pick) => told.edit(pick), remove: (pick) => told.remove(pick),
    });
    at("legend").append(this.line.element);
    this.dress(colours);
    this.chart.timeScale().subscribeVisibleLogicalRangeChange(() => this.reach());
    this.chart.subscribeCrosshairMove((event) => {
      this.hovered = event.time === undefined || event.logical === undefined ? null : { time: event.time as number, logical: event.logical };
      this.tell();
    });
  }

  /** The price that is drawn at a height of the candles' pane. */
  priceAt(y: number): number | null {
    return this.panes.isSeen(0) && y <= (this.chart.panes()[0]?.getHeight() ?? 0) ? this.main.coordinateToPrice(y) : null;
  }

  private get history(): History {
    return this.past.history;
  }

  /** The last bar that is loaded is in the series. */
  private get isAtEnd(): boolean {
    return this.stretch.to >= this.history.times.length;
  }

  private isDrawn(time: number): boolean {
    const { times } = this.history;
    const { from, to } = this.stretch;
    return time >= (times[from] ?? Infinity) && time <= (times[to - 1] ?? -Infinity);
  }

  // -- what is shown --

  /** Show the view's symbol and interval from nothing: the newest, or what was around a moment (microseconds). */
  async open(tickSize: string, around?: number): Promise<void> {
    this.tick = tickSize;
    for (const leave of this.leave) leave();
    this.leave = [];
    this.waiting.clear();
    this.hovered = null;
    this.newest.clear();
    this.applyFormat();
    const opening = this.past.open(around);
    this.redraw();
    write(at("loading"), "Loading history…");
    at("loading").hidden = false;
    this.follow();
    if (!(await opening)) return;
    at("loading").hidden = true;
    this.redraw();
    this.legend(); // with the candles, not at the next tick
    if (around === undefined) this.now(false);
    else this.centre(around);
    const { last } = this.history;
    if (last && this.past.isLive) this.priced(last);
    await this.overlays.open();
    await this.past.settle();
  }

  /** Show what was at a moment, or now again. */
  async go(around?: number): Promise<void> {
    await this.open(this.tick, around);
    if (around === undefined) return;
    const { first, last } = this.history;
    if (!first || !last) toast("There are no candles at that time");
    else if (around < first.ts_start) toast("The candles begin later than that");
  }

  private async came(what: Change): Promise<void> {
    this.redraw();
    if (what === "all") await this.overlays.open();
    if (what === "older") await this.overlays.older();
    if (what === "newer") {
      await this.overlays.newer();
      if (this.past.isLive) await this.past.refill(); // what came while the last page was on its way
      this.reach();
    }
  }

  /** Ask for more at an end that is near. */
  private reach(): void {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    at("now").classList.toggle("wanted", this.isBack());
    if (!range) return;
    this.stretchSoon();
    if (range.from + this.stretch.from < NEAR) void this.past.older();
    else if (!this.past.isLive && range.to + this.stretch.from > this.history.times.length - NEAR) void this.past.newer();
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
      this.stream.subscribe("candles", symbol, interval, { rows, lost: () => void this.past.refill() }),
      this.stream.subscribe("candles.forming", symbol, interval, { rows }),
      this.stream.subscribe("coverage", symbol, undefined, { rows: () => this.past.renewSoon() }),
    );
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
    this.revised = new Revised(this.colours.warn);
    this.main.attachPrimitive(this.revised);
    this.attached(this.main);
    this.newest.attach(this.main);
    this.dress(this.colours);
    this.applyFormat();
  }

  get series(): Main {
    return this.main;
  }

  /** Prices move by another tick than was known; what is shown stays. */
  retick(tick: string): void {
    this.tick = tick;
    this.applyFormat();
    this.legend();
  }

  private applyFormat(): void {
    this.main.applyOptions({ priceFormat: { type: "price", precision: decimals(this.tick), minMove: Number(this.tick) } });
  }

  dress(colours: Colours): void {
    this.colours = colours;
    this.newest.dress(colours);
    const { zone } = this.view;
    const hasSeconds = secondsOf(this.view.interval || "1m") < 60;
    const isMoved = this.axis.zone !== zone;
    this.axis.zone = zone;
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
      rightPriceScale: { borderColor: colours.line },
      timeScale: {
        borderColor: colours.line, secondsVisible: hasSeconds,
      },
      localization: { timeFormatter: (time: Time) => `${moment(time as number, zone, hasSeconds)}${zone === "local" ? "" : ` ${zoneName(zone)}`}` },
    });
    this.chart.priceScale("right").applyOptions({ mode: MODES[this.view.scale], invertScale: this.view.inverted }); // of the candles' pane alone
    const { up, down, accent } = colours;
    if (this.view.style === "line") this.main.applyOptions({ color: accent });
    else if (this.view.style === "area") this.main.applyOptions({ lineColor: accent, topColor: fade(accent, 0.3), bottomColor: fade(accent, 0.02) });
    else if (this.view.style === "bars") this.main.applyOptions({ upColor: up, downColor: down });
    else this.main.applyOptions({ upColor: up, downColor: down, borderUpColor: up, borderDownColor: down, wickUpColor: up, wickDownColor: down });
    if (isMoved) this.relay();
    else this.redraw();
  }

  /** The axis keeps the ticks of times that it knows: they are forgotten and told again. */
  private relay(): void {
    const seen = this.seen();
    for (const series of [this.main, this.volume]) series.setData([]);
    this.overlays.empty();
    if (seen) this.place(seen);
    else this.redraw();
  }

  /** All of it anew; keeps the place that is looked at. */
  private redraw(): void {
    const before = this.range();
    const { from, to } = this.stretch;
    const index = before ? Math.round(Math.min(Math.max(before.from, 0), to - from - 1)) : -1;
    const isKnown = this.drawn === this.history;
    const anchor = isKnown ? this.history.times[from + index] : undefined;
    const edge = isKnown && this.hand.isHolding ? this.history.times[to] : undefined; // the right end stays where it is
    const isBack = this.isBack();
    this.drawn = this.history;
    this.history.layout();
    const { times } = this.history;
    const found = anchor === undefined ? -1 : this.history.index(anchor);
    const shift = found - index;
    this.stretch = wanted(before && found >= 0 ? { from: before.from + shift, to: before.to + shift } : this.tail(), times.length);
    if (isKnown && this.hand.isHolding) this.stretch.to = edge === undefined ? times.length : this.history.index(edge);
    this.fill();
    const { last } = this.history;
    if (last && this.past.isLive) this.newest.show(last); // also what came by another way than the stream
    if (this.coming) this.show(this.coming);
    else if (before && found >= 0 && isBack) this.keep(before, shift - this.stretch.from);
  }

  /** The series get the bars of the stretch. */
  private fill(): void {
    const bars = this.history.drawn(this.stretch);
    this.main.setData(bars.map(({ time, row }) => this.bar(time, row)) as never);
    this.volume.setData(bars.map(({ time, row }) => this.volumeBar(time, row)) as never);
    this.overlays.refill();
    this.decorate();
    this.tell();
  }

  /** What is seen has moved: other bars are put into the series before their end is seen. */
  private restretch(): void {
    const seen = this.seen();
    if (!seen || this.drawn !== this.history) return;
    if (!isEnough(this.stretch, seen, this.history.times.length, this.hand.isHolding)) this.redraw();
  }

  /** Show these bars, of all that are loaded. */
  private place(seen: Stretch): void {
    this.drawn = this.history;
    this.history.layout();
    this.stretch = wanted(seen, this.history.times.length);
    this.fill();
    this.show(seen);
  }

  private show(seen: Stretch): void {
    const { from } = this.stretch;
    this.coming = seen;
    this.chart.timeScale().setVisibleLogicalRange({ from: seen.from - from, to: seen.to - from });
    requestAnimationFrame(() => (this.coming = null));
  }

  /** The bars that are seen, of all that are loaded. */
  private seen(): Stretch | null {
    const range = this.range();
    return range && { from: range.from + this.stretch.from, to: range.to + this.stretch.from };
  }

  /** The newest bars, as many as are seen at a spacing. */
  private tail(spacing = this.chart.timeScale().options().barSpacing): Stretch {
    const count = this.history.times.length;
    return { from: count - this.chart.timeScale().width() / spacing, to: count };
  }

  /** The bars that are seen, or are to be in the next frame. */
  private range(): { from: number; to: number } | null {
    if (this.coming) return { from: this.coming.from - this.stretch.from, to: this.coming.to - this.stretch.from };
    const scale = this.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    const ahead = this.aim === null ? 0 : this.aim - scale.scrollPosition();
    return range && { from: range.from + ahead, to: range.to + ahead };
  }

  /** What stood at a place stands there still, though bars came before or behind it. */
  private keep(before: { from: number; to: number }, shift: number): void {
    const scale = this.chart.timeScale();
    const now = scale.getVisibleLogicalRange();
    const moved = now ? before.to + shift - now.to : 0;
    if (Math.abs(moved) > 0.01 || this.aim !== null) this.moveTo(scale.scrollPosition() + moved);
  }

  /** The library moves in its next frame: until then this is where it is to be. */
  private moveTo(position: number): void {
    this.aim = position;
    this.chart.timeScale().scrollToPosition(position, false);
    requestAnimationFrame(() => (this.aim = null));
  }

  private decorate(): void {
    this.gaps.set(this.history.shades(this.stretch), this.colours.warn);
    const revised = this.history.drawn(this.stretch).flatMap(({ row }) => (row && row.revision > 0 ? [row] : [])).slice(-500);
    const isLine = this.view.style === "line" || this.view.style === "area";
    this.revised.set(
      revised.map((row) => ({ time: row.ts_start / 1e6, from: Number(isLine ? row.close : row.high), edge: Number(isLine ? row.close : row.low) })),
      this.colours.warn,
    );
  }

  /** What came since the last frame. */
  private draw(): void {
    if (!this.history.rows.length && this.past.isLoading) return; // history first: they wait
    if (!this.past.isLive) {
      this.drawElsewhere();
      return;
    }
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
    this.trim();
    if (isWhole) this.redraw();
    else if (isRevised) this.decorate();
    const last = this.history.last;
    if (last) this.priced(last);
    this.legend();
  }

  /** Another time is shown: only the price goes on. */
  private drawElsewhere(): void {
    const newest = [...this.waiting.values()].sort((a, b) => a.ts_start - b.ts_start).slice(-KEPT);
    const last = newest.at(-1);
    if (last) this.priced(last);
    this.waiting.clear();
    for (const row of newest) this.waiting.set(row.ts_start, row);
  }

  private priced(row: CandleRow): void {
    this.newest.show(row);
    this.told.priced(row);
  }

  private append(row: CandleRow, before: number | undefined): void {
    const time = row.ts_start / 1e6;
    if (before !== undefined && before / 1e6 > time) return;
    const isNext = this.isAtEnd;
    this.history.times.push(time);
    this.grown += 1;
    if (!isNext) return;
    this.stretch.to += 1;
    this.main.update(this.bar(time, row) as never);
    this.volume.update(this.volumeBar(time, row) as never);
  }

  /** A page that is open for days keeps as much as it has loaded: what came since drives out what is oldest. */
  private trim(): void {
    if (this.grown < GROWN || this.stretch.from < GROWN || this.past.isLoading) return;
    this.grown -= GROWN;
    const before = this.history.times.length;
    this.past.forget(GROWN);
    this.history.layout();
    const gone = before - this.history.times.length; // with what was drawn empty
    this.stretch = { from: Math.max(0, this.stretch.from - gone), to: this.stretch.to - gone };
    this.overlays.forget();
    this.decorate();
  }

  private replace(row: CandleRow): void {
    const time = row.ts_start / 1e6;
    if (!this.isDrawn(time)) return;
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
    const row = this.hovered ? this.history.row(this.hovered.time) : this.history.last;
    const { symbol, interval, zone } = this.view;
    const shade = this.hovered ? this.gaps.at(this.hovered.logical) : undefined;
    this.line.show({ row, shade, zone, isHovered: this.hovered !== null, name: `${symbol} · ${interval}` });
    const lines = this.overlays.legend(this.hovered?.time ?? null, decimals(this.tick) + 2);
    const box = at("legend");
    const own = [this.line.element, ...lines.filter((one) => one.pane === 0).map((one) => one.line)];
    if (box.children.length !== own.length || own.some((line, index) => box.children[index] !== line)) box.replaceChildren(...own);
    mark(box, "ts", row ? String(row.ts_start) : "");
    this.panes.legends(lines.filter((one) => one.pane > 0));
    hide(box, !this.panes.isSeen(0));
  }

  // -- moving about --

  private isBack(): boolean {
    return !this.past.isLive || this.chart.timeScale().scrollPosition() - (this.history.times.length - this.stretch.to) < -3;
  }

  now(isMoved = true): void {
    if (!this.past.isLive) {
      void this.go();
      return;
    }
    const scale = this.chart.timeScale();
    if (!this.isAtEnd) this.place(this.tail());
    if (!isMoved) scale.applyOptions({ barSpacing: SPACING_PX });
    const way = ROOM - scale.scrollPosition();
    if (!isMoved || isCalm() || this.coming || way > scale.width() / scale.options().barSpacing) {
      scale.scrollToPosition(ROOM, false);
      return;
    }
    scale.scrollToRealTime();
    window.setTimeout(() => { // the library leaves out the last step, which is long where frames are
      const rest = ROOM - scale.scrollPosition();
      if (rest > 0 && rest < SHORT * way && !this.hand.isHolding) scale.scrollToPosition(ROOM, false);
    }, GLIDE_MS);
  }

  /** A moment in the middle, as many bars around it as are seen. */
  private centre(moment: number): void {
    const scale = this.chart.timeScale();
    const half = scale.width() / scale.options().barSpacing / 2;
    const index = Math.min(this.history.index(moment / 1e6), this.history.times.length - 1);
    this.place({ from: index - half, to: index + half });
  }

  fit(): void {
    this.place(this.tail(LEAST_PX));
    this.chart.timeScale().fitContent();
    this.chart.priceScale("right").applyOptions({ autoScale: true });
  }

  scroll(bars: number): void {
    this.moveTo((this.aim ?? this.chart.timeScale().scrollPosition()) + bars);
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
