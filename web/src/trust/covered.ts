/** Whether a stretch of time was seen whole, as the rows of coverage say. Times are microseconds. */
import type { CoverageRow } from "../types/rows";

export interface Stretch {
  start: number;
  end: number;
}

export const STATES = { complete: "complete", partial: "partial", none: "nothing", ahead: "not yet" };
export type State = keyof typeof STATES;

export interface Cell {
  state: State;
  gaps: (Stretch & { reason: string | null })[];
}

/** The newest rows end at their last message: so much later is still now. */
const FRESH_US = 60_000_000;

/** What was seen, in order, stretches that touch joined. */
export function spans(rows: readonly CoverageRow[]): Stretch[] {
  const seen = rows.filter((row) => row.state === "complete").map((row) => ({ start: row.ts_start, end: row.ts_end }));
  const found: Stretch[] = [];
  for (const one of seen.sort((a, b) => a.start - b.start)) {
    const last = found.at(-1);
    if (last && one.start <= last.end) last.end = Math.max(last.end, one.end);
    else found.push(one);
  }
  return found;
}

export function cell(seen: readonly Stretch[], rows: readonly CoverageRow[], asked: Stretch, now: number): Cell {
  if (asked.start > now) return { state: "ahead", gaps: [] };
  const newest = seen.at(-1)?.end ?? 0;
  const end = Math.min(asked.end, newest > now - FRESH_US ? newest : now);
  const inside = seen.filter((one) => one.start < end && one.end > asked.start);
  const isWhole = inside.some((one) => one.start <= asked.start && one.end >= end);
  const gaps = rows
    .filter((row) => row.state !== "complete" && row.ts_start < end && row.ts_end > asked.start)
    .map((row) => ({ start: row.ts_start, end: row.ts_end, reason: row.reason }));
  const state = !inside.length ? "none" : isWhole && !gaps.length ? "complete" : "partial";
  return { state, gaps };
}
