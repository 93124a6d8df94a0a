/** The operator's view: what `/healthz` judges, what `/metrics` counts, what could not be read. */
import * as api from "../api";
import { Calendar } from "./calendar";
import { at, make, mark, write } from "../dom";
import { Feeds } from "./feeds";
import { moment, reason } from "../format";
import { GROUPS, type Row } from "./figures";
import type { Pulse } from "./pulse";
import { Spark } from "../market/spark";
import type { View } from "../view";

const TONES = { ok: "good", degraded: "warn", failing: "bad" };
const NEWEST = 8;
const QUARANTINED = "tapeflow_quarantined_total";

interface Figure {
  row: Row;
  element: HTMLElement;
  value: HTMLElement;
  bar: HTMLElement | null;
  spark: Spark | null;
}

export class Operator {
  private readonly box = at("operator-view");
  private readonly health = make("div", "checks");
  private readonly quarantine = make("div", "quarantine");
  private readonly figures: Figure[] = [];
  private readonly feeds = new Feeds();
  private readonly calendar: Calendar;
  private quarantined = -1;

  constructor(
    private readonly pulse: Pulse,
    private readonly view: View,
    now: () => number,
  ) {
    this.calendar = new Calendar(view, now);
    this.build();
    pulse.each(() => this.show());
    at("operator").addEventListener("click", () => this.toggle());
  }

  toggle(isOpen = this.box.hidden): void {
    if (isOpen === !this.box.hidden) return;
    this.box.hidden = !isOpen;
    document.documentElement.classList.toggle("operated", isOpen);
    for (const id of ["chart", "mean"]) at(id).inert = isOpen; // what lies beneath is not reached by keys
    at("operator").setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return;
    this.quarantined = -1;
    void this.pulse.poll();
    this.show();
    this.open();
  }

  /** Another symbol or zone is shown. */
  open(): void {
    if (!this.box.hidden) void this.calendar.load();
  }

  private build(): void {
    const close = make("button", "shut", "Close");
    close.title = "Back to the chart (o)";
    close.addEventListener("click", () => {
      this.toggle(false);
      at("operator").focus();
    });
    const groups = make("div", "counts");
    for (const [title, rows] of GROUPS) groups.append(this.group(title, rows));
    const calendar = make("div", "wide");
    calendar.append(this.calendar.element);
    this.box.append(close, this.health, this.feeds.element, groups, calendar, this.quarantine);
  }

  private group(title: string, rows: readonly Row[]): HTMLElement {
    const made = make("div", "figures");
    const list = make("dl");
    for (const row of rows) {
      const element = make("div");
      const value = make("dd", "number");
      element.append(make("dt", "", row.title), value);
      const bar = row.bound ? make("dd", "bound") : null;
      const spark = row.trend ? new Spark() : null;
      if (bar) {
        bar.append(make("i"));
        element.append(bar);
      }
      if (spark) {
        const cell = make("dd", "of");
        cell.append(spark.element);
        element.append(cell);
      }
      list.append(element);
      this.figures.push({ row, element, value, bar, spark });
    }
    made.append(make("h2", "", title), list);
    return made;
  }

  private show(): void {
    if (this.box.hidden || !this.pulse.health) return;
    this.showHealth(this.pulse.health);
    this.feeds.show(this.pulse);
    for (const figure of this.figures) this.showFigure(figure);
    const count = this.pulse.value(QUARANTINED) ?? 0;
    if (count === this.quarantined) return;
    this.quarantined = count;
    void this.showQuarantine(count);
  }

  private showHealth(health: api.Health): void {
    const title = make("h2", "", `Health: ${health.status}`);
    title.dataset["tone"] = TONES[health.status];
    const lines = health.checks.map((check) => {
      const line = make("p");
      line.dataset["tone"] = TONES[check.status];
      line.append(make("b", "", check.name), make("span", "", `${check.status} · ${check.detail}`));
      return line;
    });
    this.health.replaceChildren(title, ...lines);
  }

  private showFigure({ row, element, value, bar, spark }: Figure): void {
    const now = row.now(this.pulse);
    element.hidden = now === undefined;
    if (now === undefined) return;
    const bound = row.bound?.(this.pulse);
    write(value, bound ? `${row.shown(now)} of ${row.shown(bound)}` : row.shown(now));
    mark(element, "tone", row.isBad?.(now) ? "warn" : "");
    const part = bar?.firstElementChild as HTMLElement | null | undefined;
    if (part && bound) part.style.transform = `scaleX(${Math.min(1, now / bound)})`;
    if (spark && row.trend) spark.show(row.trend(this.pulse));
  }

  private async showQuarantine(count: number): Promise<void> {
    const page = await api.quarantine({ limit: NEWEST }).catch(() => null);
    const title = make("h2", "", "Quarantine: frames that cannot be used");
    const rows = [...(page?.data ?? [])].reverse();
    if (!rows.length) {
      this.quarantine.replaceChildren(title, make("p", "hint", count ? "They are not kept by this run." : "None."));
      return;
    }
    const lines = rows.map((row) => {
      const line = make("li");
      const when = row.ts_recv ? moment(row.ts_recv / 1e6, this.view.zone) : "at a time not known";
      line.append(make("b", "warn", reason(row.reason)), make("time", "", when), make("span", "", row.connection), make("code", "", beginning(row.frame)));
      return line;
    });
    const list = make("ul");
    list.append(...lines);
    this.quarantine.replaceChildren(title, list);
  }
}

/** The first bytes as text; what is no text is a dot. */
const beginning = (frame: string): string => atob(frame.slice(0, 160)).replaceAll(/[^\x20-\x7e]/g, "·");
