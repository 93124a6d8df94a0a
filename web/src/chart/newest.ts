/** The newest price on the axis: the series tells it of its last bar, or we do, where that is not the newest one. */
import { LineStyle, type IPriceLine, type ISeriesApi, type SeriesType } from "lightweight-charts";
import type { CandleRow } from "../types/rows";
import type { Colours } from "../view";

export class Newest {
  private line: IPriceLine | null = null;
  private isOfSeries = true;
  private row: CandleRow | undefined;

  constructor(private series: ISeriesApi<SeriesType>) {}

  /** There is another series: nothing of ours is on it. */
  attach(series: ISeriesApi<SeriesType>): void {
    this.series = series;
    this.line = null;
    this.isOfSeries = true;
  }

  /** Whether the last bar of the series is the newest there is; without a row nothing is known of another. */
  show(isOfSeries: boolean, row: CandleRow | undefined, colours: Colours): void {
    this.row = row;
    if (isOfSeries !== this.isOfSeries) {
      this.isOfSeries = isOfSeries;
      this.series.applyOptions({ lastValueVisible: isOfSeries, priceLineVisible: isOfSeries });
    }
    if (isOfSeries || !row) this.drop();
    else this.draw(colours);
  }

  private drop(): void {
    if (this.line) this.series.removePriceLine(this.line);
    this.line = null;
  }

  private draw({ up, down }: Colours): void {
    if (!this.row) return;
    const price = Number(this.row.close);
    const color = price >= Number(this.row.open) ? up : down;
    if (this.line) this.line.applyOptions({ price, color });
    else this.line = this.series.createPriceLine({ price, color, lineWidth: 1, lineStyle: LineStyle.Dotted, axisLabelVisible: true, title: "" });
  }
}
