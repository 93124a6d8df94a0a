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

/** Write only what differs, so that nothing is laid out again for nothing. */
export function write(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

let hiding = 0;
export function toast(text: string): void {
  const box = at("toast");
  box.textContent = text;
  box.hidden = false;
  window.clearTimeout(hiding);
  hiding = window.setTimeout(() => (box.hidden = true), 3000);
}

/** Call `work` once in the next frame, however often it was asked for. */
export function framed(work: () => void): () => void {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      work();
    });
  };
}

export const isCalm = (): boolean => window.matchMedia("(prefers-reduced-motion: reduce)").matches;
