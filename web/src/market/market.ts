/** The order book and the trades of the shown symbol. */
import * as api from "../api";
import { at, hide, make, write } from "../dom";
import { clock, decimals, padded } from "../format";
import { group, MULTIPLES, spread, type Step } from "./ladder";
import type { Stream } from "../stream";
import { framed } from "../ticks";
import type { BookRow, QuoteRow, TradeRow } from "../types/rows";
import type { View } from "../view";

const LEVELS = 10;
/** Trades are read line by line: oftener than this nobody follows. */
const TRADES_MS = 375;
const GROUP_KEY = "tapeflow.group";
const TRADES = 60;
/** Trades kept, so that the size filter has some to show. */
const KEPT = 500;

interface Level {
  element: HTMLElement;
  price: HTMLElement;
  size: HTMLElement;
  total: HTMLElement;
  /** Of its bar, in parts of the line. */
  width: number;
}

interface Line {
  element: HTMLElement;
  row: TradeRow | null;
  price: HTMLElement;
  size: HTMLElement;
  time: HTMLElement;
}

function level(side: string): Level {
  const element = make("div", `level ${side}`);
  const price = make("span", "number");
  const size = make("span", "number");
  const total = make("span", "number");
  element.append(price, size, total);
  return { element, price, size, total, width: -1 };
}

function line(): Line {
  const element = make("div", "trade");
  const price = make("span", "number");
  const size = make("span", "number");
  const time = make("time", "number");
  element.append(price, size, time);
  return { element, row: null, price, size, time };
}

/** By time, then by id as a number. */
function inOrder(a: TradeRow, b: TradeRow): number {
  return (a.ts_event ?? a.ts_recv) - (b.ts_event ?? b.ts_recv) || a.id.length - b.id.length || (a.id < b.id ? -1 : 1);
}

export class Market {
  private leave: (() => void)[] = [];
  private book: BookRow | null = null;
  private recent: TradeRow[] = [];
  private fresh: TradeRow[] = [];
  private readonly lines: Line[] = [];
  private places = 2;
  private tick = "0.01";
  /** Place in `MULTIPLES`. */
  private multiple = Math.max(0, MULTIPLES.indexOf(Number(localStorage.getItem(GROUP_KEY))));
  private zone = "";
  /** Decimals of the sizes seen: they are read by their points. */
  private sizePlaces = 0;
  private readonly asks: Level[] = [];
  private readonly bids: Level[] = [];
  private readonly middle = make("div", "middle");
  private readonly drawBook = framed(() => this.showBook());
  private readonly drawTrades = framed(() => this.showTrades(), TRADES_MS);

  constructor(
    private readonly stream: Stream,
    private readonly view: View,
    private readonly heard: (ts: number) => void,
  ) {
    const rows = at("book-rows");
    for (let index = 0; index < LEVELS; index += 1) this.asks.push(level("ask"));
    for (let index = 0; index < LEVELS; index += 1) this.bids.push(level("bid"));
    rows.append(...[...this.asks].reverse().map((one) => one.element), this.middle, ...this.bids.map((one) => one.element));
    at("least").addEventListener("input", this.drawTrades);
    at("finer").addEventListener("click", () => this.regroup(-1));
    at("coarser").addEventListener("click", () => this.regroup(1));
  }

  private regroup(step: number): void {
    this.multiple = Math.min(MULTIPLES.length - 1, Math.max(0, this.multiple + step));
    localStorage.setItem(GROUP_KEY, String(MULTIPLES[this.multiple]));
    this.showGroup();
    this.showBook();
  }

  private showGroup(): void {
    write(at("group"), (Number(this.tick) * (MULTIPLES[this.multiple] ?? 1)).toFixed(this.places));
    at<HTMLButtonElement>("finer").disabled = this.multiple === 0;
    at<HTMLButtonElement>("coarser").disabled = this.multiple === MULTIPLES.length - 1;
  }

  /** Prices move by another tick than was known; what is shown stays. */
  retick(tick: string): void {
    this.places = decimals(tick);
    this.tick = tick;
    this.showGroup();
    for (const one of this.lines) one.row = null;
    this.showBook();
    this.drawTrades();
  }

