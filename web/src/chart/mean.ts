/** The sliding mean as a live line over a chosen last time, with its trend; drawn as it comes. */
import * as api from "../api";
import { at, isCalm, write } from "../dom";
import { clock, decimals } from "../format";
import type { Stream } from "../stream";
import { framed } from "../ticks";
import type { MovingAverageRow } from "../types/rows";
import { MEANS, type Colours, type View } from "../view";

/** Rows of a page; of one symbol there are few windows, sliding by half a second or more. */
const PAGE = 4000;
/** Times on the axis, at most. */
const TICKS = 5;
const STEPS_S = [10, 15, 30, 60, 120, 300, 600];
const RIGHT = 74;
/** A line that moves eight pixels in a second needs no more frames than these. */
const DRAW_MS = 250;
/** The windows that hold one value change within so long. */
const SETTLE_MS = 20;

interface Point {
  ts: number;
  mean: number;
}

export class Mean {
  private closed = new Map<number, MovingAverageRow>();
  private forming: MovingAverageRow[] = [];
  private leave: (() => void)[] = [];
  private places = 2;
  private width = 0;
  private height = 0;
  /** When a row came last, by `performance.now()`. */
  private came = 0;
  private readonly font = `11px ${getComputedStyle(document.body).fontFamily}`;
  private readonly canvas = at<HTMLCanvasElement>("mean-canvas");

  constructor(
    private readonly stream: Stream,
    private readonly view: View,
    private readonly now: () => number,
    public colours: Colours,
    changed: () => void,
  ) {
    const span = at<HTMLSelectElement>("mean-span");
    span.replaceChildren(...MEANS.map((seconds) => new Option(seconds < 60 ? `${seconds} s` : `${seconds / 60} min`, String(seconds))));
    span.addEventListener("change", () => {
      view.mean = Number(span.value);
      changed();
      this.again();
    });
    new ResizeObserver(([entry]) => {
      this.width = entry?.contentRect.width ?? 0;
      this.height = entry?.contentRect.height ?? 0;
      this.draw();
    }).observe(this.canvas);
    const draw = framed(() => this.draw(), isCalm() ? 1000 : DRAW_MS);
    window.setInterval(() => {
      if (this.stream.state !== "gone") draw();
    }, DRAW_MS);
  }

  /** What comes after a pause, with what comes along, is drawn at once: it waited less to come here than for a tick. */
  private soon(): void {
    const since = performance.now() - this.came;
    this.came += since;
    if (since > DRAW_MS && !document.hidden && !isCalm()) window.setTimeout(() => this.draw(), SETTLE_MS);
  }

  /** Prices move by another tick than was known. */
  retick(tick: string): void {
    this.places = decimals(tick);
  }

  open(tick: string): void {
    for (const leave of this.leave) leave();
    this.closed = new Map();
    this.forming = [];
    this.retick(tick);
    const { symbol } = this.view;
    const rows = (found: MovingAverageRow[]): void => this.take(found);
    const forming = (found: MovingAverageRow[]): void => {
      this.forming = found;
      this.soon();
    };
    this.leave = [
      this.stream.subscribe("moving_average", symbol, undefined, { rows, lost: () => void this.load(symbol), refused: () => (at("mean").hidden = true) }),
      this.stream.subscribe("moving_average.forming", symbol, undefined, { rows: forming }),
    ];
    this.again();
  }

  /** The chosen time has changed: what it holds may be more than what is known. */
  again(): void {
    at<HTMLSelectElement>("mean-span").value = String(this.view.mean);
    void this.load(this.view.symbol);
  }

  private async load(symbol: string): Promise<void> {
    const page = await api.means({ symbol, start: Math.floor(this.now() - this.view.mean * 1e6), limit: PAGE }).catch(() => null);
    if (page && symbol === this.view.symbol) this.take(page.data);
  }

  private take(rows: MovingAverageRow[]): void {
    for (const row of rows) {
      const known = this.closed.get(row.ts_end);
      if (!known || row.revision >= known.revision) this.closed.set(row.ts_end, row);
    }
    const least = this.now() - (this.view.mean + 10) * 1e6;
    for (const ts of this.closed.keys()) if (ts < least) this.closed.delete(ts);
    const [row] = rows;
    if (row) write(at("mean-window"), `${row.window_ms / 1000} s every ${row.slide_ms / 1000} s`);
  }

