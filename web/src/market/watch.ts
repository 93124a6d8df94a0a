/** The watchlist: what is followed, its last price, its day; symbols come and go while the run goes on. */
import * as api from "../api";
import { at, isCalm, make, mark, toast, write } from "../dom";
import { decimals, padded, percent, USUAL_TICK } from "../format";
import type { Stream } from "../stream";
import { framed } from "../ticks";
import type { CandleRow } from "../types/rows";

const HOUR_US = 3_600_000_000;
const DAY_US = 24 * HOUR_US;

/** Times that what is not there yet is asked for every other second; then with all else. */
const SOON = 60;

type Sort = "symbol" | "last" | "change";

interface Entry {
  symbol: string;
  day: number[];
  open: number;
  last: string;
  element: HTMLTableRowElement;
  price: HTMLTableCellElement;
  change: HTMLTableCellElement;
  spark: SVGPolylineElement;
  flashed: number;
  sketched: number;
  leave: () => void;
}

/** What the venue lists is asked for when typing has paused so long. */
const PAUSE_MS = 200;
/** So many names are offered; an answer has at most so many, those followed among them. */
const OFFERED = 8;
const LISTED_MOST = 1000;

const FLASH_MS = 1000;
const FLASHING_MS = 350;
/** Rows are read one at a time: oftener than this nobody follows; a sparkline of a day moves slower still. */
const DRAW_MS = 375;
const SKETCH_MS = 2000;
const SVG = "http://www.w3.org/2000/svg";

export class Watch {
  private readonly entries = new Map<string, Entry>();
  /** By symbol what its price moves by, as far as the venue has said it. */
  private readonly ticks = new Map<string, string>();
  /** Symbols that are being removed. */
  private readonly leaving = new Set<string>();
  private readonly moved = new Set<Entry>();
  private readonly flush = framed(() => this.draw(), DRAW_MS);
  private readonly flashing = new Set<Entry>();
  private readonly calm = framed(() => this.endFlashes(), DRAW_MS);
  private sort: Sort = "symbol";
  private isDown = false;
  private tries = 0;
  private pause = 0;
  private looked = 0;