  open(tick: string): void {
    for (const leave of this.leave) leave();
    this.book = null;
    this.retick(tick);
    this.sizePlaces = 0;
    this.recent = [];
    this.fresh = [];
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
      this.stream.subscribe("book", symbol, undefined, { rows: books, refused: () => this.become(false) }),
    ];
    void this.load(symbol);
  }

  private async load(symbol: string): Promise<void> {
    const page = await api.trades({ symbol, limit: TRADES }).catch(() => null);
    if (page && symbol === this.view.symbol) this.take(page.data);
  }

  private take(rows: TradeRow[]): void {
    this.fresh.push(...rows);
    if (this.fresh.length > 4 * KEPT) this.fresh.splice(0, this.fresh.length - KEPT); // a page that is not seen does not draw
    this.drawTrades();
  }

  /** What came since the last frame, each trade once and in order. */
  private merge(): void {
    if (!this.fresh.length) return;
    const known = new Map([...this.recent, ...this.fresh].map((row) => [row.id, row]));
    this.recent = [...known.values()].sort(inOrder).slice(-KEPT);
    const places = Math.max(this.sizePlaces, ...this.fresh.map((row) => decimals(row.size)));
    if (places !== this.sizePlaces) for (const one of this.lines) one.row = null;
    this.sizePlaces = places;
    this.fresh = [];
  }

  private quote(row: QuoteRow): void {
    this.spread(row.bid, row.ask);
  }

  private spread(bid: string, ask: string): void {
    write(at("spread"), spread(bid, ask, this.tick, this.places));
  }

  /** A run without books shows the spread of its quotes in the place of one, and nothing where it has none either. */
  private become(hasBook: boolean): void {
    if (at("book").classList.contains("absent") !== hasBook) return;
    at("book").classList.toggle("absent", !hasBook);
    write(at("book-name"), hasBook ? "Book" : "Spread");
    at("book").ariaLabel = hasBook ? "Order book" : "Spread";
  }

  private showBook(): void {
    if (!this.book) return;
    this.become(true);
    const { bids, asks } = this.book;
    const multiple = MULTIPLES[this.multiple] ?? 1;
    const sell = group(asks, "ask", this.tick, this.places, multiple).slice(0, LEVELS);
    const buy = group(bids, "bid", this.tick, this.places, multiple).slice(0, LEVELS);
    const most = Math.max(Number(sell.at(-1)?.total ?? 0), Number(buy.at(-1)?.total ?? 0)) || 1;
    this.showSide(this.asks, sell, most);
    this.showSide(this.bids, buy, most);
    const [bid, ask] = [bids[0]?.[0], asks[0]?.[0]];
    if (bid === undefined || ask === undefined) return;
    this.spread(bid, ask);
    write(this.middle, ((Number(bid) + Number(ask)) / 2).toFixed(this.places + 1));
  }

  private showSide(levels: Level[], steps: readonly Step[], most: number): void {
    const places = Math.max(0, ...steps.map((step) => decimals(step.total)), ...steps.map((step) => decimals(step.size)));
    levels.forEach((one, index) => {
      const step = steps[index];
      write(one.price, step?.price ?? "");
      write(one.size, step ? `${step.isOpen ? "≥ " : ""}${padded(step.size, places)}` : "");
      write(one.total, step ? padded(step.total, places) : "");
      this.stretch(one, step ? Math.round((Number(step.total) / most) * 200) / 200 : 0);
    });
  }

  private stretch(one: Level, width: number): void {
    if (one.width === width) return;
    one.width = width;
    one.element.style.backgroundSize = `${width * 100}% 100%`; // painted: a bar that is transformed would be a layer of its own
  }

  private showTrades(): void {
    this.merge();
    const least = Number(at<HTMLInputElement>("least").value) || 0;
    const shown = this.recent.filter((row) => Number(row.size) >= least).slice(-TRADES).reverse();
    if (this.zone !== this.view.zone) for (const one of this.lines) one.row = null;
    this.zone = this.view.zone;
    this.shift(shown);
    shown.forEach((row, index) => this.showTrade(this.lines[index] as Line, row));
    this.lines.slice(shown.length).forEach((one) => {
      one.row = null;
      hide(one.element, true);
    });
  }

  /** Lines at the bottom go to the top for new trades: those between are as they were, and nothing of them is written. */
  private shift(shown: TradeRow[]): void {
    const box = at("trade-rows");
    const fresh: Line[] = [];
    while (this.lines.length + fresh.length < shown.length) fresh.push(line());
    const top = this.lines[0]?.row?.id;
    const moved = Math.max(0, shown.findIndex((row) => row.id === top) - fresh.length);
    if (moved) fresh.push(...this.lines.splice(-moved));
    if (!fresh.length) return;
    box.prepend(...fresh.map((one) => one.element));
    this.lines.unshift(...fresh);
  }

  private showTrade(one: Line, row: TradeRow): void {
    if (one.row?.id === row.id) return;
    one.row = row;
    hide(one.element, false);
    const isBuy = row.side === "buy";
    one.element.dataset["tone"] = isBuy ? "up" : "down";
    write(one.price, `${isBuy ? "▲" : "▼"} ${padded(row.price, this.places)}`);
    write(one.size, padded(row.size, this.sizePlaces));
    write(one.time, clock(row.ts_event ?? row.ts_recv, this.view.zone, true));
  }
}
