/** The order book and the trades of the shown symbol. */
import * as api from "./api";
import { at, framed, make, write } from "./dom";
import { clock, decimals, padded } from "./format";
import type { Stream } from "./stream";
import type { BookRow, QuoteRow, TradeRow } from "./types/rows";
import type { View } from "./view";

const LEVELS = 10;
const TRADES = 60;

interface Level {
  element: HTMLElement;
  price: HTMLElement;
  size: HTMLElement;
  bar: SVGRectElement;
}

function level(side: string): Level {
  const element = make("div", `level ${side}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 1");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  bar.setAttribute("height", "1");
  svg.append(bar);
  const price = make("span", "number");
  const size = make("span", "number");
  element.append(svg, price, size);
  return { element, price, size, bar };
}

export class Market {
  private leave: (() => void)[] = [];
  private book: BookRow | null = null;
  private recent: TradeRow[] = [];
  private places = 2;
  private readonly asks: Level[] = [];
  private readonly bids: Level[] = [];
  private readonly middle = make("div", "middle");
  private readonly drawBook = framed(() => this.showBook());
  private readonly drawTrades = framed(() => this.showTrades());

  constructor(
    private readonly stream: Stream,
    private readonly view: View,
    private readonly heard: (ts: number) => void,
  ) {
    const rows = at("book-rows");
    for (let index = 0; index < LEVELS; index += 1) this.asks.push(level("ask"));
    for (let index = 0; index < LEVELS; index += 1) this.bids.push(level("bid"));
    rows.append(...[...this.asks].reverse().map((one) => one.element), this.middle, ...this.bids.map((one) => one.element));
    at("least").addEventListener("input", () => this.showTrades());
  }

  open(tick: string): void {
    for (const leave of this.leave) leave();
    this.places = decimals(tick);
    this.book = null;
    this.recent = [];
    this.showTrades();
    const { symbol } = this.view;
    const heard = (rows: { ts_recv: number }[]): void => {
      const newest = rows.at(-1);
      if (newest) this.heard(newest.ts_recv);
    };
    const quotes = (rows: QuoteRow[]): void => {
      heard(rows);
      const newest = rows.at(-1);
      if (newest && !this.book) this.quote(newest);
    };
    const books = (rows: BookRow[]): void => {
      this.book = rows.at(-1) ?? this.book;
      this.drawBook();
    };
    const trades = (rows: TradeRow[]): void => {
      heard(rows);
      this.take(rows);
    };
    this.leave = [
      this.stream.subscribe("quotes", symbol, undefined, { rows: quotes }),
      this.stream.subscribe("trades", symbol, undefined, { rows: trades, lost: () => void this.load(symbol) }),
      this.stream.subscribe("book", symbol, undefined, { rows: books, refused: () => at("book").classList.add("absent") }),
    ];
    void this.load(symbol);
  }

  private async load(symbol: string): Promise<void> {
    const page = await api.trades({ symbol, limit: TRADES }).catch(() => null);
    if (page && symbol === this.view.symbol) this.take(page.data);
  }

  private take(rows: TradeRow[]): void {
    const known = new Set(this.recent.map((row) => row.id));
    this.recent.push(...rows.filter((row) => !known.has(row.id)));
    this.recent.sort((a, b) => (a.ts_event ?? a.ts_recv) - (b.ts_event ?? b.ts_recv) || (a.id.length - b.id.length || (a.id < b.id ? -1 : 1)));
    if (this.recent.length > 500) this.recent.splice(0, this.recent.length - 500);
    this.drawTrades();
  }

  private quote(row: QuoteRow): void {
    this.spread(row.bid, row.ask);
  }

  private spread(bid: string, ask: string): void {
    const size = Number(ask) - Number(bid);
    const relative = (size / Number(bid)) * 10_000;
    write(at("spread"), `spread ${size.toFixed(this.places)} · ${relative.toFixed(2)} bp`);
  }

  private showBook(): void {
    if (!this.book) return;
    at("book").classList.remove("absent");
    const { bids, asks } = this.book;
    const total = (side: readonly (readonly string[])[]): number => side.slice(0, LEVELS).reduce((sum, row) => sum + Number(row[1]), 0);
    const most = Math.max(total(bids), total(asks)) || 1;
    this.showSide(this.asks, asks, most);
    this.showSide(this.bids, bids, most);
    const [bid, ask] = [bids[0]?.[0], asks[0]?.[0]];
    if (bid === undefined || ask === undefined) return;
    this.spread(bid, ask);
    write(this.middle, ((Number(bid) + Number(ask)) / 2).toFixed(this.places + 1));
  }

  private showSide(levels: Level[], rows: readonly (readonly string[])[], most: number): void {
    let sum = 0;
    levels.forEach((one, index) => {
      const [price, size] = rows[index] ?? [];
      sum += Number(size ?? 0);
      write(one.price, price === undefined ? "" : padded(price, this.places));
      write(one.size, size ?? "");
      const width = price === undefined ? 0 : (sum / most) * 100;
      one.bar.setAttribute("x", String(100 - width));
      one.bar.setAttribute("width", String(width));
    });
  }

  private showTrades(): void {
    const least = Number(at<HTMLInputElement>("least").value) || 0;
    const shown = this.recent.filter((row) => Number(row.size) >= least).slice(-TRADES).reverse();
    const box = at("trade-rows");
    while (box.children.length < shown.length) {
      const line = make("div", "trade");
      line.append(make("span", "number"), make("span", "number"), make("time", "number"));
      box.append(line);
    }
    [...box.children].forEach((line, index) => {
      const row = shown[index];
      (line as HTMLElement).hidden = !row;
      if (!row) return;
      (line as HTMLElement).dataset["tone"] = row.side === "buy" ? "up" : "down";
      const [price, size, time] = [...line.children] as HTMLElement[];
      if (price) write(price, `${row.side === "buy" ? "▲" : "▼"} ${padded(row.price, this.places)}`);
      if (size) write(size, row.size);
      if (time) write(time, clock(row.ts_event ?? row.ts_recv, this.view.zone, true));
    });
  }
}