  constructor(
    private readonly stream: Stream,
    private readonly told: {
      choose(symbol: string): void;
      /** The tick of a symbol that is shown already is known, or another now. */
      ticked(symbol: string): void;
    },
    private readonly interval: string,
    /** Whether there are candles of an hour, of which the last day is drawn. */
    private readonly hasHours: boolean,
  ) {
    const search = at<HTMLInputElement>("search");
    search.addEventListener("input", () => this.filter());
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.enter();
      if (event.key === "Escape") {
        search.value = "";
        this.filter();
        search.blur();
      }
    });
    at("add").addEventListener("click", () => void this.add());
    at("watch-rows").addEventListener("keydown", (event) => this.press(event));
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-sort]")) {
      button.addEventListener("click", () => this.order(button.dataset["sort"] as Sort));
    }
    window.setInterval(() => void this.refresh().catch(() => undefined), 30_000);
    window.setInterval(() => this.again(), 2000);
  }

  symbols(): string[] {
    return [...at("symbols").children].filter((row) => !(row as HTMLElement).hidden).map((row) => (row as HTMLElement).dataset["symbol"] ?? "");
  }

  get(symbol: string): Entry | undefined {
    return this.entries.get(symbol);
  }

  mark(symbol: string): void {
    for (const [name, entry] of this.entries) entry.element.toggleAttribute("aria-current", name === symbol);
  }

  tick(symbol: string): string {
    return this.ticks.get(symbol) ?? USUAL_TICK;
  }

  /** A server that has just begun may not have been told of its symbols by the venue: their ticks come later. */
  learn(rows: api.SymbolRow[]): void {
    for (const { symbol, tick } of rows) {
      const before = this.tick(symbol);
      if (tick) this.ticks.set(symbol, tick);
      if (this.entries.has(symbol) && this.tick(symbol) !== before) this.told.ticked(symbol);
    }
  }

  /** Ask which symbols there are, or be told. */
  async refresh(told?: api.SymbolRow[]): Promise<void> {
    const rows = told ?? (await api.symbols());
    this.learn(rows);
    const names = new Set(rows.map((row) => row.symbol));
    for (const [name, entry] of this.entries) {
      if (names.has(name)) continue;
      entry.leave();
      entry.element.remove();
      this.entries.delete(name);
    }
    const fresh = rows.filter((row) => !this.entries.has(row.symbol));
    for (const { symbol } of fresh) this.entries.set(symbol, this.entry(symbol));
    if (fresh.length) this.arrange();
    await Promise.all([...this.entries.keys()].map((name) => this.load(name)));
  }

  /** A run that has just begun still fetches its past, and a server may be busy: asked again soon, some times. */
  private again(): void {
    const isLacking = (symbol: string, entry: Entry): boolean => !Number.isFinite(entry.open) || !this.ticks.has(symbol);
    const isYoung = !this.entries.size || [...this.entries].some(([symbol, entry]) => isLacking(symbol, entry));
    if (isYoung && this.tries++ < SOON) void this.refresh().catch(() => undefined);
  }

  /** The last 24 hours, by the hour: the sparkline, and what the change is against. */
  private async load(symbol: string): Promise<void> {
    const entry = this.entries.get(symbol);
    if (!this.hasHours || this.leaving.has(symbol)) return;
    const page = await api.candles({ symbol, interval: "1h", limit: 24, forming: true }).catch(() => null);
    const [first] = page?.data ?? [];
    if (!entry || !page || !first) return;
    entry.day = page.data.map((row) => Number(row.close));
    const spans = (page.data.at(-1)?.ts_start ?? 0) - first.ts_start;
    entry.open = spans >= DAY_US - 2 * HOUR_US ? Number(first.open) : NaN; // less than a day is no change of a day
    if (!entry.last) entry.last = page.data.at(-1)?.close ?? "";
    entry.sketched = -Infinity;
    this.moved.add(entry);
    this.flush();
  }

  private entry(symbol: string): Entry {
    const element = make("tr");
    element.dataset["symbol"] = symbol;
    const head = make("th");
    head.scope = "row";
    const pick = make("button", "pick", symbol);
    pick.addEventListener("click", () => this.told.choose(symbol));
    head.append(pick);
    const sparkCell = make("td", "spark");
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 60 20");
    svg.setAttribute("aria-hidden", "true");
    const spark = document.createElementNS(SVG, "polyline");
    svg.append(spark);
    sparkCell.append(svg);
    const price = make("td", "number");
    const change = make("td", "number");
    const last = make("td");
    const remove = make("button", "remove", "×");
    remove.setAttribute("aria-label", `Follow ${symbol} no more`);
    remove.addEventListener("click", () => void this.remove(symbol));
    last.append(remove);
    element.append(head, sparkCell, price, change, last);
    element.addEventListener("click", (event) => {
      if (!(event.target instanceof HTMLButtonElement)) this.told.choose(symbol);
    });
    const made: Entry = { symbol, day: [], open: NaN, last: "", element, price, change, spark, flashed: 0, sketched: 0, leave: () => undefined };
    const rows = (found: CandleRow[]): void => {
      const newest = found.at(-1);
      if (!newest || newest.close === made.last) return;
      made.last = newest.close;
      this.moved.add(made);
      this.flush();
    };
    made.leave = this.stream.subscribe("candles.forming", symbol, this.interval, { rows });
    return made;
  }

  private draw(): void {
    const now = performance.now();
    for (const entry of this.moved) {
      const shown = padded(entry.last, decimals(this.tick(entry.symbol)));
      const before = Number(entry.price.textContent);
      if (entry.price.textContent && before !== Number(shown)) this.flash(entry, Number(shown) > before);
      write(entry.price, shown);
      const ratio = Number(entry.last) / entry.open - 1;
      write(entry.change, Number.isFinite(ratio) ? percent(ratio) : "–");
      mark(entry.change, "tone", Number.isFinite(ratio) ? (ratio < 0 ? "down" : "up") : "");
      if (now - entry.sketched > SKETCH_MS) this.sketch(entry, now);
    }
    this.moved.clear();
    if (this.sort !== "symbol" && !at("watch-rows").matches(":hover, :focus-within")) this.arrange(); // not from under a pointer
  }

  /** Which way it went, not more often than the eye follows. */
  private flash(entry: Entry, isUp: boolean): void {
    const now = performance.now();
    if (now - entry.flashed < FLASH_MS || isCalm()) return;
    entry.flashed = now;
    entry.price.dataset["flash"] = isUp ? "up" : "down";
    this.flashing.add(entry);
    this.calm();
  }

  private endFlashes(): void {
    const now = performance.now();
    for (const entry of this.flashing) {
      if (now - entry.flashed < FLASHING_MS) continue;
      delete entry.price.dataset["flash"];
      this.flashing.delete(entry);
    }
    if (this.flashing.size) this.calm();
  }

  private sketch(entry: Entry, now: number): void {
    if (entry.day.length < 2) return;
    entry.sketched = now;
    entry.day[entry.day.length - 1] = Number(entry.last);
    const low = Math.min(...entry.day);
    const size = Math.max(...entry.day) - low || 1;
    const step = 60 / (entry.day.length - 1);
    const points = entry.day.map((value, index) => `${(index * step).toFixed(1)},${(18 - ((value - low) / size) * 16).toFixed(1)}`);
    entry.spark.setAttribute("points", points.join(" "));
    entry.spark.setAttribute("class", Number(entry.last) < entry.open ? "down" : "up");
  }

  private order(sort: Sort): void {
    this.isDown = this.sort === sort ? !this.isDown : sort !== "symbol";
    this.sort = sort;
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-sort]")) {
      const head = button.closest("th");
      if (button.dataset["sort"] === sort) head?.setAttribute("aria-sort", this.isDown ? "descending" : "ascending");
      else head?.removeAttribute("aria-sort");
    }
    this.arrange();
  }

  private arrange(): void {
    const value = (entry: Entry): number => (this.sort === "last" ? Number(entry.last) : Number(entry.last) / entry.open) || 0;
    const all = [...this.entries.values()].sort((a, b) =>
      this.sort === "symbol" ? (a.symbol < b.symbol ? -1 : 1) : value(a) - value(b),
    );
    if (this.isDown) all.reverse();
    const body = at("symbols");
    all.forEach((entry, index) => {
      if (body.children[index] !== entry.element) body.insertBefore(entry.element, body.children[index] ?? null);
    });
  }

  private filter(): void {
    const wanted = at<HTMLInputElement>("search").value.trim().toUpperCase();
    this.look(wanted);
    for (const [name, entry] of this.entries) entry.element.hidden = !name.toUpperCase().includes(wanted);
    at<HTMLButtonElement>("add").disabled = !wanted || [...this.entries.keys()].some((name) => name.toUpperCase() === wanted);
  }

  /** Offer the venue's names like the text once typing pauses; the newest text counts, and what fails offers nothing. */
  private look(wanted: string): void {
    this.overlook();
    if (!wanted) {
      at("suggested").hidden = true;
      return;
    }
    const turn = this.looked;
    this.pause = window.setTimeout(() => {
      const limit = Math.min(OFFERED + this.entries.size, LISTED_MOST);
      const asked = api.listed(wanted, limit).catch(() => []);
      void asked.then((rows) => {
        if (turn !== this.looked) return;
        const names = rows.filter((row) => !row.is_followed).map((row) => row.symbol);
        this.suggest(names.slice(0, OFFERED), "The venue also lists");
      });
    }, PAUSE_MS);
  }

  /** An answer still to come is not shown. */
  private overlook(): void {
    window.clearTimeout(this.pause);
    this.looked += 1;
  }

  /** Up and down go from symbol to symbol, Delete follows one no more. */
  private press(event: KeyboardEvent): void {
    const row = event.target instanceof HTMLElement ? event.target.closest<HTMLElement>("tr[data-symbol]") : null;
    if (!row) return;
    const rows = [...at("symbols").querySelectorAll<HTMLElement>("tr:not([hidden])")];
    const place = { ArrowDown: rows.indexOf(row) + 1, ArrowUp: rows.indexOf(row) - 1, Home: 0, End: rows.length - 1 }[event.key];
    const symbol = row.dataset["symbol"];
    if (event.key === "Delete" && symbol) void this.remove(symbol);
    else if (place === undefined) return;
    else rows[place]?.querySelector<HTMLElement>(".pick")?.focus();
    event.preventDefault();
  }

  private enter(): void {
    const [first] = this.symbols();
    if (!first) {
      void this.add();
      return;
    }
    const search = at<HTMLInputElement>("search");
    search.value = "";
    search.blur();
    this.filter();
    this.told.choose(first);
  }

  private async add(wanted = at<HTMLInputElement>("search").value.trim()): Promise<void> {
    const search = at<HTMLInputElement>("search");
    const isTyping = document.activeElement === search;
    this.overlook();
    try {
      await api.follow(wanted);
      search.value = "";
      this.filter();
      await this.refresh();
      toast(`${wanted.toUpperCase()} is followed`);
      if (!isTyping) this.focus(wanted.toUpperCase()); // the button that was pressed is gone, or can be pressed no more
    } catch (error) {
      const nearest = error instanceof api.ProblemError ? error.nearest : [];
      this.overlook();
      if (nearest.length) this.suggest(nearest, "The venue does not list it. Do you mean");
      else toast((error as Error).message);
    }
  }

  private focus(symbol: string | undefined): void {
    this.entries.get(symbol ?? "")?.element.querySelector<HTMLElement>(".pick")?.focus();
  }

  /** Names of the venue, each to be added by its button. */
  private suggest(names: readonly string[], why: string): void {
    const box = at("suggested");
    const buttons = names.map((name) => {
      const made = make("button", "", `Add ${name}`);
      made.addEventListener("click", () => void this.add(name));
      return made;
    });
    box.replaceChildren(make("span", "", why), ...buttons);
    box.hidden = !names.length;
  }

  private async remove(symbol: string): Promise<void> {
    const element = this.entries.get(symbol)?.element;
    const next = (element?.nextElementSibling ?? element?.previousElementSibling) as HTMLElement | null | undefined;
    this.leaving.add(symbol); // nothing is asked of it any more
    try {
      await api.unfollow(symbol);
      await this.refresh();
      toast(`${symbol} is followed no more`);
      if (document.activeElement === document.body) this.focus(next?.dataset["symbol"]);
    } catch (error) {
      toast((error as Error).message);
    } finally {
      this.leaving.delete(symbol);
    }
  }
}
