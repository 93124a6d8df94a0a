/** Go to a date: asked for in the time zone that is shown. */
import { at, write } from "../dom";
import { inputOf, momentOf, zoneName } from "../format";
import type { View } from "../view";

export class GoTo {
  private readonly dialog = at<HTMLDialogElement>("go");
  private readonly input = at<HTMLInputElement>("go-time");

  constructor(
    private readonly view: View,
    private readonly now: () => number,
    private readonly go: (moment: number) => void,
  ) {
    at("go-open").addEventListener("click", () => this.open());
    at("go-cancel").addEventListener("click", () => this.dialog.close());
    at("go-form").addEventListener("submit", () => this.chosen());
  }

  open(): void {
    if (this.dialog.open) return;
    const { zone } = this.view;
    if (!this.input.value) this.input.value = inputOf(this.now() / 1e6, zone);
    this.input.max = inputOf(this.now() / 1e6, zone);
    write(at("go-zone"), zoneName(zone));
    this.dialog.showModal();
  }

  private chosen(): void {
    const seconds = momentOf(this.input.value, this.view.zone);
    if (Number.isFinite(seconds)) this.go(seconds * 1e6);
  }
}
