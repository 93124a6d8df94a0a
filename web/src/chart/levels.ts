/** Alerts on the chart: each price rule of the shown symbol is a dashed line that is dragged, moved by keys, removed. */
import { LineStyle, type IPriceLine, type ISeriesApi, type ISeriesPrimitive, type SeriesType, type Time } from "lightweight-charts";
import type { Chart } from "./chart";
import { at, hide, make, mark, toast, write } from "../dom";
import { decimals } from "../format";
import type { Price, PriceRule, Rules } from "../alerts/rules";
import type { Colours, View } from "../view";

/** After the last arrow key a level is sent. */
const SETTLE_MS = 700;
const STEPS = 10;
/** A pointer that has moved less has clicked. */
const STILL_PX = 3;

interface Level {
  rule: PriceRule;
  price: number;
  line: IPriceLine;
  element: HTMLElement;
  handle: HTMLButtonElement;
  y: number | null;
  /** It is moved here and not yet on the server. */
  isMoving: boolean;
  /** What the server is being told. */
  sent: number | null;
  settling: number;
}

export class Levels {
  private levels: Level[] = [];
  private tick = "0.01";
  private last = NaN;
  private hovered: number | null = null;
  private readonly box = at("alarms");
  private readonly adder = at("alarm-add");
  private series: ISeriesApi<SeriesType>;
  private readonly placer: ISeriesPrimitive<Time> = { updateAllViews: () => this.place() };

  constructor(
    private readonly chart: Chart,
    private readonly rules: Rules,
    private readonly view: View,
    private readonly colours: () => Colours,
  ) {
    this.series = chart.series;
    this.series.attachPrimitive(this.placer);
    chart.attached = (series) => this.attach(series);
    chart.chart.subscribeCrosshairMove((event) => {
      if (event.point && (event.paneIndex ?? 0) === 0) this.point(event.point.y);
    });
    at("chart").addEventListener("pointerleave", () => this.point(null));
    this.adder.addEventListener("click", () => this.add());
  }

  /** Prices move by another tick than was known. */
  retick(tick: string): void {
    this.tick = tick;
    for (const level of this.levels) this.put(level, level.price);
  }

  open(tick: string): void {
    this.tick = tick;
    this.last = NaN;
    this.point(null);
    this.show();
  }

  priced(close: string): void {
    this.last = Number(close);
  }

  /** The rules are as the server says; one that is being moved stays where it is. */
  show(): void {
    const rules = this.rules.prices(this.view.symbol);
    for (const level of this.levels.filter((one) => !rules.some((rule) => rule.id === one.rule.id))) this.drop(level);
    for (const rule of rules) {
      const known = this.levels.find((one) => one.rule.id === rule.id);
      if (!known) this.levels.push(this.make(rule));
      else if (!known.isMoving) {
        known.rule = rule;
        this.put(known, Number(rule.when.level));
      }
    }
    this.place();
  }

  /** A rule at the crosshair; without one at the last price, where the keys move it on. */
  add(): void {
    if (!this.rules.isServed) {
      toast("This server keeps no alerts: another gateway of its data folder does");
      return;
    }
    const price = this.hovered === null ? this.last : this.chart.priceAt(this.hovered);
    if (price === null || !Number.isFinite(price)) return;
    const isByKeys = this.hovered === null;
    void this.rules.make(this.view.symbol, this.text(price), this.crosses(price)).then((isDone) => {
      if (isDone && isByKeys) this.levels.at(-1)?.handle.focus();
    });
  }

  // -- values --

  private text(price: number): string {
    const tick = Number(this.tick);
    return (Math.round(price / tick) * tick).toFixed(decimals(this.tick));
  }

  /** It fires when the price comes to the level from where it is now. */
  private crosses(price: number): Price["crosses"] {
    return price >= this.last ? "above" : "below";
  }

  // -- drawing --

  private attach(series: ISeriesApi<SeriesType>): void {
    this.series = series;
    series.attachPrimitive(this.placer);
    for (const level of this.levels) level.line = this.line(level.price);
  }

  private line(price: number): IPriceLine {
    const { accent } = this.colours();
    return this.series.createPriceLine({ price, color: accent, lineWidth: 1, lineStyle: LineStyle.Dashed, axisLabelVisible: true, title: "" });
  }

