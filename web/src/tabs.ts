/** On a phone one part of the page at a time, chosen at the bottom. */
import { at } from "./dom";

export type Tab = "chart" | "market" | "trades" | "status";

const phone = window.matchMedia("(max-width: 760px)");

export class Tabs {
  private tab: Tab = "chart";

  /** `operate` opens and shuts the operator's view. */
  constructor(private readonly operate: (isOpen: boolean) => void) {
    for (const button of this.buttons()) button.addEventListener("click", () => this.show(button.dataset["tab"] as Tab));
    at("operator").addEventListener("click", () => this.follow());
    phone.addEventListener("change", () => this.follow());
    this.mark();
  }

  private buttons(): HTMLButtonElement[] {
    return [...at("tabs").querySelectorAll("button")];
  }

  show(tab: Tab): void {
    this.tab = tab;
    this.mark();
    this.operate(tab === "status");
    window.scrollTo(0, 0);
  }

  /** Show where an element is; the operator's view is shut where the element lies beneath it. */
  reveal(element: HTMLElement): void {
    const tab = (element.closest<HTMLElement>("[data-of]")?.dataset["of"] ?? "chart") as Tab;
    if (phone.matches) this.show(tab);
    else if (tab === "chart" || tab === "status") this.operate(tab === "status");
  }

  /** The view was opened or shut by other means. */
  follow(): void {
    const isOpen = !at("operator-view").hidden;
    if (isOpen) this.tab = "status";
    else if (this.tab === "status") this.tab = "chart";
    this.mark();
  }

  private mark(): void {
    document.documentElement.dataset["tab"] = this.tab;
    for (const button of this.buttons()) button.setAttribute("aria-pressed", String(button.dataset["tab"] === this.tab));
  }
}
