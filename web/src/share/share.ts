/** The view as something to take along: a line to paste, a picture, a file. */
import type * as api from "../api";
import type { Chart } from "../chart/chart";
import { at, toast } from "../dom";
import { fetchAndSave, save, type Format } from "./files";
import { secondsOf } from "../format";
import { recipe, type Recipe, type Span } from "./recipes";
import type { View } from "../view";

const HOUR_US = 3_600_000_000;

export class Share {
  constructor(
    private readonly view: View,
    private readonly chart: Chart,
    private readonly about: api.About,
    private readonly now: () => number,
  ) {
    for (const button of document.querySelectorAll<HTMLButtonElement>("#share-menu button")) {
      button.addEventListener("click", () => {
        at<HTMLDetailsElement>("share-menu").open = false;
        this.take(button.dataset);
      });
    }
  }

  private take({ copy, export: kind, file }: DOMStringMap): void {
    if (copy) this.copy(copy);
    else if (kind === "csv") save(`${this.name()}.csv`, new Blob([this.chart.csv()], { type: "text/csv" }));
    else if (kind === "png") this.chart.picture().toBlob((picture) => picture && save(`${this.name()}.png`, picture));
    else if (file) this.keep(file);
  }

  private copy(kind: string): void {
    const { view, about } = this;
    const isBack = at("now").classList.contains("wanted"); // of the past what is seen, else the newest
    const text = kind === "link" ? location.href : recipe(kind as Recipe, view, about, isBack ? this.seen() : null);
    navigator.clipboard.writeText(text).then(
      () => toast("Copied"),
      () => toast("The browser does not let the page copy"),
    );
  }

  /** `what.format`, such as `seen.parquet`. */
  private keep(file: string): void {
    const [what = "", format] = file.split(".") as [string, Format];
    const { symbol, interval } = this.view;
    const hour = { symbol, start: Math.floor(this.now()) - HOUR_US };
    const span = what === "loaded" ? this.loaded() : this.seen();
    const work =
      what === "trades"
        ? fetchAndSave("/v1/trades", hour, format, `${this.symbol()}-trades`)
        : fetchAndSave("/v1/candles", { symbol, interval, ...span }, format, this.name());
    work.then(toast, (error: Error) => toast(error.message));
  }

  /** What is on screen, whole candles. */
  private seen(): Span | null {
    const range = this.chart.chart.timeScale().getVisibleRange();
    if (!range) return this.loaded();
    const length = secondsOf(this.view.interval);
    return { start: (range.from as number) * 1e6, end: ((range.to as number) + length) * 1e6 };
  }

  private loaded(): Span | null {
    const { first, last } = this.chart.past.history;
    return first && last ? { start: first.ts_start, end: last.ts_end } : null;
  }

  private symbol(): string {
    return this.view.symbol.replaceAll(/[^A-Za-z0-9]/g, "-");
  }

  private name(): string {
    return `${this.symbol()}-${this.view.interval}`;
  }
}
