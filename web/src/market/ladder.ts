/** The order book as levels of some ticks each: exact sums, best first. */
import { scaled, unscaled } from "./exact";

export interface Step {
  price: string;
  size: string;
  /** All sizes up to here. */
  total: string;
  /** Some of it may lie beyond what is sent. */
  isOpen: boolean;
}

/** Ticks in a level. */
export const MULTIPLES: readonly number[] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const SIZE_PLACES = 8;

type Rows = readonly (readonly [string, string])[];

/** Bids are rounded down and asks up, so that no level looks better than it is. */
export function group(rows: Rows, side: "bid" | "ask", tick: string, places: number, multiple: number): Step[] {
  const width = scaled(tick, places) * BigInt(multiple);
  const sums = new Map<bigint, bigint>();
  for (const [price, size] of rows) {
    const exact = scaled(price, places);
    const below = (exact / width) * width;
    const level = side === "bid" || below === exact ? below : below + width;
    sums.set(level, (sums.get(level) ?? 0n) + scaled(size, SIZE_PLACES));
  }
  let total = 0n;
  return [...sums].map(([level, size], index) => {
    total += size;
    return { price: unscaled(level, places), size: short(size), total: short(total), isOpen: multiple > 1 && index === sums.size - 1 };
  });
}

/** Without zeros at the end. */
const short = (size: bigint): string => unscaled(size, SIZE_PLACES).replace(/\.?0+$/, "");

/** The distance of the best prices: exact, in ticks, in hundredths of a per cent. */
export function spread(bid: string, ask: string, tick: string, places: number): string {
  const wide = scaled(ask, places) - scaled(bid, places);
  const ticks = wide / scaled(tick, places);
  const points = (Number(wide) / Number(scaled(bid, places))) * 10_000;
  return `${unscaled(wide, places)} · ${ticks} ${ticks === 1n ? "tick" : "ticks"} · ${points.toFixed(2)} bp`;
}