  private points(): Point[] {
    const now = this.now();
    const found = new Map([...this.closed.values()].map((row) => [row.ts_end, row.mean]));
    for (const row of this.forming) if (!found.has(row.ts_end)) found.set(Math.min(row.ts_end, now), row.mean);
    return [...found].map(([ts, mean]) => ({ ts, mean })).filter((one) => one.ts > now - this.view.mean * 1e6).sort((a, b) => a.ts - b.ts);
  }

  draw(): void {
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const context = this.canvas.getContext("2d");
    if (!context) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const points = this.points();
    const last = points.at(-1);
    write(at("mean-value"), last ? last.mean.toFixed(this.places + 1) : "–");
    if (points.length < 2) return;
    this.drawPoints(context, points, width - RIGHT, height - 18);
  }

  private drawPoints(context: CanvasRenderingContext2D, points: Point[], width: number, height: number): void {
    const now = this.now();
    const means = points.map((one) => one.mean);
    const low = Math.min(...means);
    const size = Math.max(...means) - low || 1;
    const x = (ts: number): number => width - ((now - ts) / (this.view.mean * 1e6)) * width;
    const y = (mean: number): number => 8 + (1 - (mean - low) / size) * (height - 16);
    this.drawAxes(context, now, width, height, low, size, x, y);
    context.strokeStyle = this.colours.accent;
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.beginPath();
    let before = -Infinity;
    for (const { ts, mean } of points) {
      if (ts - before > 5e6) context.moveTo(x(ts), y(mean)); // nothing was heard: no line through it
      else context.lineTo(x(ts), y(mean));
      before = ts;
    }
    context.stroke();
    const [from, to] = trend(points);
    context.strokeStyle = to >= from ? this.colours.up : this.colours.down;
    context.lineWidth = 1;
    context.setLineDash([5, 4]);
    context.beginPath();
    context.moveTo(x(points[0]?.ts ?? now), y(from));
    context.lineTo(x(points.at(-1)?.ts ?? now), y(to));
    context.stroke();
    context.setLineDash([]);
    const end = points.at(-1);
    if (!end) return;
    context.fillStyle = this.colours.accent;
    context.beginPath();
    context.arc(x(end.ts), y(end.mean), 3.5, 0, 7);
    context.fill();
  }

  private drawAxes(
    context: CanvasRenderingContext2D, now: number, width: number, height: number, low: number, size: number,
    x: (ts: number) => number, y: (mean: number) => number,
  ): void {
    context.font = this.font;
    context.fillStyle = this.colours.dim;
    context.strokeStyle = this.colours.line;
    context.lineWidth = 1;
    context.textBaseline = "middle";
    for (const part of [0, 0.5, 1]) {
      const mean = low + size * part;
      context.beginPath();
      context.moveTo(0, Math.round(y(mean)) + 0.5);
      context.lineTo(width, Math.round(y(mean)) + 0.5);
      context.stroke();
      context.fillText(mean.toFixed(this.places), width + 8, y(mean));
    }
    context.textAlign = "center";
    const step = 1e6 * (STEPS_S.find((seconds) => this.view.mean / seconds <= TICKS) ?? 600);
    const first = Math.ceil((now - this.view.mean * 1e6) / step) * step;
    for (let ts = first; ts < now; ts += step) {
      if (x(ts) > 28 && x(ts) < width - 20) context.fillText(clock(ts, this.view.zone), x(ts), height + 9);
    }
    context.textAlign = "left";
  }
}

/** The line of least squares: its values at the first and the last point. */
export function trend(points: readonly Point[]): [number, number] {
  const [first] = points;
  const last = points.at(-1);
  if (!first || !last) return [0, 0];
  const count = points.length;
  const middle = points.reduce((sum, one) => sum + (one.ts - first.ts), 0) / count;
  const mean = points.reduce((sum, one) => sum + one.mean, 0) / count;
  let above = 0;
  let below = 0;
  for (const one of points) {
    above += (one.ts - first.ts - middle) * (one.mean - mean);
    below += (one.ts - first.ts - middle) ** 2;
  }
  const slope = below ? above / below : 0;
  return [mean - slope * middle, mean + slope * (last.ts - first.ts - middle)];
}
