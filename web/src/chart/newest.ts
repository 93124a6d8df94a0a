/** The newest price on the axis. The library's own label is that of the last bar in view: scrolled back, an old price that looks live. */
import { LineStyle, type IPriceLine, type ISeriesApi, type SeriesType } from "lightweight-charts";
import type { CandleRow } from "../types/rows";
import type { Colours } from "../view";

export class Newest {
  private line: IPriceLine | null = null;
  private row: CandleRow | null = null;

  constructor(private series: ISeriesApi<SeriesType>, private colours: Colours) {
    this.attach(series);
  }

  /** There is another series; the one before is gone. */
  attach(series: ISeriesApi<SeriesType>): void {
    this.line = null;
    this.series = series;
    series.applyOptions({ lastValueVisible: false, priceLineVisible: false });
    this.draw();
  }

  /** Nothing is known yet of what is shown now. */
  clear(): void {
    if (this.line) this.series.removePriceLine(this.line);
    this.line = null;
    this.row = null;
  }

  show(row: CandleRow): void {
    this.row = row;
    this.draw();
  }

  dress(colours: Colours): void {
    this.colours = colours;
    this.draw();
  }

  private draw(): void {
    if (!this.row) return;
    const price = Number(this.row.close);
    const color = price >= Number(this.row.open) ? this.colours.up : this.colours.down;
    if (this.line) this.line.applyOptions({ price, color });
    else this.line = this.series.createPriceLine({ price, color, lineWidth: 1, lineStyle: LineStyle.Dotted, axisLabelVisible: true, title: "" });
  }
}
