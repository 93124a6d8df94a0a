/** What is shown, as it stands in the URL: a link opens the same view. */
import { isCalm } from "./dom";
import type { Zone } from "./format";
import { parse, print, type Pick } from "./chart/names";

export type Style = "candles" | "hollow" | "bars" | "line" | "area";
export type Theme = "auto" | "dark" | "light";
export type Scale = "normal" | "log" | "percent";
export const MEANS: readonly number[] = [30, 60, 120, 300, 900, 1800];
export const STYLES: readonly Style[] = ["candles", "hollow", "bars", "line", "area"];

export interface View {
  symbol: string;
  interval: string;
  style: Style;
  /** Indicators that are shown. */
  shown: Pick[];
  scale: Scale;
  inverted: boolean;
  /** Seconds that the line of the moving average goes back. */
  mean: number;
  zone: Zone;
  theme: Theme;
}

export function read(): View {
  const given = new URLSearchParams(location.hash.slice(1));
  const style = given.get("style") as Style;
  const theme = (given.get("theme") ?? localStorage.getItem("tapeflow.theme")) as Theme;
  const zone = given.get("zone") ?? localStorage.getItem("tapeflow.zone");
  return {
    symbol: given.get("symbol") ?? "",
    interval: given.get("interval") ?? "",
    style: STYLES.includes(style) ? style : "candles",
    shown: parse(given.get("show") ?? ""),
    scale: given.get("log") === "1" ? "log" : given.get("percent") === "1" ? "percent" : "normal",
    inverted: given.get("inverted") === "1",
    mean: MEANS.find((one) => one === Number(given.get("mean"))) ?? 120,
    zone: zone === "local" || zone === "exchange" ? zone : "utc",
    theme: theme === "dark" || theme === "light" ? theme : "auto",
  };
}

export function write(view: View): void {
  const found = new URLSearchParams({ symbol: view.symbol, interval: view.interval, style: view.style });
  if (view.shown.length) found.set("show", print(view.shown));
  if (view.scale !== "normal") found.set(view.scale, "1");
  if (view.inverted) found.set("inverted", "1");
  if (view.mean !== 120) found.set("mean", String(view.mean));
  if (view.zone !== "utc") found.set("zone", view.zone);
  if (view.theme !== "auto") found.set("theme", view.theme);
  history.replaceState(null, "", `#${found.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%7E", "~")}`);
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
