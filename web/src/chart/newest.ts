/** The newest price on the axis. The library's own label is that of the last bar in view: scrolled back, an old price that looks live. */
import { LineStyle, type IPriceLine, type ISeriesApi, type SeriesType } from "lightweight-charts";

export class Newest {
  private line: IPriceLine | null = null;
  private price = NaN;
  private color = "";

  constructor(private series: ISeriesApi<SeriesType>) {
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
    this.price = NaN;
  }

  show(price: number, color: string): void {
    this.price = price;
    this.color = color;
    this.draw();
  }

  private draw(): void {
    const { price, color } = this;
    if (!Number.isFinite(price)) return;
    if (this.line) this.line.applyOptions({ price, color });
    else this.line = this.series.createPriceLine({ price, color, lineWidth: 1, lineStyle: LineStyle.Dotted, axisLabelVisible: true, title: "" });
  }
}
