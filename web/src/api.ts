/** REST: typed by the OpenAPI document; a problem's `detail` becomes the error's text. */
import type { components } from "./types/api";
import type { CandleRow, CoverageRow, IndicatorRow, MovingAverageRow, TradeRow } from "./types/rows";

type Schemas = components["schemas"];
/** `indicators` are those that the run computes and streams; the rest is computed when asked for. */
export type About = Schemas["About"] & { indicators?: string[]; timezone?: string };
export type Gap = Schemas["Coverage"]["gaps"][number];
export interface Page<R> {
  data: R[];
  next: string | null;
  coverage: Schemas["Coverage"];
  ts_watermark: number | null;
}
export interface SymbolRow {
  venue: string;
  symbol: string;
  status: string;
  size_unit: string | null;
  /** Null until the venue has described the symbol. */
  tick: string | null;
}
/** A symbol that the venue lists. */
export type Listed = Schemas["Listed"];
/** A kind of indicator that the server can compute. */
export interface Kind {
  kind: string;
  title: string;
  parameters: { name: string; default: number; least: number; most: number; whole: boolean }[];
  /** Names of its values, in order. */
  values: string[];
  /** Its values are prices: they belong over the candles. */
  overlay: boolean;
}
export type AlertDraft = Schemas["AlertDraft"];
/** A rule as the server shows it: of its targets not the addresses. */
export type Alert = Omit<AlertDraft, "targets"> & {
  id: string;
  about: string;
  state: "watching" | "waiting" | "done" | "off";
  problem?: string;
  targets: { type: "webhook" | "apprise"; name: string; address: string }[];
};
export interface AlertEvent {
  id: string;
  rule: string;
  symbol: string;
  text: string;
  name?: string;
  ts_fired?: number;
}
export interface Tried {
  target: string;
  delivered: boolean;
  error: string;
  ms: number;
}
export interface Health {
  status: "ok" | "degraded" | "failing";
  checks: { name: string; status: Health["status"]; detail: string }[];
}
export interface QuarantineRow {
  ts_recv: number | null;
  connection: string;
  reason: string;
  /** Base64. */
  frame: string;
}
export type Params = Record<string, string | number | boolean | undefined>;

export class ProblemError extends Error {
  constructor(
    readonly status: number,
    detail: string,
    readonly nearest: readonly string[] = [],
  ) {
    super(detail);
  }
}

const KEY = "tapeflow.key";
export const key = (): string | null => sessionStorage.getItem(KEY);
export const keep = (value: string): void => sessionStorage.setItem(KEY, value);

export function address(path: string, params: Params = {}): string {
  const given = Object.entries(params).filter(([, value]) => value !== undefined);
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return query ? `${path}?${query}` : path;
}

function send(method: string, url: string, body?: unknown): Promise<Response> {
  const headers: Record<string, string> = {};
  const secret = key();
  if (secret) headers["Authorization"] = `Bearer ${secret}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const asked: RequestInit = { method, headers, signal: AbortSignal.timeout(20_000) };
  if (body !== undefined) asked.body = JSON.stringify(body);
  return fetch(url, asked);
}

/** What is asked before anybody wants it, for so long. */
const AHEAD_MS = 3000;
const early = new Map<string, Promise<Response | null>>();

/** Ask for what will be wanted: who asks for the same next, and soon, is given this answer if it is a good one. */
function ahead(url: string): void {
  early.set(url, send("GET", url).then((answer) => (answer.ok ? answer : null), () => null));
  window.setTimeout(() => early.delete(url), AHEAD_MS);
}

async function ask(method: string, url: string, body?: unknown): Promise<Response> {
  const before = method === "GET" ? early.get(url) : undefined;
  early.delete(url);
  const answer = (await before) ?? (await send(method, url, body));
  if (answer.ok || (url === "/healthz" && answer.status === 503)) return answer;
  const problem = (await answer.json().catch(() => ({}))) as Partial<Schemas["Problem"]>;
  throw new ProblemError(answer.status, problem.detail ?? `the server answers ${answer.status}`, problem.nearest);
}

const get = async <T>(path: string, params: Params = {}): Promise<T> =>
  (await ask("GET", address(path, params))).json() as Promise<T>;

export const about = (): Promise<About> => get("/v1/about");
export const symbols = async (): Promise<SymbolRow[]> =>
  (await get<Page<SymbolRow>>("/v1/symbols")).data.filter((row) => row.status !== "not_followed");
/** What the venue lists with this text in the name, what begins with it first. */
export const listed = async (search: string, limit: number): Promise<Listed[]> =>
  (await get<Schemas["Listing"]>("/v1/symbols/listed", { search, limit })).data;
export const catalogue = async (): Promise<Kind[]> => (await get<{ data: Kind[] }>("/v1/catalogue")).data;
export const candlesAhead = (params: Params): void => ahead(address("/v1/candles", params));
export const candles = (params: Params): Promise<Page<CandleRow>> => get("/v1/candles", params);
export const indicators = (params: Params): Promise<Page<IndicatorRow>> => get("/v1/indicators", params);
export const means = (params: Params): Promise<Page<MovingAverageRow>> => get("/v1/moving-average", params);
export const coverage = (params: Params): Promise<Page<CoverageRow>> => get("/v1/coverage", params);
export const trades = (params: Params): Promise<Page<TradeRow>> => get("/v1/trades", params);
export const quarantine = (params: Params): Promise<Page<QuarantineRow>> => get("/v1/quarantine", params);
/** Rows in another form than JSON. */
export const file = (path: string, params: Params): Promise<Response> => ask("GET", address(path, params));
export const health = (): Promise<Health> => get("/healthz");
export const metrics = async (): Promise<Map<string, number>> => {
  const text = await (await ask("GET", "/metrics")).text();
  const lines = text.split("\n").filter((line) => line && !line.startsWith("#"));
  return new Map(lines.map((line) => {
    const cut = line.lastIndexOf(" ");
    return [line.slice(0, cut), Number(line.slice(cut + 1))];
  }));
};
export const follow = (symbol: string): Promise<Response> => ask("POST", "/v1/symbols", { symbol });
export const unfollow = (symbol: string): Promise<Response> =>
  ask("DELETE", `/v1/symbols/${encodeURIComponent(symbol)}`);

const answered = async <T>(method: string, path: string, body: unknown): Promise<T> => (await ask(method, path, body)).json() as Promise<T>;
export const alerts = async (): Promise<Alert[]> => (await get<{ data: Alert[] }>("/v1/alerts")).data;
export const alertEvents = async (limit: number): Promise<AlertEvent[]> =>
  (await get<{ data: AlertEvent[] }>("/v1/alerts/events", { limit })).data;
export const makeAlert = (draft: Partial<AlertDraft>): Promise<Alert> => answered("POST", "/v1/alerts", draft);
export const putAlert = (id: string, draft: AlertDraft): Promise<Alert> => answered("PUT", `/v1/alerts/${id}`, draft);
export const dropAlert = (id: string): Promise<Response> => ask("DELETE", `/v1/alerts/${id}`);
export const tryAlert = async (id: string): Promise<Tried[]> => (await answered<{ data: Tried[] }>("POST", `/v1/alerts/${id}/test`, {})).data;
