/** The panes one below another: their shares of the height, their legends, one of them alone. */
import type { IChartApiBase, Time } from "lightweight-charts";
import { hide, make } from "../dom";

const CANDLES = 4;
const SEPARATOR_PX = 1;
const TOP_PX = 4;
/** The least height that holds a line of the legend. */
const LEAST_PX = 24;

export class Panes {
  private alone: number | null = null;
  private count = 0;
  private readonly boxes: HTMLElement[] = [];

  constructor(
    private readonly chart: IChartApiBase<Time>,
    private readonly box: HTMLElement,
  ) {
    chart.subscribeDblClick((event) => {
      if (event.paneIndex !== undefined && event.point) this.toggle(event.paneIndex);
    });
  }

  /** One pane over all the height; once more, and all are as before. */
  toggle(index: number): void {
    if (this.chart.panes().length < 2) return;
    this.alone = this.alone === null ? index : null;
    this.stretch();
  }

  isSeen(index: number): boolean {
    return this.alone === null || this.alone === index;
  }

  private stretch(): void {
    this.chart.panes().forEach((pane, index) => {
      const share = index ? 1 : CANDLES;
      pane.setStretchFactor(this.alone === null || this.alone === index ? share : 0);
    });
  }

  /** Each pane tells what it shows at its own top. */
  legends(lines: { pane: number; line: HTMLElement }[]): void {
    const panes = this.chart.panes();
    if (panes.length !== this.count) {
      this.count = panes.length;
      this.alone = null;
      this.stretch();
    }
    while (this.boxes.length > lines.length) this.boxes.pop()?.remove();
    lines.forEach(({ line }, index) => {
      if (this.boxes[index]?.firstChild !== line) this.legendBox(index).replaceChildren(line);
    });
    let top = 0;
    panes.forEach((pane, index) => {
      const height = pane.getHeight(); // of the library's own model: nothing is laid out for it
      lines.forEach((one, at) => {
        if (one.pane === index) this.place(this.legendBox(at), top + TOP_PX, height >= LEAST_PX);
      });
      top += height + SEPARATOR_PX;
    });
  }

  private place(box: HTMLElement, top: number, isSeen: boolean): void {
    hide(box, !isSeen);
    if (box.style.top !== `${top}px`) box.style.top = `${top}px`;
  }

  private legendBox(index: number): HTMLElement {
    let box = this.boxes[index];
    if (!box) {
      box = make("div", "legend");
      this.box.append(box);
      this.boxes.push(box);
    }
    return box;
  }
}
