/** The coverage of the shown symbol as a calendar: a line for each stream, a cell for each day, or for each hour of one. */
import * as api from "../api";
import { make, mark, write } from "../dom";
import { clockTime, inputOf, moment, momentOf, reason, span, tick, zoneName } from "../format";
import { cell, spans, STATES, type Cell, type Stretch } from "./covered";
import type { CoverageRow } from "../types/rows";
import type { View } from "../view";

const DAYS = 21;
const DAY_S = 86_400;
const HOUR_S = 3_600;
const PAGE = 10_000;
const MOST_PAGES = 20;
/** Streams in the order of their weight; others follow. */
const FIRST = ["trades", "quotes", "book", "tickers", "klines"];
const MOST_TOLD = 4;

export class Calendar {
  readonly element = make("div", "calendar");
  private readonly title = make("h2");
  private readonly back = make("button", "", "‹ Days");
  private readonly grid = make("table");
  private readonly told = make("p", "told");
  private rows = new Map<string, CoverageRow[]>();
  /** The day whose hours are shown, seconds. */
  private day: number | null = null;
  private generation = 0;

  constructor(
    private readonly view: View,
    private readonly now: () => number,
  ) {
    this.grid.setAttribute("role", "grid");
    this.told.setAttribute("role", "status");
    this.back.addEventListener("click", () => this.zoom(null));
    const bar = make("div", "tools");
    bar.append(this.title, this.back, legend());
    const scroll = make("div", "scroll");
    scroll.append(this.grid);
    this.element.append(bar, scroll, this.told);
    this.grid.addEventListener("keydown", (event) => this.press(event));
  }

  async load(): Promise<void> {
    const mine = ++this.generation;
    const { symbol } = this.view;
    const rows = await all(symbol).catch(() => null);
    if (mine !== this.generation || !rows) return;
    this.rows = new Map(ordered([...Map.groupBy(rows, (row) => row.stream)]));
    this.show();
  }

  private zoom(day: number | null): void {
    const before = this.day;
    this.day = day;
    this.show();
    const place = day === null && before !== null ? `[data-from="${before}"]` : "button";
    (this.grid.querySelector<HTMLElement>(place) ?? this.grid.querySelector<HTMLElement>("button"))?.focus();
  }

  private show(): void {
    const { symbol, zone } = this.view;
    const edges = this.day === null ? this.days() : this.hours(this.day);
    const what = this.day === null ? `the last ${DAYS} days` : inputOf(this.day, zone).slice(0, 10);
    write(this.title, `Coverage of ${symbol}, ${what} (${zoneName(zone)})`);
    this.back.hidden = this.day === null;
    const focused = document.activeElement instanceof HTMLElement && this.grid.contains(document.activeElement) ? document.activeElement.id : "";
    this.grid.setAttribute("aria-label", this.title.textContent ?? "");
    const lines = [...this.rows].map(([stream, rows]) => this.line(stream, rows, edges));
    this.grid.replaceChildren(this.head(edges), ...lines);
    const first = document.getElementById(focused) ?? this.grid.querySelector<HTMLElement>("tr:nth-child(2) td:last-child button");
    if (first) first.tabIndex = 0;
    if (focused) first?.focus();
    write(this.told, this.rows.size ? (this.day === null ? "A day tells its hours when it is pressed." : "") : "Nothing of this symbol is covered yet.");
  }

  /** Beginnings of the days, and the end of the last. */
  private days(): number[] {
    const today = this.dayOf(this.now() / 1e6);
    const noon = (back: number): number => today + DAY_S / 2 - back * DAY_S; // a day has 23 to 25 hours
    return Array.from({ length: DAYS + 1 }, (_, index) => this.dayOf(noon(DAYS - 1 - index)));
  }

  private hours(day: number): number[] {
    const end = this.dayOf(day + 1.5 * DAY_S);
    return Array.from({ length: Math.round((end - day) / HOUR_S) + 1 }, (_, index) => day + index * HOUR_S);
  }

  private dayOf(seconds: number): number {
    return momentOf(`${inputOf(seconds, this.view.zone).slice(0, 10)}T00:00:00`, this.view.zone);
  }

