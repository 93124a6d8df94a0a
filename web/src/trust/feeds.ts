/** A line for each connection to the venue. */
import { make, mark, write } from "../dom";
import { whole } from "./figures";
import { span } from "../format";
import type { Pulse } from "./pulse";
import { Spark } from "../market/spark";

const HEADS = ["Connection", "State", "Streams", "Messages /s", "Last", "Most silent stream", "Reconnects"];
const NAME = /^tapeflow_connection_open\{connection="(.*)"\}$/;

interface Line {
  element: HTMLTableRowElement;
  cells: HTMLTableCellElement[];
  spark: Spark;
}

export class Feeds {
  readonly element = make("div", "feeds");
  private readonly body = make("tbody");
  private readonly lines = new Map<string, Line>();

  constructor() {
    const table = make("table");
    const head = make("tr");
    for (const name of HEADS) {
      const cell = make("th", "", name);
      cell.scope = "col";
      head.append(cell);
    }
    const top = make("thead");
    top.append(head);
    table.append(top, this.body);
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "region");
    this.element.setAttribute("aria-label", "Feeds");
    this.element.append(make("h2", "", "Feeds"), table);
  }

  show(pulse: Pulse): void {
    const names = [...pulse.names()].map((key) => NAME.exec(key)?.[1]).filter((name) => name !== undefined);
    for (const [name, line] of this.lines) {
      if (names.includes(name)) continue;
      line.element.remove();
      this.lines.delete(name);
    }
    for (const name of names) this.line(this.lines.get(name) ?? this.add(name), name, pulse);
  }

  private add(name: string): Line {
    const element = make("tr");
    const cells = HEADS.map(() => make("td"));
    const spark = new Spark();
    element.append(...cells);
    this.body.append(element);
    const made = { element, cells, spark };
    this.lines.set(name, made);
    return made;
  }

  private line({ element, cells, spark }: Line, name: string, pulse: Pulse): void {
    const metric = (what: string): string => `tapeflow_connection_${what}{connection="${name}"}`;
    const of = (what: string): number => pulse.value(metric(what)) ?? NaN;
    const state = !of("open") ? "down" : of("paused") ? "paused: the tape is full" : of("overdue_ratio") > 1 ? "overdue" : "open";
    const ago = (what: string): string => (Number.isFinite(of(what)) ? `${span(of(what))} ago` : "–");
    const rate = pulse.rate(metric("frames"));
    const texts = [name, state, whole(of("streams")), "", ago("data_silent_seconds"), ago("oldest_stream_seconds"), whole(of("reconnects_total"))];
    mark(element, "tone", state === "open" ? "" : "warn");
    texts.forEach((text, index) => text && write(cells[index] as HTMLElement, text));
    const cell = cells[3] as HTMLElement;
    if (!cell.firstChild) cell.append(make("span"), spark.element);
    write(cell.firstChild as HTMLElement, rate === undefined ? "–" : rate.toFixed(rate < 10 ? 1 : 0));
    spark.show(pulse.rates(metric("frames")));
  }
}
