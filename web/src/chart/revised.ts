/** Candles that late trades revised, each with a dot. Markers of the library would have all of the chart laid out at each trade. */
import type { ISeriesPrimitive, IPrimitivePaneRenderer, IPrimitivePaneView, SeriesAttachedParameter, Time } from "lightweight-charts";

/** Where a dot stands: beyond `edge`, seen from `from`. */
export interface Dot {
  time: number;
  from: number;
  edge: number;
}

type Target = Parameters<IPrimitivePaneRenderer["draw"]>[0];

const RADIUS_PX = 2;
const AWAY_PX = 6;

export class Revised implements ISeriesPrimitive<Time> {
  private on: SeriesAttachedParameter<Time> | null = null;
  private dots: readonly Dot[] = [];
  private readonly view: IPrimitivePaneView;

  constructor(private colour: string) {
    this.view = { zOrder: () => "top", renderer: () => ({ draw: (target) => this.draw(target) }) };
  }

  attached(given: SeriesAttachedParameter<Time>): void {
    this.on = given;
  }

  paneViews(): readonly IPrimitivePaneView[] {
    return [this.view];
  }

  set(dots: readonly Dot[], colour: string): void {
    if (!dots.length && !this.dots.length) return;
    this.dots = dots;
    this.colour = colour;
    this.on?.requestUpdate();
  }

  private draw(target: Target): void {
    if (!this.on || !this.dots.length) return;
    const { chart, series } = this.on;
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      context.fillStyle = this.colour;
      for (const { time, from, edge } of this.dots) {
        const x = chart.timeScale().timeToCoordinate(time as unknown as Time);
        const [near, far] = [series.priceToCoordinate(from), series.priceToCoordinate(edge)];
        if (x === null || near === null || far === null || x < 0 || x > mediaSize.width) continue;
        context.beginPath();
        context.arc(x, far + (far < near ? -AWAY_PX : AWAY_PX), RADIUS_PX, 0, 2 * Math.PI);
        context.fill();
      }
    });
  }
}
