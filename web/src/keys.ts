/** The keys people know. */
import { at, make } from "./dom";

export interface Deeds {
  scroll(bars: number): void;
  zoom(factor: number): void;
  now(): void;
  fit(): void;
  log(): void;
  interval(index: number): void;
  symbol(step: number): void;
  operator(): void;
}

const MAP: readonly [string, string][] = [
  ["← →", "scroll (Shift: a page)"],
  ["+ −", "zoom"],
  ["End", "back to now"],
  ["Alt+R", "show all that is loaded"],
  ["Alt+L", "logarithmic scale"],
  ["1 … 9", "interval"],
  ["/ or a letter", "search a symbol"],
  ["↑ ↓", "symbol before, after"],
  ["i", "indicators"],
  ["o", "status of the run"],
  ["?", "these keys"],
];

export function listen(deeds: Deeds): void {
  const dialog = at<HTMLDialogElement>("keys");
  const list = make("dl");
  for (const [key, what] of MAP) list.append(make("dt", "", key), make("dd", "", what));
  const close = make("button", "", "Close");
  close.addEventListener("click", () => dialog.close());
  dialog.append(make("h2", "", "Keys"), list, close);
  at("help").addEventListener("click", () => dialog.showModal());
  document.addEventListener("keydown", (event) => press(event, deeds, dialog));
  // A menu closes when one looks elsewhere.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.menu[open]")) {
      if (!menu.contains(event.target as Node)) menu.open = false;
    }
  });
}

function press(event: KeyboardEvent, deeds: Deeds, dialog: HTMLDialogElement): void {
  const { target } = event;
  if (event.key === "Escape") for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.menu[open]")) menu.open = false;
  if (target instanceof HTMLInputElement || dialog.open || event.ctrlKey || event.metaKey) return;
  const done = event.altKey ? withAlt(event, deeds) : plain(event, deeds, dialog);
  if (done) event.preventDefault();
}

function withAlt(event: KeyboardEvent, deeds: Deeds): boolean {
  if (event.code === "KeyR") deeds.fit();
  else if (event.code === "KeyL") deeds.log();
  else return false;
  return true;
}

function plain(event: KeyboardEvent, deeds: Deeds, dialog: HTMLDialogElement): boolean {
  const step = event.shiftKey ? 50 : 5;
  const isScrolled = event.target instanceof HTMLElement && event.target.classList.contains("scroll");
  if (event.key === "ArrowLeft") deeds.scroll(-step);
  else if (event.key === "ArrowRight") deeds.scroll(step);
  else if (event.key === "ArrowUp" && !isScrolled) deeds.symbol(-1);
  else if (event.key === "ArrowDown" && !isScrolled) deeds.symbol(1);
  else if (event.key === "+" || event.key === "=") deeds.zoom(1.25);
  else if (event.key === "-") deeds.zoom(0.8);
  else if (event.key === "End") deeds.now();
  else if (event.key === "?") dialog.showModal();
  else if (event.key === "i") at<HTMLDetailsElement>("indicators-menu").open = true;
  else if (event.key === "o") deeds.operator();
  else if (/^[1-9]$/.test(event.key)) deeds.interval(Number(event.key) - 1);
  else if (event.key === "/") at("search").focus();
  else if (/^[a-zA-Z]$/.test(event.key)) return letter(event.key);
  else return false;
  return true;
}

function letter(key: string): boolean {
  const search = at<HTMLInputElement>("search");
  search.value = key.toUpperCase();
  search.focus();
  search.dispatchEvent(new Event("input"));
  return true;
}
