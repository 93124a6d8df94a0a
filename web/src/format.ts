/** Texts for people. Prices are shown as they were sent. */

export type Zone = "utc" | "local";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (value: number): string => String(value).padStart(2, "0");

interface Parts {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
}

function parts(seconds: number, zone: Zone): Parts {
  const date = new Date(seconds * 1000);
  return zone === "utc"
    ? { year: date.getUTCFullYear(), month: date.getUTCMonth(), day: date.getUTCDate(), hour: date.getUTCHours(), minute: date.getUTCMinutes(), second: date.getUTCSeconds() }
    : { year: date.getFullYear(), month: date.getMonth(), day: date.getDate(), hour: date.getHours(), minute: date.getMinutes(), second: date.getSeconds() };
}

/** Such as `21 Nov 2026 19:20:06`; without seconds where an interval has whole minutes. */
export function moment(seconds: number, zone: Zone, hasSeconds = true): string {
  const at = parts(seconds, zone);
  const clock = `${two(at.hour)}:${two(at.minute)}${hasSeconds ? `:${two(at.second)}` : ""}`;
  return `${at.day} ${MONTHS[at.month]} ${at.year} ${clock}`;
}

/** The label of a tick: the coarsest part that begins there. */
export function tick(seconds: number, zone: Zone, hasSeconds: boolean): string {
  const at = parts(seconds, zone);
  if (at.hour || at.minute || at.second) {
    return `${two(at.hour)}:${two(at.minute)}${hasSeconds && at.second ? `:${two(at.second)}` : ""}`;
  }
  if (at.day > 1) return `${at.day} ${MONTHS[at.month]}`;
  return at.month ? (MONTHS[at.month] ?? "") : String(at.year);
}

export function clock(micros: number, zone: Zone, hasMillis = false): string {
  const at = parts(micros / 1e6, zone);
  const millis = hasMillis ? `.${String(Math.floor(micros / 1000) % 1000).padStart(3, "0")}` : "";
  return `${two(at.hour)}:${two(at.minute)}:${two(at.second)}${millis}`;
}

export function span(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(0)} h`;
}

/** Decimals of an exact value, such as a tick. */
export const decimals = (exact: string): number => exact.split(".")[1]?.length ?? 0;

/** An exact value with zeros up to a number of decimals: columns of numbers are read by their points. */
export function padded(exact: string, places: number): string {
  const [whole = "0", rest = ""] = exact.split(".");
  return places ? `${whole}.${rest.padEnd(places, "0")}` : exact;
}

export function percent(ratio: number): string {
  if (!Number.isFinite(ratio)) return "–";
  const shown = (Math.abs(ratio) * 100).toFixed(2);
  return `${ratio < 0 && shown !== "0.00" ? "−" : "+"}${shown} %`;
}

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
export const secondsOf = (interval: string): number => parseInt(interval, 10) * (UNITS[interval.slice(-1)] ?? 60);
export const WORDS: Record<string, string> = {
  not_captured: "not captured",
  venue: "from the venue: our trades do not cover it whole",
};
export const reason = (text: string | null | undefined): string => (text ? (WORDS[text] ?? text.replaceAll("_", " ")) : "unknown");
