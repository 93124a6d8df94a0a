/** How the run is doing, asked for every few seconds for whoever shows it; the last minutes are kept in the page. */
import * as api from "../api";

const POLL_MS = 4000;
/** Samples kept: a quarter of an hour. */
const KEPT = 225;
/** A rate is taken over so many samples: one alone jumps. */
const SMOOTH = 3;

interface Sample {
  at: number;
  metrics: Map<string, number>;
}

export class Pulse {
  health: api.Health | null = null;
  private readonly samples: Sample[] = [];
  private readonly told: (() => void)[] = [];
  /** Each name once: one that is cut from an answer would keep all of its text. */
  private readonly known = new Map<string, string>();
  private isAsking = false;

  constructor(private readonly isWanted: () => boolean) {
    window.setInterval(() => void this.poll(), POLL_MS);
  }

  each(listener: () => void): void {
    this.told.push(listener);
  }

  async poll(): Promise<void> {
    if (this.isAsking || document.hidden || !this.isWanted()) return;
    this.isAsking = true;
    try {
      const [health, metrics] = await Promise.all([api.health(), api.metrics()]);
      this.take(health, metrics);
      for (const listener of this.told) listener();
    } catch {
      // the stream tells whether the server is there
    } finally {
      this.isAsking = false;
    }
  }

  private take(health: api.Health, metrics: Map<string, number>): void {
    this.health = health;
    const uptime = (sample: Sample | undefined): number => sample?.metrics.get("tapeflow_uptime_seconds") ?? 0;
    const made = { at: performance.now() / 1000, metrics: new Map([...metrics].map(([name, value]) => [this.own(name), value])) };
    if (uptime(made) < uptime(this.samples.at(-1))) this.samples.length = 0; // started anew: its counters are
    this.samples.push(made);
    if (this.samples.length > KEPT) this.samples.shift();
  }

  private own(name: string): string {
    let own = this.known.get(name);
    if (own === undefined) {
      own = JSON.parse(JSON.stringify(name)) as string;
      this.known.set(own, own);
    }
    return own;
  }

  names(): Iterable<string> {
    return this.samples.at(-1)?.metrics.keys() ?? [];
  }

  value(name: string): number | undefined {
    return this.samples.at(-1)?.metrics.get(name);
  }

  /** A second, of a counter. */
  rate(name: string): number | undefined {
    return this.rates(name).at(-1);
  }

  values(name: string): number[] {
    return this.samples.map((sample) => sample.metrics.get(name)).filter((value) => value !== undefined);
  }

  rates(name: string): number[] {
    const found: number[] = [];
    this.samples.forEach((sample, index) => {
      const before = this.samples[Math.max(0, index - SMOOTH)];
      const [from, to] = [before?.metrics.get(name), sample.metrics.get(name)];
      if (!before || before === sample || from === undefined || to === undefined) return;
      found.push(Math.max(0, to - from) / (sample.at - before.at));
    });
    return found;
  }
}
