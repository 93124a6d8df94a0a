/** Whether the chart is held, or still glides after it was let go: the library counts from where that began. */

/** How long a chart glides at most after a finger has let it go. */
const GLIDE_MS = 2500;

export class Hand {
  private readonly down = new Set<number>();
  private until = 0;

  constructor(element: HTMLElement, private readonly lifted: () => void) {
    element.addEventListener("pointerdown", (event) => this.down.add(event.pointerId), { capture: true });
    for (const name of ["pointerup", "pointercancel"] as const) window.addEventListener(name, (event) => this.up(event), { capture: true });
  }

  get isHolding(): boolean {
    return this.down.size > 0 || performance.now() < this.until;
  }

  private up(event: PointerEvent): void {
    if (!this.down.delete(event.pointerId)) return;
    const rest = event.pointerType === "mouse" ? 0 : GLIDE_MS;
    this.until = performance.now() + rest;
    window.setTimeout(this.lifted, rest);
  }
}
