/** The price scale: normal, logarithmic, per cent of the first bar seen; any of them upside down. */
import { at, make, write } from "../dom";
import type { Scale, View } from "../view";

const SCALES: readonly [Scale, string, string][] = [
  ["normal", "Normal", ""],
  ["log", "Logarithmic", "Alt+L"],
  ["percent", "Per cent", "Alt+P"],
];
const SHORT: Record<Scale, string> = { normal: "Price", log: "Log", percent: "%" };

export class Scales {
  private readonly buttons = new Map<Scale, HTMLButtonElement>();
  private readonly upside = make("button", "", "Inverted");

  constructor(
    private readonly view: View,
    private readonly changed: () => void,
  ) {
    const box = at("scales");
    for (const [scale, name, key] of SCALES) {
      const button = make("button", "", name);
      button.title = key;
      button.addEventListener("click", () => this.choose(scale));
      this.buttons.set(scale, button);
      box.append(button);
    }
    this.upside.title = "Alt+I";
    this.upside.addEventListener("click", () => this.invert());
    box.append(this.upside);
  }

  /** Chosen once more, it is the normal one again. */
  toggle(scale: Scale): void {
    this.choose(this.view.scale === scale ? "normal" : scale);
  }

  invert(): void {
    this.view.inverted = !this.view.inverted;
    this.changed();
  }

  private choose(scale: Scale): void {
    this.view.scale = scale;
    at<HTMLDetailsElement>("scale-menu").open = false;
    this.changed();
  }

  /** Show what the view says. */
  show(): void {
    for (const [scale, button] of this.buttons) button.setAttribute("aria-pressed", String(scale === this.view.scale));
    this.upside.setAttribute("aria-pressed", String(this.view.inverted));
    write(at("scale-name"), `${SHORT[this.view.scale]}${this.view.inverted ? " ↓" : ""}`);
  }
}
