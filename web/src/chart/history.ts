/** The candles that are known, in order, each once; and what of their time was not seen. No drawing. */
import type { Gap } from "../api";
import type { Shade } from "./gaps";
import type { Stretch } from "./stretch";
import type { CandleRow } from "../types/rows";

/** Empty windows that are drawn within one gap at most. */
const EMPTY = 300;

export class History {
  rows: CandleRow[] = [];
  gaps: Gap[] = [];
  /** Times drawn, in seconds: of the rows, and of windows missing within gaps. */
  times: number[] = [];

  constructor(private readonly seconds: number) {}

  get first(): CandleRow | undefined {
    return this.rows[0];
  }

  get last(): CandleRow | undefined {
    return this.rows.at(-1);
  }

  /** Where a row with this start is, or would be. */
  find(start: number): number {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.rows[middle] as CandleRow).ts_start < start) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  row(seconds: number): CandleRow | undefined {
    const found = this.rows[this.find(seconds * 1e6)];
    return found?.ts_start === seconds * 1e6 ? found : undefined;
  }

  /** Take a row unless a better one is known; false if so. `isNew` tells that no row began there. */
  put(row: CandleRow): "same" | "changed" | "last" | "inserted" {
    const index = this.find(row.ts_start);
    const known = this.rows[index];
    if (known?.ts_start === row.ts_start) {
      if (!isBetter(row, known) || isSame(row, known)) return "same";
      this.rows[index] = row;
      return "changed";
    }
    this.rows.splice(index, 0, row);
    return index === this.rows.length - 1 ? "last" : "inserted";
  }

  /** The first rows are known no more, nor what was missing among them. */
  drop(count: number): void {
    this.rows = this.rows.slice(count);
    const first = this.first?.ts_start ?? 0;
    this.gaps = this.gaps.filter((gap) => gap.ts_end > first);
  }

  /** Take a page at once; whether any row is another than was known. */
  merge(rows: CandleRow[], gaps: Gap[]): boolean {
    const [first, last] = [this.first, rows.at(-1)];
    if (first && last && last.ts_start < first.ts_start) { // one by one each would move all that is known
      this.rows = rows.concat(this.rows);
      this.note(gaps);
      return true;
    }
    const isNew = rows.map((row) => this.put(row)).some((what) => what !== "same");
    this.note(gaps);
    return isNew;
  }

  /** Gaps of a range that was asked for; those that touch are one. */
  note(gaps: Gap[]): void {
    const all = [...this.gaps, ...gaps].sort((a, b) => a.ts_start - b.ts_start);
    this.gaps = [];
    for (const gap of all) {
      const before = this.gaps.at(-1);
      if (before && before.reason === gap.reason && gap.ts_start <= before.ts_end) {
        before.ts_end = Math.max(before.ts_end, gap.ts_end);
      } else this.gaps.push({ ...gap });
    }
  }

  /** The answer about a range replaces what was known of it: holes are refilled. Whether that is another. */
  renew(gaps: Gap[], start: number, end: number): boolean {
    const known = JSON.stringify(this.gaps);
    const kept = this.gaps.flatMap((gap) => [
      ...(gap.ts_start < start ? [{ ...gap, ts_end: Math.min(gap.ts_end, start) }] : []),
      ...(gap.ts_end > end ? [{ ...gap, ts_start: Math.max(gap.ts_start, end) }] : []),
    ]);
    this.gaps = kept;
    this.note(gaps);
    return JSON.stringify(this.gaps) !== known;
  }

  /** Lay out the times that are drawn; what is missing within a gap gets its empty place. */
  layout(): void {
    const starts = this.rows.map((row) => row.ts_start / 1e6);
    const [first, last] = [starts[0], starts.at(-1)];
    if (first === undefined || last === undefined || !this.gaps.length) {
      this.times = starts;
      return;
    }
    const known = new Set(starts);
    const empty: number[] = [];
    for (const gap of this.gaps) {
      const from = Math.max(first, Math.floor(gap.ts_start / 1e6 / this.seconds) * this.seconds);
      const to = Math.min(last, gap.ts_end / 1e6);
      let number = 0;
      for (let time = from; time < to && number < EMPTY; time += this.seconds) {
        if (known.has(time)) continue;
        known.add(time);
        empty.push(time);
        number += 1;
      }
    }
    this.times = empty.length ? [...starts, ...empty].sort((a, b) => a - b) : starts;
  }

  /** Where a time is among `times`, or would be. */
  index(seconds: number): number {
    return lower(this.times, seconds);
  }

  /** What is drawn in a stretch of `times`: each with its row, if there is one. */
  drawn({ from, to }: Stretch): { time: number; row: CandleRow | undefined }[] {
    let at = this.find((this.times[from] ?? 0) * 1e6);
    return this.times.slice(from, to).map((time) => {
      const row = this.rows[at];
      if (row?.ts_start !== time * 1e6) return { time, row: undefined };
      at += 1;
      return { time, row };
    });
  }

  /** What of a stretch of `times` lies in gaps, counted from its begin. */
  shades({ from: begin, to: end }: Stretch): Shade[] {
    const found: Shade[] = [];
    for (const gap of this.gaps) {
      const from = gap.ts_start / 1e6;
      const to = gap.ts_end / 1e6;
      for (let index = Math.max(begin, this.index(from - this.seconds + 1e-6)); index < end; index += 1) {
        const time = this.times[index] as number;
        if (time >= to) break;
        const row = this.row(time);
        const isCovered = row?.source === "venue";
        const place = index - begin;
        const before = found.at(-1);
        if (before && before.to === place - 1 && before.isCovered === isCovered && before.reason === gap.reason) before.to = place;
        else found.push({ from: place, to: place, reason: gap.reason ?? "", isCovered });
      }
    }
    return found;
  }
}

function lower(times: number[], least: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((times[middle] as number) < least) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isSame(row: CandleRow, known: CandleRow): boolean {
  return row.closed && known.closed && row.revision === known.revision && row.count === known.count && row.close === known.close && row.source === known.source;
}

/** Closed is better than forming, a later revision than an earlier one, more trades than fewer. */
export function isBetter(row: CandleRow, known: CandleRow): boolean {
  if (row.closed !== known.closed) return row.closed;
  if (row.revision !== known.revision) return row.revision > known.revision;
  return row.closed || row.count >= known.count;
}
