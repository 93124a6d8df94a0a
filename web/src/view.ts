/** What is shown, as it stands in the URL: a link opens the same view. */
import { isCalm } from "./dom";
import type { Zone } from "./format";

export type Style = "candles" | "hollow" | "bars" | "line" | "area";
export type Theme = "auto" | "dark" | "light";
export const STYLES: readonly Style[] = ["candles", "hollow", "bars", "line", "area"];

export interface View {
  symbol: string;
  interval: string;
  style: Style;
  /** Names of indicators that are shown. */
  shown: string[];
  log: boolean;
  zone: Zone;
  theme: Theme;
}

export function read(): View {
  const given = new URLSearchParams(location.hash.slice(1));
  const style = given.get("style") as Style;
  const theme = (given.get("theme") ?? localStorage.getItem("tapeflow.theme")) as Theme;
  return {
    symbol: given.get("symbol") ?? "",
    interval: given.get("interval") ?? "",
    style: STYLES.includes(style) ? style : "candles",
    shown: (given.get("show") ?? "").split(",").filter(Boolean),
    log: given.get("log") === "1",
    zone: (given.get("zone") ?? localStorage.getItem("tapeflow.zone")) === "local" ? "local" : "utc",
    theme: theme === "dark" || theme === "light" ? theme : "auto",
  };
}

export function write(view: View): void {
  const found = new URLSearchParams({ symbol: view.symbol, interval: view.interval, style: view.style });
  if (view.shown.length) found.set("show", view.shown.join(","));
  if (view.log) found.set("log", "1");
  if (view.zone === "local") found.set("zone", "local");
  if (view.theme !== "auto") found.set("theme", view.theme);
  history.replaceState(null, "", `#${found.toString().replaceAll("%2C", ",").replaceAll("%3A", ":")}`);
  localStorage.setItem("tapeflow.theme", view.theme);
  localStorage.setItem("tapeflow.zone", view.zone);
}

export interface Colours {
  up: string;
  down: string;
  text: string;
  dim: string;
  line: string;
  back: string;
  accent: string;
  warn: string;
}

/** Dress the page; the colours are those of the style sheet, also for what is drawn on canvas. */
export function dress(theme: Theme): Colours {
  document.documentElement.dataset["theme"] = theme;
  document.documentElement.classList.toggle("calm", isCalm());
  const style = getComputedStyle(document.documentElement);
  const of = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return { up: of("up"), down: of("down"), text: of("text"), dim: of("dim"), line: of("line"), back: of("back"), accent: of("accent"), warn: of("warn") };
}

/** A colour of the style sheet, `#rrggbb`, seen through. */
export function fade(colour: string, alpha: number): string {
  return colour + Math.round(alpha * 255).toString(16).padStart(2, "0");
}
