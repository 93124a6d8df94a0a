/** Changes of the view, undone and done again. */
import type { View } from "./view";

const MOST = 100;
/** What a change is; the theme is not: it is chosen for the eyes, not for what is looked at. */
type Kept = Omit<View, "theme">;

export class Undo {
  private readonly before: string[] = [];
  private readonly after: string[] = [];
  private now = "";

  constructor(
    private readonly view: View,
    private readonly show: (changed: ReadonlySet<keyof View>) => void,
  ) {}

  /** The view may have changed: remember what it was. */
  note(): void {
    const { theme: _, ...kept } = this.view;
    const text = JSON.stringify(kept satisfies Kept);
    if (text === this.now) return;
    if (this.now) this.before.push(this.now);
    if (this.before.length > MOST) this.before.shift();
    this.after.length = 0;
    this.now = text;
  }

  undo(): void {
    this.move(this.before, this.after);
  }

  redo(): void {
    this.move(this.after, this.before);
  }

  private move(from: string[], to: string[]): void {
    const text = from.pop();
    if (text === undefined) return;
    to.push(this.now);
    const old = JSON.parse(this.now) as Kept;
    const fresh = JSON.parse(text) as Kept;
    this.now = text;
    Object.assign(this.view, fresh);
    const names = Object.keys(fresh) as (keyof Kept)[];
    this.show(new Set(names.filter((name) => JSON.stringify(old[name]) !== JSON.stringify(fresh[name]))));
  }
}
