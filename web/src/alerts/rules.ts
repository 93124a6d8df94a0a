/** The rules of alerts that the server keeps, as the page knows them; others may change them too. */
import * as api from "../api";
import { toast } from "../dom";

/** How often the rules are asked for: `tapeflow alert` and other pages change them. */
const POLL_MS = 10_000;

export type Price = Extract<api.AlertDraft["when"], { kind: "price" }>;
export type PriceRule = api.Alert & { when: Price };

const isPrice = (rule: api.Alert): rule is PriceRule => rule.when.kind === "price";

/** What is sent for a rule that is kept: a target without an address keeps its own. */
const draft = (rule: api.Alert): api.AlertDraft => ({
  when: rule.when, name: rule.name, note: rule.note, enabled: rule.enabled, once: rule.once, cooldown_s: rule.cooldown_s,
  targets: rule.targets.map(({ type, name }) => ({ type, name }) as api.AlertDraft["targets"][number]),
});

export class Rules {
  all: api.Alert[] = [];

  constructor(
    /** A gateway whose data folder another one has keeps none. */
    readonly isServed: boolean,
    private readonly changed: () => void,
  ) {
    window.setInterval(() => {
      if (!document.hidden) void this.load();
    }, POLL_MS);
  }

  async load(): Promise<void> {
    if (!this.isServed) return;
    try {
      this.all = await api.alerts();
    } catch {
      return; // the server is gone: they are kept
    }
    this.changed();
  }

  prices(symbol: string): PriceRule[] {
    return this.all.filter(isPrice).filter((rule) => rule.when.symbol === symbol);
  }

  /** Fires once, then it is done: a level that was crossed is used up, as people know it. */
  make(symbol: string, level: string, crosses: Price["crosses"]): Promise<boolean> {
    return this.told(() => api.makeAlert({ when: { kind: "price", symbol, crosses, level, hysteresis: "0" }, once: true }));
  }

  move(rule: PriceRule, level: string, crosses: Price["crosses"]): Promise<boolean> {
    return this.told(() => api.putAlert(rule.id, draft({ ...rule, when: { ...rule.when, level, crosses } })));
  }

  remove(rule: api.Alert): Promise<boolean> {
    return this.told(() => api.dropAlert(rule.id));
  }

  private async told(call: () => Promise<unknown>): Promise<boolean> {
    let isDone = true;
    try {
      await call();
    } catch (error) {
      isDone = false;
      toast((error as Error).message);
    }
    await this.load();
    return isDone;
  }
}
