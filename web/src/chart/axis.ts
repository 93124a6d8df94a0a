/** The time axis: ticks at even steps of the clock that is shown, each labelled with the coarsest part that begins there. */
import { defaultHorzScaleBehavior } from "lightweight-charts";
import { clockTime, offset, tick, type Zone } from "../format";

const Base = defaultHorzScaleBehavior();
type Behaviour = InstanceType<typeof Base>;
type Points = Parameters<Behaviour["fillWeightsForPoints"]>[0];
type Weight = Points[number]["timeWeight"];
type Mark = Parameters<Behaviour["formatTickmark"]>[0];

/** Steps of a day in seconds, from coarse to fine, and how strongly a mark there stands against others. */
const STEPS: readonly (readonly [number, number])[] = [
  [43_200, 33], [21_600, 32], [10_800, 31], [3600, 30], [1800, 23], [900, 22], [300, 21], [60, 20], [30, 13], [15, 12], [5, 11], [1, 10],
];
const [DAY, MONTH, YEAR] = [50, 60, 70];
const MINUTE = 20;

export class Axis extends Base {
  zone: Zone = "utc";

  /** How coarse the part of the clock is that changes between two times. */
  private weight(before: number, time: number): number {
    const [a, b] = [before + offset(before, this.zone), time + offset(time, this.zone)];
    if (Math.floor(a / 86_400) !== Math.floor(b / 86_400)) {
      const [from, to] = [new Date(a * 1000), new Date(b * 1000)];
      if (from.getUTCFullYear() !== to.getUTCFullYear()) return YEAR;
      return from.getUTCMonth() === to.getUTCMonth() ? DAY : MONTH;
    }
    return STEPS.find(([seconds]) => Math.floor(a / seconds) !== Math.floor(b / seconds))?.[1] ?? 0;
  }

  override fillWeightsForPoints(points: Points, start: number): void {
    const time = (index: number): number => points[index]?.originalTime as number;
    for (let index = start; index < points.length; index += 1) {
      const before = index ? time(index - 1) : time(0) - ((time(1) || time(0) + 1) - time(0));
      (points[index] as { timeWeight: Weight }).timeWeight = this.weight(before, time(index)) as Weight;
    }
  }

  override formatTickmark(mark: Mark): string {
    const seconds = mark.originalTime as unknown as number;
    const weight = mark.weight as number;
    if (weight < MINUTE) return clockTime(seconds, this.zone, true);
    return weight < DAY ? clockTime(seconds, this.zone, false) : tick(seconds, this.zone, weight === YEAR ? "year" : weight === MONTH ? "month" : "day");
  }
}
