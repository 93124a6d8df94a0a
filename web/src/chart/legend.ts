/** The legend: the exact values under the crosshair, or the newest. Made once; only texts change. */
import { hide, make, write } from "../dom";
import { moment, percent, reason, secondsOf, type Zone } from "../format";
import type { Shade } from "./gaps";
import { title, type Pick } from "./names";
import type { CandleRow } from "../types/rows";

export interface Shown {
  row: CandleRow | undefined;
  shade: Shade | undefined;
  isHovered: boolean;
  name: string;
  zone: Zone;
}

const PRICES = [["O", "open"], ["H", "high"], ["L", "low"], ["C", "close"]] as const;

function show(element: HTMLElement, text: string | undefined): void {
  hide(element, text === undefined);
  if (text !== undefined) write(element, text);
}

/** A name with its value; hidden as a whole without one. */
class Pair {
  readonly element = make("span");
  private readonly value = make("b");

  constructor(name: string) {
    this.element.append(make("i", "", name), this.value);
  }

  show(text: string | undefined, tone = ""): void {
    hide(this.element, text === undefined);
    if (text === undefined) return;
    write(this.value, text);
    if (this.value.className !== tone) this.value.className = tone;
  }
}

/** The line of the candle. */
export class CandleLine {
  readonly element = make("div", "line");
  private readonly name = make("strong");
  private readonly time = make("span");
  private readonly prices = PRICES.map(([name]) => new Pair(name));
  private readonly change = make("span");
  private readonly volume = new Pair("Vol");
  private readonly count = new Pair("Trades");
  private readonly tags = { forming: make("em", "tag"), venue: make("em", "tag"), revised: make("em", "tag warn"), shade: make("em", "tag warn") };

  constructor() {
    this.element.setAttribute("aria-hidden", "true"); // it changes with each trade: the price in the bar is what is read aloud
    this.element.append(
      this.name, this.time, ...this.prices.map((one) => one.element), this.change, this.volume.element, this.count.element,
      ...Object.values(this.tags),
    );
  }

  show({ row, shade, isHovered, name, zone }: Shown): void {
    write(this.name, name);
    show(this.time, row && isHovered ? moment(row.ts_start / 1e6, zone, secondsOf(row.interval) < 60) : undefined);
    const ratio = row ? Number(row.close) / Number(row.open) - 1 : 0;
    const tone = ratio >= 0 ? "up" : "down";
    PRICES.forEach(([, field], index) => this.prices[index]?.show(row?.[field], tone));
    show(this.change, row && percent(ratio));
    if (this.change.className !== tone) this.change.className = tone;
    this.volume.show(row?.volume);
    this.count.show(row && String(row.count));
    show(this.tags.forming, row && !row.closed ? "forming" : undefined);
    show(this.tags.venue, row?.source === "venue" ? "venue’s" : undefined);
    show(this.tags.revised, row && row.revision > 0 ? `revised ×${row.revision}` : undefined);
    show(this.tags.shade, shade && `${shade.isCovered ? "our trades" : "gap"}: ${reason(shade.reason)}`);
  }
}

/** The line of an indicator: its name opens its settings, the cross removes it. */
export class IndicatorLine {
  readonly element = make("div", "line");
  private readonly values = make("span", "values");
  private readonly pairs = new Map<string, Pair>();

  constructor(readonly pick: Pick, edit: () => void, remove: () => void) {
    const name = make("button", "name", title(pick.name));
    name.title = "Settings";
    name.style.setProperty("--own", pick.colour);
    name.addEventListener("click", edit);
    const drop = make("button", "drop", "×");
    drop.setAttribute("aria-label", `Remove ${title(pick.name)}`);
    drop.addEventListener("click", remove);
    this.values.setAttribute("aria-hidden", "true");
    this.element.append(name, drop, this.values);
  }

  /** These values are derived: digits below any use are left out. */
  show(values: Record<string, number | null> | undefined, keys: readonly string[], places: number, problem: string): void {
    this.element.title = problem;
    for (const key of keys) {
      const value = values?.[key];
      this.pair(key, keys.length > 1).show(value == null ? "–" : String(Number(value.toFixed(places))));
    }
    if (problem) this.pair("", false).show(problem, "warn");
    else this.pairs.get("")?.show(undefined);
  }

  private pair(key: string, isNamed: boolean): Pair {
    let pair = this.pairs.get(key);
    if (!pair) {
      pair = new Pair(isNamed ? key : "");
      this.pairs.set(key, pair);
      this.values.append(pair.element);
    }
    return pair;
  }
}
