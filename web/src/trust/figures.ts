/** What the operator's view tells of the run: each figure is one metric, or two compared. */
import { span } from "../format";
import type { Pulse } from "./pulse";

export interface Row {
  title: string;
  now(pulse: Pulse): number | undefined;
  shown(value: number): string;
  /** What it may grow to. */
  bound?(pulse: Pulse): number | undefined;
  trend?(pulse: Pulse): number[];
  isBad?(value: number): boolean;
}

export const whole = (value: number): string => Math.round(value).toLocaleString("en");
const perSecond = (value: number): string => `${value < 10 ? value.toFixed(1) : whole(value)} /s`;
const millis = (value: number): string => `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms`;
const isAny = (value: number): boolean => value > 0;
const yes = (value: number): string => (value ? "yes" : "no");

function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = Math.min(units.length - 1, value > 0 ? Math.max(0, Math.floor(Math.log10(value) / 3)) : 0);
  return `${(value / 1000 ** step).toFixed(step ? 1 : 0)} ${units[step]}`;
}

const T = (name: string): string => `tapeflow_${name}`;

/** A value as it stands. */
function value(title: string, name: string, shown = whole, more: Partial<Row> = {}): Row {
  return { title, now: (pulse) => pulse.value(T(name)), shown, ...more };
}

const trended = (title: string, name: string, shown = whole, more: Partial<Row> = {}): Row =>
  value(title, name, shown, { trend: (pulse) => pulse.values(T(name)), ...more });

/** How fast a counter grows. */
const speed = (title: string, name: string, shown = perSecond): Row => ({
  title, now: (pulse) => pulse.rate(T(name)), shown, trend: (pulse) => pulse.rates(T(name)),
});

const alarming = (title: string, name: string): Row => value(title, name, whole, { isBad: isAny });

/** How far one position is behind another. */
function behind(title: string, ahead: string, at: string, bound?: string): Row {
  const trend = (pulse: Pulse): number[] => {
    const to = pulse.values(T(at));
    return pulse.values(T(ahead)).map((from, index) => Math.max(0, from - (to[index] ?? from)));
  };
  const made: Row = { title, now: (pulse) => trend(pulse).at(-1), shown: whole, trend };
  return bound ? { ...made, bound: (pulse) => pulse.value(T(bound)) } : made;
}

const speedBytes = (value: number): string => `${bytes(value)}/s`;

export const GROUPS: readonly [string, readonly Row[]][] = [
  ["Flow", [
    speed("Messages", "frames_total"),
    speed("Events", "events_total"),
    trended("Receipt to row", "lag_seconds", millis, { isBad: (value) => value > 1 }),
    behind("Not played yet", "tape_position_records", "tape_played_records"),
    value("Symbols", "symbols"),
    value("Up for", "uptime_seconds", span),
  ]],
  ["Queues", [
    trended("Tape, in memory", "tape_waiting_bytes", bytes, { bound: (pulse) => pulse.value(T("tape_waiting_limit_bytes")) }),
    behind("Store behind", "tape_played_records", "store_committed_records", "store_behind_limit_records"),
    trended("Venue's request weight", "request_weight_used", whole, { bound: (pulse) => pulse.value(T("request_weight_limit")) }),
    value("Alerts to deliver", "alerts_waiting"),
  ]],
  ["Tape", [
    speed("Written", "tape_bytes_total", speedBytes),
    value("Since the start", "tape_bytes_total", bytes),
    value("Position, records", "tape_position_records"),
    value("Slowest commit", "tape_slowest_commit_seconds", millis),
    value("Commits refused", "tape_failures_total", whole, { isBad: isAny }),
    value("Cannot be written", "tape_failing", yes, { isBad: isAny }),
  ]],
  ["Store", [
    speed("Rows", "store_rows_total"),
    value("Rows since the start", "store_rows_total"),
    value("Cannot be written", "store_failing", yes, { isBad: isAny }),
    value("Disk free", "data_free_bytes", bytes),
  ]],
  ["Data", [
    value("Gaps met", "gaps_total"),
    alarming("Holes open", "holes_open"),
    value("Refilled in about", "refill_remaining_seconds", (left) => (left ? span(left) : "–"), { isBad: isAny }),
    value("Holes filled", "holes_filled_total"),
    alarming("Holes given up", "holes_given_up_total"),
    value("Duplicates dropped", "duplicates_total"),
    alarming("Too late", "late_total"),
    alarming("Quarantined", "quarantined_total"),
    value("Fields not known", "unknown_fields_total"),
  ]],
  ["Clients of the API", [
    value("Streams open", "stream_connections"),
    value("Series followed", "stream_subscriptions"),
    speed("Messages sent", "stream_messages_total"),
    speed("Requests", "http_requests_total"),
    alarming("Requests failed", "http_failed_total"),
    value("Requests refused", "http_refused_total"),
    alarming("Closed: too slow", "stream_slow_closed_total"),
  ]],
];
