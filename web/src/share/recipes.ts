/** The view as lines to paste that give the same candles elsewhere. */
import * as api from "../api";
import type { View } from "../view";

const ROWS = 1000;

/** Microseconds; without an end it goes on to now. */
export interface Span {
  start: number;
  end: number | undefined;
}

export type Recipe = "curl" | "python" | "sql";

export function recipe(kind: Recipe, view: View, about: api.About, span: Span | null): string {
  return { curl, python, sql }[kind](view, about, span);
}

function curl(view: View, about: api.About, span: Span | null): string {
  const { symbol, interval } = view;
  const url = location.origin + api.address("/v1/candles", { symbol, interval, ...span, limit: ROWS });
  const key = about.needs_key ? ' -H "Authorization: Bearer $TAPEFLOW_API_KEY"' : "";
  return `curl -sS${key} '${url.replaceAll("'", "%27")}'`;
}

/** History, then what is new; of a view of the past only what it shows. */
function python(view: View, _about: api.About, span: Span | null): string {
  const topic = `symbol=${JSON.stringify(view.symbol)}, interval=${JSON.stringify(view.interval)}`;
  const range = span ? `start=${span.start}${span.end ? `, end=${span.end}` : ""}` : `limit=${ROWS}`;
  const live = [`for row in client.channel("candles", ${topic}):`, "    print(row)"];
  return [
    "import tapeflow as tf",
    "",
    `client = tf.connect("${location.origin}")  # where it needs a key: TAPEFLOW_API_KEY in the environment`,
    `print(client.history("candles", ${topic}, ${range}).arrow())`,
    ...(span?.end ? [] : live),
    "",
  ].join("\n");
}

function sql(view: View, _about: api.About, span: Span | null): string {
  const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;
  // A gateway of a cluster asks PostgreSQL: what both databases read alike.
  const time = (us: number): string => `TIMESTAMPTZ '${new Date(us / 1000).toISOString()}'`;
  const from = span ? ` AND ts_start >= ${time(span.start)}` : "";
  const until = span?.end ? ` AND ts_start < ${time(span.end)}` : "";
  return (
    "SELECT ts_start, open, high, low, close, volume FROM candles\n" +
    `WHERE symbol = ${text(view.symbol)} AND interval = ${text(view.interval)}${from}${until}\n` +
    `ORDER BY ts_start DESC LIMIT ${ROWS}`
  );
}
