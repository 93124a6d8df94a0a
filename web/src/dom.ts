/** Small helpers over the document. */

export function at<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id} in index.html`);
  return found as T;
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  text = "",
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** Write only what differs, into the text that is there: a new node would be styled and attached anew each time. */
export function write(element: HTMLElement, text: string): void {
  const { firstChild } = element;
  if (firstChild instanceof Text && !firstChild.nextSibling) {
    if (firstChild.data !== text) firstChild.data = text;
  } else if (element.textContent !== text) element.textContent = text;
}

/** The same for what the style sheet tells apart. */
export function mark(element: HTMLElement, name: string, value: string): void {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

let hiding = 0;
export function toast(text: string): void {
  const box = at("toast");
  box.textContent = text;
  box.hidden = false;
  window.clearTimeout(hiding);
  hiding = window.setTimeout(() => (box.hidden = true), 3000);
}

/** What is seen changes at most so often: a glance tells no more, and each frame costs a layout and a paint. */
const FRAME_MS = 125;

interface Work {
  run(): void;
  every(): number;
  due: number;
  isAsked: boolean;
}

const works = new Set<Work>();
let waking = 0;
let wakes = Infinity;

/**
 * Call `work` soon, once however often it was asked for, together with all other work: one layout, one paint for all.
 * `every` is the least time between two calls in milliseconds; where it changes, a function that tells it.
 */
export function framed(work: () => void, every: number | (() => number) = FRAME_MS): () => void {
  const least = typeof every === "number" ? () => every : () => Math.max(FRAME_MS, every());
  const made: Work = { run: work, every: least, due: 0, isAsked: false };
  works.add(made);
  return () => {
    if (made.isAsked) return;
    made.isAsked = true;
    wake(made.due);
  };
}

function wake(due: number): void {
  if (document.hidden) return; // a page that is not seen draws nothing; it is woken when it is
  // All work is done at the same ticks: whole frames since the page began.
  const at = Math.ceil(Math.max(performance.now() + 1, due) / FRAME_MS) * FRAME_MS;
  if (at >= wakes) return;
  window.clearTimeout(waking);
  wakes = at;
  waking = window.setTimeout(run, Math.ceil(at - performance.now()));
}

function run(): void {
  wakes = Infinity;
  const now = performance.now();
  for (const work of works) {
    if (!work.isAsked) continue;
    if (work.due > now + 1) {
      wake(work.due);
      continue;
    }
    work.isAsked = false;
    work.due = now + work.every() - FRAME_MS / 2;
    try {
      work.run();
    } catch (error) {
      reportError(error); // the rest is drawn all the same
    }
  }
}

document.addEventListener("visibilitychange", () => wake(0));

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
export const isCalm = (): boolean => calm.matches;
