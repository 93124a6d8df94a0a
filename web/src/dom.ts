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

/** Hide it or show it; an attribute that is written anew is styled anew. */
export function hide(element: HTMLElement, isHidden: boolean): void {
  if (element.hidden !== isHidden) element.hidden = isHidden;
}

let hiding = 0;
export function toast(text: string): void {
  const box = at("toast");
  box.textContent = text;
  box.hidden = false;
  window.clearTimeout(hiding);
  hiding = window.setTimeout(() => (box.hidden = true), 3000);
}

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
export const isCalm = (): boolean => calm.matches;
