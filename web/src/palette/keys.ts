/** The keys people know. */
import { at, make } from "../dom";

export interface Deeds {
  scroll(bars: number): void;
  zoom(factor: number): void;
  now(): void;
  fit(): void;
  scale(name: "log" | "percent"): void;
  invert(): void;
  date(): void;
  picture(): void;
  alert(): void;
  undo(): void;
  redo(): void;
  indicators(): void;
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
  ["Alt+P", "scale in per cent"],
  ["Alt+I", "scale upside down"],
  ["Alt+G", "go to a date"],
  ["Alt+A", "alert at the crosshair"],
  ["Alt+S", "save the picture"],
  ["Ctrl+Z Ctrl+Y", "undo, redo a change of the view"],
  ["double click", "a pane alone, all panes again"],
  ["1 … 9", "interval"],
  ["/ or a letter", "search a symbol"],
  ["↑ ↓", "symbol before, after"],
  ["i", "indicators"],
  ["o", "status of the run"],
  ["Ctrl+K or :", "all commands"],
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
  const isTyped = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
  if (isTyped || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  const done = event.ctrlKey || event.metaKey ? withControl(event, deeds) : event.altKey ? withAlt(event, deeds) : plain(event, deeds, dialog);
  if (done) event.preventDefault();
}

function withAlt(event: KeyboardEvent, deeds: Deeds): boolean {
  if (event.code === "KeyR") deeds.fit();
  else if (event.code === "KeyL") deeds.scale("log");
  else if (event.code === "KeyP") deeds.scale("percent");
  else if (event.code === "KeyI") deeds.invert();
  else if (event.code === "KeyG") deeds.date();
  else if (event.code === "KeyA") deeds.alert();
  else if (event.code === "KeyS") deeds.picture();
  else return false;
  return true;
}

function withControl(event: KeyboardEvent, deeds: Deeds): boolean {
  const key = event.key.toLowerCase();
  if (event.altKey) return false;
  if (key === "y" || (key === "z" && event.shiftKey)) deeds.redo();
  else if (key === "z") deeds.undo();
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
  else if (event.key === "i") deeds.indicators();
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
