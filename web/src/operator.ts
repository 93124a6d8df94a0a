/** The operator's view: what `/healthz` judges and what `/metrics` counts. */
import * as api from "./api";
import { at, make } from "./dom";
import { span } from "./format";

const COUNTS: readonly [string, string, (value: number) => string][] = [
  ["tapeflow_uptime_seconds", "Up for", span],
  ["tapeflow_symbols", "Symbols", String],
  ["tapeflow_frames_total", "Messages", whole],
  ["tapeflow_events_total", "Events", whole],
  ["tapeflow_lag_seconds", "Pipeline behind", (value) => `${(value * 1000).toFixed(0)} ms`],
  ["tapeflow_tape_position_records", "Tape, records", whole],
  ["tapeflow_tape_bytes_total", "Tape, written", bytes],
  ["tapeflow_tape_waiting_bytes", "Tape, waiting", bytes],
  ["tapeflow_store_rows_total", "Rows stored", whole],
  ["tapeflow_data_free_bytes", "Disk free", bytes],
  ["tapeflow_gaps_total", "Gaps", whole],
  ["tapeflow_holes_open", "Holes open", whole],
  ["tapeflow_holes_filled_total", "Holes filled", whole],
  ["tapeflow_duplicates_total", "Duplicates dropped", whole],
  ["tapeflow_late_total", "Too late", whole],
  ["tapeflow_quarantined_total", "Quarantined", whole],
  ["tapeflow_stream_connections", "Stream clients", whole],
  ["tapeflow_stream_messages_total", "Stream messages", whole],
  ["tapeflow_http_failed_total", "Requests failed", whole],
];

function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = Math.min(units.length - 1, value > 0 ? Math.floor(Math.log10(value) / 3) : 0);
  return `${(value / 1000 ** step).toFixed(step ? 1 : 0)} ${units[step]}`;
}

export class Operator {
  private timer = 0;

  constructor() {
    at("operator").addEventListener("click", () => this.toggle());
  }

  toggle(): void {
    const view = at("operator-view");
    view.hidden = !view.hidden;
    at("operator").setAttribute("aria-expanded", String(!view.hidden));
    window.clearInterval(this.timer);
    if (view.hidden) return;
    void this.show();
    this.timer = window.setInterval(() => void this.show(), 2000);
    view.scrollIntoView({ block: "nearest" });
  }

  private async show(): Promise<void> {
    try {
      const [health, metrics] = await Promise.all([api.health(), api.metrics()]);
      at("operator-view").replaceChildren(this.checks(health), this.feeds(metrics), this.counts(metrics));
    } catch {
      // the trust bar says that the server is gone
    }
  }

  private checks(health: api.Health): HTMLElement {
    const box = make("div", "checks");
    box.append(make("h2", "", `Health: ${health.status}`));
    for (const check of health.checks) {
      const line = make("p");
      line.dataset["tone"] = { ok: "good", degraded: "warn", failing: "bad" }[check.status];
      line.append(make("b", "", check.name), make("span", "", ` ${check.status} · ${check.detail}`));
      box.append(line);
    }
    return box;
  }

  private feeds(metrics: Map<string, number>): HTMLElement {
    const box = make("div", "feeds");
    box.append(make("h2", "", "Feeds"));
    const table = make("table");
    const head = make("tr");
    for (const name of ["Connection", "State", "Streams", "Silent", "Reconnects"]) {
      const cell = make("th", "", name);
      cell.scope = "col";
      head.append(cell);
    }
    table.append(head);
    for (const key of metrics.keys()) {
      const name = /^tapeflow_connection_open\{connection="(.*)"\}$/.exec(key)?.[1];
      if (name === undefined) continue;
      const of = (what: string): number => metrics.get(`tapeflow_connection_${what}{connection="${name}"}`) ?? NaN;
      const line = make("tr");
      const cells = [name, of("open") ? "open" : "down", whole(of("streams")), span(of("data_silent_seconds")), whole(of("reconnects_total"))];
      line.append(...cells.map((text) => make("td", "", text)));
      table.append(line);
    }
    box.append(table);
    return box;
  }

  private counts(metrics: Map<string, number>): HTMLElement {
    const box = make("dl", "counts");
    for (const [name, title, shown] of COUNTS) {
      const value = metrics.get(name);
      if (value === undefined) continue;
      const pair = make("div");
      pair.append(make("dt", "", title), make("dd", "", shown(value)));
      box.append(pair);
    }
    return box;
  }
}
