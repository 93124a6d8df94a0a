/** The dialog of indicators: all that the server can compute, found by name; each with its parameters and a colour. */
import type { Kind } from "../api";
import { at, make, write } from "../dom";
import { PALETTE, called, freeColour, read, title, type Pick } from "./names";
import type { View } from "../view";

/** Letters in any order of words: `moving ema` finds the exponential moving average. */
const fits = (kind: Kind, wanted: string): boolean =>
  wanted.split(/\s+/).every((word) => `${kind.kind} ${kind.title}`.toLowerCase().includes(word));

export class Catalogue {
  private readonly dialog = at<HTMLDialogElement>("catalogue");
  private readonly search = make("input");
  private readonly list = make("div", "kinds scroll");
  private readonly shown = make("div", "picks");
  private readonly form = make("form", "settings");
  /** The one that is changed; null: one is added. */
  private edited: Pick | null = null;

  constructor(
    private readonly view: View,
    private readonly kinds: readonly Kind[],
    private readonly changed: () => void,
  ) {
    this.search.type = "search";
    this.search.placeholder = "Search indicators";
    this.search.setAttribute("aria-label", "Search indicators");
    this.search.addEventListener("input", () => this.fill());
    this.search.addEventListener("keydown", (event) => this.searched(event));
    const close = make("button", "close", "Close");
    close.addEventListener("click", () => this.dialog.close());
    const left = make("div", "found");
    const right = make("div", "chosen");
    left.append(this.search, this.list);
    right.append(this.shown, this.form);
    const both = make("div", "columns");
    both.append(left, right);
    this.dialog.append(make("h2", "", "Indicators"), both, close);
    at("indicators-open").addEventListener("click", () => this.open());
    // The list scrolls: it can be reached without a mouse.
    this.list.tabIndex = 0;
    this.list.setAttribute("role", "group");
    this.list.setAttribute("aria-label", "All indicators");
  }

  /** The catalogue; or the settings of one that is shown. */
  open(pick?: Pick): void {
    this.search.value = "";
    this.fill();
    this.showPicks();
    const known = pick && read(pick.name, this.kinds);
    if (pick && known) this.set(known.kind, known.values, pick);
    else this.form.replaceChildren(make("p", "hint", this.kinds.length ? "Choose one at the left." : "The server does not say what it can compute."));
    if (!this.dialog.open) this.dialog.showModal();
    if (!pick) this.search.focus();
  }

  remove(pick: Pick): void {
    this.view.shown = this.view.shown.filter((one) => one.name !== pick.name);
    this.changed();
    this.showPicks();
    if (this.edited?.name === pick.name) this.form.replaceChildren();
  }

  private found(): Kind[] {
    const wanted = this.search.value.trim().toLowerCase();
    return this.kinds.filter((kind) => fits(kind, wanted));
  }

  private fill(): void {
    this.list.replaceChildren(
      ...this.found().map((kind) => {
        const button = make("button", "kind", kind.title);
        button.append(make("code", "", kind.kind));
        button.addEventListener("click", () => this.set(kind, kind.parameters.map((one) => one.default), null));
        return button;
      }),
    );
    if (!this.list.children.length) this.list.append(make("p", "hint", "None is called that."));
  }

  private searched(event: KeyboardEvent): void {
    if (event.key !== "Enter") return;
    event.preventDefault();
    this.list.querySelector("button")?.click();
  }

  private showPicks(): void {
    this.shown.replaceChildren(
      ...this.view.shown.map((pick) => {
        const edit = make("button", "name", title(pick.name));
        edit.style.setProperty("--own", pick.colour);
        edit.addEventListener("click", () => {
          const known = read(pick.name, this.kinds);
          if (known) this.set(known.kind, known.values, pick);
        });
        const drop = make("button", "drop", "×");
        drop.setAttribute("aria-label", `Remove ${title(pick.name)}`);
        drop.addEventListener("click", () => this.remove(pick));
        const line = make("span", "pick-line");
        line.append(edit, drop);
        return line;
      }),
    );
  }

  // -- the settings --

  private set(kind: Kind, values: readonly number[], edited: Pick | null): void {
    this.edited = edited;
    const inputs = kind.parameters.map((parameter, index) => number(parameter, values[index] ?? parameter.default));
    const colour = make("input");
    colour.type = "color";
    colour.value = edited?.colour ?? freeColour(this.view.shown);
    const problem = make("p", "warn");
    problem.setAttribute("role", "alert");
    const done = make("button", "primary", edited ? "Change" : "Add");
    this.form.replaceChildren(make("h3", "", kind.title), ...inputs.map(({ label }) => label), colours(colour), problem, done);
    if (edited) this.form.append(this.dropper(edited));
    this.form.onsubmit = (event) => {
      event.preventDefault();
      write(problem, this.keep({ name: called(kind, inputs.map(({ input }) => Number(input.value))), colour: colour.value }));
    };
    (inputs[0]?.input ?? done).focus();
  }

  private dropper(pick: Pick): HTMLButtonElement {
    const made = make("button", "", "Remove");
    made.type = "button";
    made.addEventListener("click", () => this.remove(pick));
    return made;
  }

  /** What hinders it, if anything. */
  private keep(pick: Pick): string {
    const { shown } = this.view;
    const place = this.edited ? shown.findIndex((one) => one.name === this.edited?.name) : shown.length;
    if (shown.some((one, index) => one.name === pick.name && index !== place)) return "It is shown already.";
    this.view.shown = [...shown.slice(0, place), pick, ...shown.slice(place + 1)];
    this.changed();
    this.dialog.close();
    return "";
  }
}

function number(parameter: Kind["parameters"][number], value: number): { label: HTMLElement; input: HTMLInputElement } {
  const input = make("input");
  input.type = "number";
  input.required = true;
  input.min = String(parameter.least);
  input.max = String(parameter.most);
  input.step = parameter.whole ? "1" : "any";
  input.value = String(value);
  const label = make("label", "", parameter.name);
  label.append(input);
  return { label, input };
}

/** Colours that are told apart well, and any other. */
function colours(own: HTMLInputElement): HTMLElement {
  const box = make("fieldset", "colours");
  box.append(make("legend", "", "Colour"));
  for (const [index, colour] of PALETTE.entries()) {
    const button = make("button", "swatch");
    button.type = "button";
    button.style.background = colour;
    button.setAttribute("aria-label", `Colour ${index + 1}`);
    button.addEventListener("click", () => (own.value = colour));
    box.append(button);
  }
  own.setAttribute("aria-label", "Any colour");
  box.append(own);
  return box;
}