  private make(rule: PriceRule): Level {
    const element = make("div", "alarm");
    const handle = make("button", "handle");
    handle.setAttribute("role", "slider");
    handle.setAttribute("aria-orientation", "vertical");
    const remove = make("button", "drop", "×");
    element.append(handle, remove);
    this.box.append(element);
    const price = Number(rule.when.level);
    const made: Level = { rule, price, line: this.line(price), element, handle, y: null, isMoving: false, sent: null, settling: 0 };
    handle.addEventListener("pointerdown", (event) => this.grab(made, event));
    handle.addEventListener("keydown", (event) => this.press(made, event));
    handle.addEventListener("blur", () => this.settle(made));
    remove.addEventListener("click", () => void this.rules.remove(made.rule));
    this.put(made, price);
    return made;
  }

  private drop(level: Level): void {
    window.clearTimeout(level.settling);
    this.series.removePriceLine(level.line);
    level.element.remove();
    this.levels = this.levels.filter((one) => one !== level);
  }

  private put(level: Level, price: number): void {
    level.price = price;
    const crosses = level.isMoving ? this.crosses(price) : level.rule.when.crosses;
    const { state, problem, name } = level.rule;
    const said = `${crosses === "above" ? "↑" : "↓"} ${name || this.text(price)}${state === "watching" ? "" : ` · ${problem ?? state}`}`;
    write(level.handle, said);
    mark(level.element, "state", state);
    level.handle.setAttribute("aria-label", `Alert: price crosses ${crosses}`);
    level.handle.setAttribute("aria-valuenow", String(price));
    level.handle.setAttribute("aria-valuetext", this.text(price));
    level.element.lastElementChild?.setAttribute("aria-label", `Remove the alert at ${this.text(price)}`);
    const { accent: color } = this.colours();
    const drawn = level.line.options();
    if (drawn.price !== price || drawn.color !== color) level.line.applyOptions({ price, color });
    this.placeOne(level);
  }

  private place(): void {
    for (const level of this.levels) this.placeOne(level);
  }

  private placeOne(level: Level): void {
    const found = this.series.priceToCoordinate(level.price);
    const y = found !== null && this.chart.priceAt(found) !== null && found >= 0 ? Math.round(found) : null;
    if (y === level.y) return;
    level.y = y;
    hide(level.element, y === null);
    if (y !== null) level.element.style.transform = `translateY(${y}px)`;
  }

  private point(y: number | null): void {
    this.hovered = y;
    const isSeen = y !== null && this.rules.isServed && this.chart.priceAt(y) !== null;
    hide(this.adder, !isSeen);
    if (!isSeen) return;
    this.adder.style.transform = `translateY(${y}px)`;
    this.box.style.setProperty("--axis", `${this.chart.chart.priceScale("right").width()}px`);
  }

  // -- moving --

  private grab(level: Level, event: PointerEvent): void {
    if (event.button !== 0) return;
    const { handle } = level;
    const from = event.clientY;
    const y = level.y ?? 0;
    handle.setPointerCapture(event.pointerId);
    handle.focus();
    const move = (moved: PointerEvent): void => {
      if (!level.isMoving && Math.abs(moved.clientY - from) < STILL_PX) return;
      const price = this.chart.priceAt(y + moved.clientY - from);
      if (price === null) return;
      level.isMoving = true;
      this.put(level, Number(this.text(price)));
    };
    handle.addEventListener("pointermove", move);
    handle.addEventListener("lostpointercapture", () => {
      handle.removeEventListener("pointermove", move);
      this.settle(level);
    }, { once: true });
  }

  private press(level: Level, event: KeyboardEvent): void {
    const step = Number(this.tick) * (event.shiftKey ? STEPS : 1);
    const up = { ArrowUp: step, ArrowDown: -step }[event.key];
    if (event.key === "Delete" || event.key === "Backspace") void this.rules.remove(level.rule);
    else if (up === undefined) return;
    else {
      level.isMoving = true;
      this.put(level, Number(this.text(level.price + up)));
      window.clearTimeout(level.settling);
      level.settling = window.setTimeout(() => this.settle(level), SETTLE_MS);
    }
    event.preventDefault();
  }

  /** Tell the server where it stands now. */
  private settle(level: Level): void {
    window.clearTimeout(level.settling);
    const { price } = level;
    if (!level.isMoving || level.sent === price) return;
    level.sent = price;
    void this.rules.move(level.rule, this.text(price), this.crosses(price)).then(() => {
      if (level.sent === price) level.sent = null;
      if (level.price === price) level.isMoving = false;
      this.show();
    });
  }
}
