/** The command palette: everything the page can do, found by a few letters. */
import { at, make } from "../dom";
import { fit } from "./fuzzy";

export interface Command {
  title: string;
  group: string;
  hint: string;
  run(): void;
}

const MOST = 80;

export class Palette {
  private readonly dialog = at<HTMLDialogElement>("palette");
  private readonly input = at<HTMLInputElement>("palette-input");
  private readonly list = at("palette-list");
  private all: Command[] = [];
  private found: Command[] = [];
  private chosen = 0;

  /** What there is to do is asked for each time it opens: symbols come and go. */
  constructor(private readonly commands: () => Command[]) {
    this.input.addEventListener("input", () => this.search());
    this.input.addEventListener("keydown", (event) => this.press(event));
    at("palette-open").addEventListener("click", () => this.open());
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    document.addEventListener("keydown", (event) => this.wake(event));
  }

  open(): void {
    if (this.dialog.open) return;
    this.all = this.commands();
    this.input.value = "";
    this.search();
    this.dialog.showModal();
    this.input.focus();
  }

  private wake(event: KeyboardEvent): void {
    const isControl = (event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k";
    const isColon = event.key === ":" && !(event.target instanceof HTMLInputElement);
    if (!isControl && !isColon) return;
    event.preventDefault();
    if (isControl && this.dialog.open) this.dialog.close();
    else if (!document.querySelector("dialog[open]")) this.open();
  }

  private search(): void {
    const wanted = this.input.value.trim();
    this.found = (wanted ? this.ranked(wanted) : this.all).slice(0, MOST);
    this.list.replaceChildren(...this.found.map((command, index) => this.option(command, index)));
    if (!this.found.length) this.list.append(make("p", "hint", "Nothing is called so"));
    this.choose(0);
  }

  private ranked(wanted: string): Command[] {
    const scored = this.all.map((command) => ({ command, score: score(wanted, command) }));
    return scored
      .filter((one): one is { command: Command; score: number } => one.score !== null)
      .sort((a, b) => b.score - a.score)
      .map((one) => one.command);
  }

  private option(command: Command, index: number): HTMLElement {
    const made = make("div", "option");
    made.id = `palette-${index}`;
    made.setAttribute("role", "option");
    made.append(make("span", "of", command.group), make("span", "what", command.title));
    if (command.hint) made.append(make("kbd", "", command.hint));
    made.addEventListener("pointermove", () => this.choose(index, false));
    made.addEventListener("click", () => this.run(index));
    return made;
  }

  private choose(index: number, isSeen = true): void {
    this.list.querySelector("[aria-selected=true]")?.removeAttribute("aria-selected");
    this.chosen = index;
    const option = document.getElementById(`palette-${index}`);
    if (option) {
      option.setAttribute("aria-selected", "true");
      this.input.setAttribute("aria-activedescendant", option.id);
      if (isSeen) option.scrollIntoView({ block: "nearest" });
    } else {
      this.input.removeAttribute("aria-activedescendant");
    }
  }

  private press(event: KeyboardEvent): void {
    const count = this.found.length;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (event.key === "Enter") this.run(this.chosen);
    else if (event.key === "Escape") this.dialog.close(); // a search field would only be emptied
    else if (step === undefined || !count) return;
    else if (Math.abs(step) > 1) this.choose(Math.min(count - 1, Math.max(0, this.chosen + step)));
    else this.choose((this.chosen + step + count) % count);
    event.preventDefault();
  }

  private run(index: number): void {
    const command = this.found[index];
    if (!command) return;
    this.dialog.close();
    command.run();
  }
}

/** The title counts more than the group it is in. */
function score(wanted: string, command: Command): number | null {
  const own = fit(wanted, command.title);
  if (own !== null) return own + 5;
  return fit(wanted, `${command.group} ${command.title}`);
}
