/** What fired: told by a note that stays, a sound and the system's notification; and the sheet of all rules. */
import * as api from "../api";
import { at, make, toast } from "../dom";
import { clock } from "../format";
import type { Rules } from "./rules";
import type { View } from "../view";

const POLL_MS = 2000;
const EVENTS = 100;
const NOTES = 5;
const SOUND = "tapeflow.sound";
/** Two short tones: heard beside music, not mistaken for it. */
const TONES = [880, 1175];
const TONE_S = 0.14;

export class Alarms {
  private known: Set<string> | null = null;
  private audio: AudioContext | null = null;
  private isPolling = false;
  private shown = "";
  private readonly list = make("div", "rules");
  private readonly sound = make("input");
  private readonly notify = make("button");

  constructor(
    private readonly rules: Rules,
    private readonly view: View,
  ) {
    this.sound.type = "checkbox";
    this.sound.checked = localStorage.getItem(SOUND) === "1";
    this.sound.addEventListener("change", () => {
      localStorage.setItem(SOUND, this.sound.checked ? "1" : "0");
      if (this.sound.checked) this.ring(); // also lets the page sound later: a browser wants a click before
    });
    const label = make("label");
    label.append(this.sound, "Sound");
    this.notify.addEventListener("click", () => void this.ask());
    at("alerts").append(this.list, label, this.notify);
    this.showPermission();
    window.setInterval(() => void this.poll(), POLL_MS);
  }

  /** The rules have changed. */
  show(): void {
    at("alerts-menu").hidden = !this.rules.isServed;
    if (this.rules.isServed && !this.known) void this.poll();
    const shown = JSON.stringify(this.rules.all);
    if (shown === this.shown) return; // what has the focus keeps it
    this.shown = shown;
    this.list.replaceChildren(...this.rules.all.map((rule) => this.line(rule)));
    if (!this.rules.all.length) this.list.append(make("p", "hint", "None yet: + at the price axis, or Alt+A, makes one."));
  }

  private line(rule: api.Alert): HTMLElement {
    const line = make("p", "rule");
    const said = make("span", "", rule.name || rule.about);
    said.title = rule.about;
    const test = make("button", "", "Test");
    test.setAttribute("aria-label", `Test ${rule.about}`);
    test.addEventListener("click", () => void this.test(rule));
    const drop = make("button", "drop", "×");
    drop.setAttribute("aria-label", `Remove ${rule.about}`);
    drop.addEventListener("click", () => void this.rules.remove(rule));
    line.append(said, make("em", "tag", rule.problem ?? rule.state), test, drop);
    return line;
  }

  private async test(rule: api.Alert): Promise<void> {
    try {
      const tried = await api.tryAlert(rule.id);
      const told = tried.map((one) => (one.delivered ? `${one.target}: delivered in ${one.ms} ms` : `${one.target}: ${one.error}`));
      this.tell(`Test: ${rule.about}`, told.length ? told.join("; ") : "It has no targets: this page alone tells of it.");
    } catch (error) {
      toast((error as Error).message);
    }
  }

  /** What fired before the page was opened is known, not news. */
  private async poll(): Promise<void> {
    if (!this.rules.isServed || this.isPolling || (this.known && !this.rules.all.length)) return;
    this.isPolling = true;
    const events = await api.alertEvents(EVENTS).catch(() => null);
    this.isPolling = false;
    if (!events) return;
    const fresh = this.known ? events.filter((event) => !this.known?.has(event.id)) : [];
    this.known = new Set(events.map((event) => event.id));
    for (const event of fresh) this.tell(event.name || event.symbol, event.text, event.ts_fired);
    if (fresh.length) void this.rules.load(); // one that fires once is done now
  }

  private tell(title: string, text: string, ts?: number): void {
    const box = at("fired");
    const note = make("div", "note");
    const close = make("button", "drop", "×");
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => note.remove());
    note.append(make("b", "", title), close, make("span", "", text));
    if (ts) note.append(make("time", "", clock(ts, this.view.zone)));
    box.prepend(note);
    while (box.children.length > NOTES) box.lastElementChild?.remove();
    if (this.sound.checked) this.ring();
    if ("Notification" in window && Notification.permission === "granted") new Notification(title, { body: text, tag: title });
  }

  private ring(): void {
    this.audio ??= new AudioContext();
    const { audio } = this;
    void audio.resume();
    TONES.forEach((frequency, index) => {
      const tone = audio.createOscillator();
      const loud = audio.createGain();
      const start = audio.currentTime + index * TONE_S;
      tone.frequency.value = frequency;
      loud.gain.setValueAtTime(0.15, start);
      loud.gain.exponentialRampToValueAtTime(0.001, start + TONE_S);
      tone.connect(loud).connect(audio.destination);
      tone.start(start);
      tone.stop(start + TONE_S);
    });
  }

  private async ask(): Promise<void> {
    await Notification.requestPermission();
    this.showPermission();
  }

  private showPermission(): void {
    const state = "Notification" in window ? Notification.permission : "denied";
    this.notify.disabled = state !== "default";
    this.notify.textContent = { default: "Allow notifications", granted: "Notifications are on", denied: "Notifications are blocked by the browser" }[state];
  }
}
