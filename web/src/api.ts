/** REST: typed by the OpenAPI document; a problem's `detail` becomes the error's text. */
import type { components } from "./types/api";
import type { CandleRow, CoverageRow, IndicatorRow, MovingAverageRow, TradeRow } from "./types/rows";

type Schemas = components["schemas"];
export type About = Schemas["About"];
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
  size_unit: string;
  tick: string;
}
export interface Health {
  status: "ok" | "degraded" | "failing";
  checks: { name: string; status: Health["status"]; detail: string }[];
}
type Params = Record<string, string | number | boolean | undefined>;

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

async function ask(method: string, url: string, body?: unknown): Promise<Response> {
  const headers: Record<string, string> = {};
  const secret = key();
  if (secret) headers["Authorization"] = `Bearer ${secret}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const asked: RequestInit = { method, headers, signal: AbortSignal.timeout(20_000) };
  if (body !== undefined) asked.body = JSON.stringify(body);
  const answer = await fetch(url, asked);
  if (answer.ok || (url === "/healthz" && answer.status === 503)) return answer;
  const problem = (await answer.json().catch(() => ({}))) as Partial<Schemas["Problem"]>;
  throw new ProblemError(answer.status, problem.detail ?? `the server answers ${answer.status}`, problem.nearest);
}

const get = async <T>(path: string, params: Params = {}): Promise<T> =>
  (await ask("GET", address(path, params))).json() as Promise<T>;

export const about = (): Promise<About> => get("/v1/about");
export const symbols = async (): Promise<SymbolRow[]> =>
  (await get<Page<SymbolRow>>("/v1/symbols")).data.filter((row) => row.status !== "not_followed");
export const candles = (params: Params): Promise<Page<CandleRow>> => get("/v1/candles", params);
export const indicators = (params: Params): Promise<Page<IndicatorRow>> => get("/v1/indicators", params);
export const means = (params: Params): Promise<Page<MovingAverageRow>> => get("/v1/moving-average", params);
export const coverage = (params: Params): Promise<Page<CoverageRow>> => get("/v1/coverage", params);
export const trades = (params: Params): Promise<Page<TradeRow>> => get("/v1/trades", params);
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
