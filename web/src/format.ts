/** Texts for people. Prices are shown as they were sent. */

export type Zone = "utc" | "local" | "exchange";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (value: number): string => String(value).padStart(2, "0");

let venue = { name: "UTC", clock: wallClock("UTC") };
const offsets = new Map<number, number>();
/** No zone changes its offset within a quarter of an hour that begins at a whole one. */
const QUARTER_S = 900;

function wallClock(timeZone: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat("en", {
    timeZone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric",
  });
}

/** The venue's zone, by its IANA name. */
export function placeVenue(timeZone: string): void {
  venue = { name: timeZone, clock: wallClock(timeZone) };
  offsets.clear();
}

/** What a zone is called beside a time. */
export const zoneName = (zone: Zone): string =>
  ({ utc: "UTC", local: Intl.DateTimeFormat().resolvedOptions().timeZone, exchange: venue.name })[zone];

/** Seconds that a zone's clock is ahead of UTC at a moment. */
export function offset(seconds: number, zone: Zone): number {
  if (zone === "utc") return 0;
  if (zone === "local") return -60 * new Date(seconds * 1000).getTimezoneOffset();
  const quarter = Math.floor(seconds / QUARTER_S) * QUARTER_S;
  const known = offsets.get(quarter);
  if (known !== undefined) return known;
  const of = Object.fromEntries(venue.clock.formatToParts(quarter * 1000).map(({ type, value }) => [type, Number(value)]));
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = of;
  const found = Date.UTC(year, month - 1, day, hour, minute, second) / 1000 - quarter;
  offsets.set(quarter, found);
  return found;
}

/** The moment, in seconds, at which a zone's clock shows what a `datetime-local` input holds; NaN if it holds nothing. */
export function momentOf(text: string, zone: Zone): number {
  const shown = Date.parse(`${text}Z`) / 1000;
  const near = shown - offset(shown, zone);
  return shown - offset(near, zone);
}

/** The other way round: what such an input is to hold. */
export const inputOf = (seconds: number, zone: Zone): string =>
  new Date((seconds + offset(seconds, zone)) * 1000).toISOString().slice(0, 19);

interface Parts {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
}

function parts(seconds: number, zone: Zone): Parts {
  const date = new Date((seconds + offset(seconds, zone)) * 1000);
  return {
    year: date.getUTCFullYear(), month: date.getUTCMonth(), day: date.getUTCDate(),
    hour: date.getUTCHours(), minute: date.getUTCMinutes(), second: date.getUTCSeconds(),
  };
}

/** Such as `21 Nov 2026 19:20:06`; without seconds where an interval has whole minutes. */
export function moment(seconds: number, zone: Zone, hasSeconds = true): string {
  const at = parts(seconds, zone);
  const clock = `${two(at.hour)}:${two(at.minute)}${hasSeconds ? `:${two(at.second)}` : ""}`;
  return `${at.day} ${MONTHS[at.month]} ${at.year} ${clock}`;
}

/** The label of a tick at which a day, a month or a year begins. */
export function tick(seconds: number, zone: Zone, begins: "day" | "month" | "year"): string {
  const at = parts(seconds, zone);
  if (begins === "year") return String(at.year);
  return begins === "month" ? (MONTHS[at.month] ?? "") : `${at.day} ${MONTHS[at.month]}`;
}

export function clockTime(seconds: number, zone: Zone, hasSeconds: boolean): string {
  const at = parts(seconds, zone);
  return `${two(at.hour)}:${two(at.minute)}${hasSeconds ? `:${two(at.second)}` : ""}`;
}

export function clock(micros: number, zone: Zone, hasMillis = false): string {
  const millis = hasMillis ? `.${String(Math.floor(micros / 1000) % 1000).padStart(3, "0")}` : "";
  return `${clockTime(micros / 1e6, zone, true)}${millis}`;
}

export function span(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(0)} h`;
}

/** Decimals of an exact value, such as a tick. */
export const decimals = (exact: string): number => exact.split(".")[1]?.length ?? 0;

/** What prices move by while the venue has not said it. */
export const USUAL_TICK = "0.01";

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
