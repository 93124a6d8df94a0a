/**
 * Which bars the library is given: those that are seen and some screens to each side. It makes every bar that it has anew
 * when one changes, so the rest stays with us. Indices are those of all bars that are loaded.
 */
export interface Stretch {
  from: number;
  to: number; // exclusive
}

/** Beyond each side of what is seen: at least so many bars, and so many screens. */
const LEAST = 1000;
const SCREENS = 1.5;
/** A hand moves what is seen by one screen at most before it is lifted: with less than that at a side, more is put in. */
const ENOUGH = 1.1;
/** With so many times what is wanted, it is time for less. */
const MUCH = 2;

const width = (one: Stretch): number => Math.max(1, one.to - one.from);

/** What is to be in the series for what is seen, of so many bars; never nothing where there is something. */
export function wanted(seen: Stretch, count: number): Stretch {
  const side = Math.max(LEAST, Math.ceil(SCREENS * width(seen)));
  const to = Math.min(count, Math.max(1, Math.ceil(seen.to) + side));
  return { from: Math.max(0, Math.min(to - 1, Math.floor(seen.from) - side)), to };
}

/** Whether what is in the series will do; at the left only, while the right end must stay where it is. */
export function isEnough(now: Stretch, seen: Stretch, count: number, isLeftOnly: boolean): boolean {
  const side = ENOUGH * width(seen);
  const isLeft = now.from === 0 || seen.from - now.from >= side;
  const isRight = isLeftOnly || now.to === count || now.to - seen.to >= side;
  return isLeft && isRight && width(now) <= MUCH * width(wanted(seen, count));
}
