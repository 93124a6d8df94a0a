/**
 * When what is seen changes: all of it at the same ticks, one layout and one paint for all.
 *
 * Each tick costs milliseconds whatever it shows, so a market that moves little is drawn a few times a second, which a
 * glance follows; in a fast one a price of that age would be wrong, so ticks come as often as a screen shows frames.
 */
const CALM_MS = 300;
const FAST_MS = 16;
/** Asked for so often in a second, ticks begin to come sooner, and come soonest. */
const CALM = 120;
const FAST = 250;
/** How fast is told by about the last second. */
const MEMORY_MS = 1000;

interface Work {
  run(): void;
  every(): number;
  due: number;
  isAsked: boolean;
}

const works = new Set<Work>();
let waking = 0;
let wakes = Infinity;
let ran = 0;
let asks = 0;
/** Asked for in a second. */
let rate = 0;
let tick = CALM_MS;

/**
 * Call `work` at the next tick, once however often it was asked for. `every` is the least time between two calls in
 * milliseconds; where it changes, a function that tells it.
 */
export function framed(work: () => void, every: number | (() => number) = 0): () => void {
  const made: Work = { run: work, every: typeof every === "number" ? () => every : every, due: 0, isAsked: false };
  works.add(made);
  return () => {
    asks += 1;
    if (made.isAsked) return;
    made.isAsked = true;
    wake(made.due);
  };
}

function wake(due: number): void {
  if (document.hidden) return; // a page that is not seen draws nothing; it is woken when it is
  const now = performance.now();
  const at = Math.max(now + 1, due, ran + tick);
  if (at >= wakes) return;
  window.clearTimeout(waking);
  wakes = at;
  waking = window.setTimeout(run, Math.ceil(at - now));
}

function run(): void {
  wakes = Infinity;
  const now = performance.now();
  pace(now);
  for (const work of works) {
    if (!work.isAsked) continue;
    if (work.due > now + 1) {
      wake(work.due);
      continue;
    }
    work.isAsked = false;
    work.due = now + Math.max(tick, work.every()) - tick / 2; // the tick that is nearest to it
    try {
      work.run();
    } catch (error) {
      reportError(error); // the rest is drawn all the same
    }
  }
}

function pace(now: number): void {
  const since = Math.max(1, now - ran);
  rate += ((asks * 1000) / since - rate) * (1 - Math.exp(-since / MEMORY_MS));
  asks = 0;
  ran = now;
  const haste = Math.min(1, Math.max(0, (rate - CALM) / (FAST - CALM)));
  tick = CALM_MS + haste * (FAST_MS - CALM_MS);
}

document.addEventListener("visibilitychange", () => wake(0));
