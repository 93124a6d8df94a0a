/** A line of the last values, as small as a word. */
const SVG = "http://www.w3.org/2000/svg";

export class Spark {
  readonly element = document.createElementNS(SVG, "svg");
  private readonly line = document.createElementNS(SVG, "polyline");

  constructor() {
    this.element.setAttribute("class", "trend");
    this.element.setAttribute("viewBox", "0 0 100 20");
    this.element.setAttribute("preserveAspectRatio", "none");
    this.element.setAttribute("aria-hidden", "true");
    this.element.append(this.line);
  }

  /** From 0, or from the lowest if all are far above it. */
  show(values: readonly number[]): void {
    if (values.length < 2) return;
    const most = Math.max(...values);
    const lowest = Math.min(...values);
    const low = lowest > most * 0.8 ? lowest : 0;
    const size = most - low || 1;
    const points = values.map((value, index) => `${((index / (values.length - 1)) * 100).toFixed(1)},${(19 - ((value - low) / size) * 18).toFixed(1)}`);
    this.line.setAttribute("points", points.join(" "));
  }
}
