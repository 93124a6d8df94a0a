/** What was not seen, drawn over the chart: hatched where nothing is known, a strip where the venue's candle stands in. */
import type { IChartApi, IPrimitivePaneRenderer, IPrimitivePaneView, ISeriesPrimitive, SeriesAttachedParameter, Time } from "lightweight-charts";

export interface Shade {
  from: number; // logical indices, both within
  to: number;
  reason: string;
  /** The venue's candle stands there: only our own trades are missing. */
  isCovered: boolean;
}

type Target = Parameters<IPrimitivePaneRenderer["draw"]>[0];

export class Gaps implements ISeriesPrimitive<Time> {
  private chart: IChartApi | null = null;
  private ask: () => void = () => undefined;
  private shades: Shade[] = [];
  private readonly view: IPrimitivePaneView;

  constructor(private colour: string) {
    this.view = { zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.draw(target) }) };
  }

  attached(given: SeriesAttachedParameter<Time>): void {
    this.chart = given.chart as IChartApi;
    this.ask = given.requestUpdate;
  }

  paneViews(): readonly IPrimitivePaneView[] {
    return [this.view];
  }

  set(shades: Shade[], colour: string): void {
    this.shades = shades;
    this.colour = colour;
    this.ask();
  }

  at(logical: number): Shade | undefined {
    return this.shades.find((one) => one.from <= logical && logical <= one.to);
  }

  private draw(target: Target): void {
    const scale = this.chart?.timeScale();
    if (!scale) return;
    const half = scale.options().barSpacing / 2;
    target.useBitmapCoordinateSpace(({ context, bitmapSize, horizontalPixelRatio: ratio }) => {
      for (const shade of this.shades) {
        const from = scale.logicalToCoordinate(shade.from as never);
        const to = scale.logicalToCoordinate(shade.to as never);
        if (from === null || to === null) continue;
        const left = Math.max(0, Math.round((from - half) * ratio));
        const right = Math.min(bitmapSize.width, Math.round((to + half) * ratio));
        if (right <= left) continue;
        context.save();
        context.beginPath();
        const top = shade.isCovered ? bitmapSize.height - 3 * ratio : 0;
        context.rect(left, top, right - left, bitmapSize.height - top);
        context.clip();
        context.fillStyle = context.strokeStyle = this.colour;
        context.globalAlpha = shade.isCovered ? 0.45 : 0.07;
        context.fillRect(left, top, right - left, bitmapSize.height);
        if (!shade.isCovered) this.hatch(context, left, right, bitmapSize.height, ratio);
        context.restore();
      }
    });
  }

  private hatch(context: CanvasRenderingContext2D, left: number, right: number, height: number, ratio: number): void {
    const step = 9 * ratio;
    context.globalAlpha = 0.28;
    context.lineWidth = ratio;
    context.beginPath();
    for (let x = Math.floor((left - height) / step) * step; x < right; x += step) {
      context.moveTo(x, height);
      context.lineTo(x + height, 0);
    }
    context.stroke();
  }
}
