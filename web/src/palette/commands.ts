/** What the palette offers. Buttons are found where they stand, so that none can be forgotten. */
import type { Command } from "./palette";

const KEY = /^(?:(Alt|Ctrl)\+)?(\w|End|\?)$/;

export const textOf = (element: Element): string =>
  (element.getAttribute("aria-label") ?? element.textContent ?? "").replaceAll(/\s+/g, " ").trim();

function groupOf(element: Element): string {
  const box = element.closest("[role=group][aria-label]") ?? element.closest("section[aria-label], nav[aria-label]");
  return box ? (box.getAttribute("aria-label") ?? "").replace(/:.*/, "") : "Page";
}

/** Alone a button may show what it is set to; its title then says what it does. */
function nameOf(element: HTMLElement): string {
  const does = element.title.replace(/\s*\(.*\)$/, "");
  return groupOf(element) === "Page" && does ? does : textOf(element);
}

/** Every button that could be pressed now, also those of closed menus. */
export function buttons(): Command[] {
  const found = [...document.querySelectorAll<HTMLElement>("button, summary")];
  return found
    .filter((one) => !one.closest("dialog") && !one.matches(":disabled, [data-quiet]") && !isAbsent(one) && textOf(one))
    .map((one) => ({ title: nameOf(one), group: groupOf(one), hint: hintOf(one), run: () => press(one) }));
}

/** A button of a view that is shut can be pressed only when that is open. */
const isAbsent = (element: Element): boolean => element.closest("[hidden]") !== null;

function press(element: HTMLElement): void {
  element.click();
  if (element.matches("summary")) element.focus();
}

const hintOf = (element: HTMLElement): string => /\(\s*([^)]+?)\s*\)/.exec(element.title)?.[1] ?? "";

/** Fields to type in, and parts of the page to go to. */
export function places(show: (element: HTMLElement) => void): Command[] {
  const fields = [...document.querySelectorAll<HTMLElement>("main input")].filter((one) => !isAbsent(one));
  const panels = [...document.querySelectorAll<HTMLElement>("main section[aria-label]")];
  const named = (element: HTMLElement): string => textOf(element.closest("label") ?? element) || textOf(element);
  return [
    ...fields.map((one) => ({ title: named(one), group: groupOf(one), hint: "", run: () => go(one, show) })),
    ...panels.map((one) => ({ title: groupOf(one), group: "Go to", hint: "", run: () => go(one, show) })),
  ];
}

function go(element: HTMLElement, show: (element: HTMLElement) => void): void {
  show(element);
  element.scrollIntoView({ block: "nearest" });
  if (element.tabIndex < 0) element.tabIndex = -1;
  element.focus();
}

/** The keys as their dialog lists them. */
export function keys(): Command[] {
  return [...document.querySelectorAll("#keys dt")].map((term) => {
    const hint = textOf(term);
    const title = textOf(term.nextElementSibling ?? term);
    return { title, group: "Keys", hint, run: () => strike(hint) };
  });
}

/** As if the key were pressed; where the list names several keys, the list itself. */
function strike(hint: string): void {
  const [, held, key] = KEY.exec(hint) ?? [];
  if (!key) {
    document.querySelector<HTMLDialogElement>("#keys")?.showModal();
    return;
  }
  const code = /^[A-Za-z]$/.test(key) ? `Key${key.toUpperCase()}` : key;
  const how = { key: held ? key.toLowerCase() : key, code, altKey: held === "Alt", ctrlKey: held === "Ctrl", bubbles: true };
  document.dispatchEvent(new KeyboardEvent("keydown", how));
}

/** One of several: chosen directly, however many presses of its button away. */
export const choices = <T extends string>(group: string, names: readonly T[], choose: (name: T) => void): Command[] =>
  names.map((name) => ({ title: name, group, hint: "", run: () => choose(name) }));

/** Type into the search field of a dialog that has been opened. */
export function typeInto(dialog: string, text: string): void {
  const field = document.querySelector<HTMLInputElement>(`#${dialog} input[type=search]`);
  if (!field) return;
  field.value = text;
  field.dispatchEvent(new Event("input"));
}