  private head(edges: number[]): HTMLElement {
    const line = make("tr");
    line.append(make("td"));
    edges.slice(0, -1).forEach((from, index) => {
      const isFirst = index === 0 || inputOf(from, this.view.zone).slice(8, 10) === "01";
      const text = this.day !== null ? clockTime(from, this.view.zone, false).slice(0, 2) : isFirst ? tick(from, this.view.zone, "day") : inputOf(from, this.view.zone).slice(8, 10);
      const made = make("th", "", text);
      made.scope = "col";
      line.append(made);
    });
    return line;
  }

  private line(stream: string, rows: CoverageRow[], edges: number[]): HTMLElement {
    const made = make("tr");
    const name = make("th", "", stream);
    name.scope = "row";
    made.append(name);
    const known = spans(rows);
    edges.slice(0, -1).forEach((from, index) => {
      const to = edges[index + 1] ?? from;
      const box = make("td");
      box.append(this.button(stream, from, cell(known, rows, { start: from * 1e6, end: to * 1e6 }, this.now())));
      made.append(box);
    });
    return made;
  }

  private button(stream: string, from: number, found: Cell): HTMLElement {
    const made = make("button", "cell");
    made.id = `cell-${stream}-${from}`;
    made.dataset["from"] = String(from);
    made.dataset["quiet"] = ""; // not one of the commands: there are hundreds
    mark(made, "state", found.state);
    made.tabIndex = -1;
    const text = `${stream}, ${this.when(from)}: ${this.about(found)}`;
    made.setAttribute("aria-label", text);
    made.title = text;
    const tell = (): void => write(this.told, text);
    made.addEventListener("focus", tell);
    made.addEventListener("pointerenter", tell);
    made.addEventListener("click", () => {
      if (this.day === null) this.zoom(from);
    });
    return made;
  }

  private when(from: number): string {
    return this.day === null ? tick(from, this.view.zone, "day") : clockTime(from, this.view.zone, false);
  }

  private about({ state, gaps }: Cell): string {
    const told = gaps.slice(-MOST_TOLD).map((gap) => this.gap(gap));
    const more = gaps.length > MOST_TOLD ? [`${gaps.length - MOST_TOLD} more before`] : [];
    return [STATES[state], ...told, ...more].join("; ");
  }

  private gap(gap: Stretch & { reason: string | null }): string {
    const seconds = (gap.end - gap.start) / 1e6;
    return `${moment(gap.start / 1e6, this.view.zone)} for ${span(seconds)}: ${reason(gap.reason)}`;
  }

  private press(event: KeyboardEvent): void {
    if (!(event.target instanceof HTMLElement) || !event.target.matches(".cell")) return;
    if (event.key === "Escape" && this.day !== null) this.zoom(null);
    else if (!this.step(event.target, event.key)) return;
    event.preventDefault();
  }

  private step(from: HTMLElement, key: string): boolean {
    const line = from.closest("tr");
    const column = line ? [...line.cells].indexOf(from.closest("td") as HTMLTableCellElement) : -1;
    const lines = [...this.grid.rows];
    const row = line ? lines.indexOf(line) : -1;
    const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key] ?? [0, 0];
    const last = line?.cells.length ?? 0;
    const target = key === "Home" ? 1 : key === "End" ? last - 1 : column + (right ?? 0);
    if (!down && target === column) return /^(Arrow|Home|End)/.test(key);
    const to = lines[row + (down ?? 0)]?.cells[target]?.querySelector<HTMLElement>(".cell");
    if (to) {
      from.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
    }
    return true;
  }
}

function legend(): HTMLElement {
  const made = make("span", "legend-of");
  for (const [state, text] of Object.entries(STATES)) {
    if (state === "ahead") continue;
    const box = make("i", "cell");
    box.dataset["state"] = state;
    made.append(box, text);
  }
  return made;
}

/** Every row of a symbol: one that began long ago may reach to now. */
async function all(symbol: string): Promise<CoverageRow[]> {
  const found: CoverageRow[] = [];
  let cursor: string | undefined;
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const page = await api.coverage({ symbol, start: 0, limit: PAGE, cursor });
    found.push(...page.data);
    if (!page.next) break;
    cursor = page.next;
  }
  return found;
}

function ordered<T>(streams: [string, T][]): [string, T][] {
  const place = (stream: string): number => (FIRST.includes(stream) ? FIRST.indexOf(stream) : FIRST.length);
  return streams.sort(([a], [b]) => place(a) - place(b));
}
