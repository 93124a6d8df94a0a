/** The page put together: what is asked first, who is told of what. */
import * as api from "./api";
import { Alarms } from "./alerts/alarms";
import { Catalogue } from "./chart/catalogue";
import { Chart } from "./chart/chart";
import { buttons as found, choices, keys, places, typeInto } from "./palette/commands";
import { GoTo } from "./chart/date";
import { at, make, mark, toast, write } from "./dom";
import { decimals, padded, percent, placeVenue, zoneName } from "./format";
import { listen } from "./palette/keys";
import { Levels } from "./chart/levels";
import { Market } from "./market/market";
import { Mean } from "./chart/mean";
import { whole } from "./chart/names";
import { Operator } from "./trust/operator";
import { newest } from "./chart/past";
import { Palette } from "./palette/palette";
import { Pulse } from "./trust/pulse";
import { Rules } from "./alerts/rules";
import { Scales } from "./chart/scale";
import { Share } from "./share/share";
import { Stream } from "./stream";
import { Tabs } from "./tabs";
import { Trust } from "./trust/trust";
import type { CandleRow } from "./types/rows";
import { Undo } from "./undo";
import * as views from "./view";
import { Watch } from "./market/watch";
import { framed } from "./ticks";

/** What a view that names nothing shows, where it is there. */
const USUAL = { symbol: "BTCUSDT", interval: "1m" };
const ZONES = ["utc", "local", "exchange"] as const;
/** The title of a tab is read at a glance. */
const TITLE_MS = 1000;

async function first(): Promise<[api.About, api.SymbolRow[], api.Kind[]]> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await Promise.all([api.about(), api.symbols(), api.catalogue().catch(() => [])]);
    } catch (error) {
      if (error instanceof api.ProblemError && (error.status === 401 || error.status === 403)) await askKey();
      else await new Promise((resolve) => window.setTimeout(resolve, Math.min(3000, 300 * 2 ** tries)));
    }
  }
}

function askKey(): Promise<void> {
  const dialog = at<HTMLDialogElement>("ask-key");
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      api.keep(at<HTMLInputElement>("key").value.trim());
      resolve();
    }, { once: true });
  });
}

async function begin(): Promise<void> {
  const view = views.read();
  // The answer is on its way while it is asked what there is. A view that names nothing waits until that is known.
  if (view.symbol && view.interval) api.candlesAhead(newest({ symbol: view.symbol, interval: view.interval }));
  let colours = views.dress(view.theme);
  const [about, rows, kinds] = await first();
  placeVenue(about.timezone ?? "UTC");
  view.shown = view.shown.map((pick) => whole(pick, kinds));
  const names = rows.map((row) => row.symbol);
  if (!names.includes(view.symbol)) view.symbol = names.includes(USUAL.symbol) ? USUAL.symbol : (names[0] ?? "");
  const usual = about.intervals.includes(USUAL.interval) ? USUAL.interval : (about.intervals[0] ?? USUAL.interval);
  if (!about.intervals.includes(view.interval)) view.interval = usual;
  for (const button of document.querySelectorAll<HTMLElement>('[data-copy="sql"]')) button.hidden = !about.has_sql;
  write(at("version"), about.version === "unknown" ? "Tapeflow" : `Tapeflow ${about.version}`);

  const stream = new Stream((state) => {
    trust.connected();
    if (state === "live") chart.past.renewSoon();
  });
  const pulse = new Pulse(() => stream.state !== "gone");
  const trust = new Trust(stream, view, () => about.venue, pulse);
  const tick = (): string => watch.tick(view.symbol);
  let shownPrice = "";
  const entitle = framed(() => (document.title = `${shownPrice} ${view.symbol} · Tapeflow`), TITLE_MS);
  const priced = (row: CandleRow): void => {
    if (row.symbol !== view.symbol) return;
    levels.priced(row.close);
    const shown = padded(row.close, decimals(tick()));
    write(at("price"), shown);
    const open = watch.get(view.symbol)?.open ?? NaN;
    const ratio = Number(row.close) / open - 1;
    write(at("change"), Number.isFinite(ratio) ? percent(ratio) : "");
    mark(at("change"), "tone", ratio < 0 ? "down" : "up");
    shownPrice = shown;
    entitle();
  };
  const chart = new Chart(view, colours, stream, {
    priced, edit: (pick) => catalogue.open(pick), remove: (pick) => catalogue.remove(pick),
  });
  chart.overlays.kinds = kinds;
  chart.overlays.streamed = about.indicators;
  const catalogue = new Catalogue(view, kinds, () => {
    written();
    void chart.indicate();
  });
  const rules = new Rules(about.has_alerts, () => {
    levels.show();
    alarms.show();
  });
  const levels = new Levels(chart, rules, view, () => colours);
  const alarms = new Alarms(rules, view);
  const market = new Market(stream, view, (ts) => trust.heard(ts));
  const mean = new Mean(stream, view, () => trust.now(), colours, () => written());
  const operator = new Operator(pulse, view, () => trust.now());
  const tabs = new Tabs((isOpen) => operator.toggle(isOpen));

  /** The view has changed. */
  const written = (): void => {
    views.write(view);
    undo.note();
  };
  const open = (): void => {
    written();
    write(at("symbol"), view.symbol);
    write(at("price"), "–");
    press("intervals", view.interval);
    watch.mark(view.symbol);
    trust.reset();
    chart.dress(colours);
    // First, because what is asked first is answered first: candles are what one waits for.
    chart.open(tick()).catch((error: Error) => toast(error.message));
    market.open(tick());
    mean.open(tick());
    levels.open(tick());
    operator.open();
  };
  const choose = (symbol: string): void => {
    if (symbol === view.symbol) return;
    view.symbol = symbol;
    open();
  };
  const ticked = (symbol: string): void => {
    if (symbol !== view.symbol) return;
    for (const part of [chart, market, mean, levels]) part.retick(tick());
  };
  const watch = new Watch(stream, { choose, ticked }, usual, about.intervals.includes("1h"));
  watch.learn(rows);

  const interval = (name: string | undefined): void => {
    if (!name || name === view.interval) return;
    view.interval = name;
    open();
  };
  buttons("intervals", about.intervals, interval);
  buttons("styles", views.STYLES, (style) => {
    view.style = style as views.Style;
    written();
    styled();
    chart.restyle();
  });
  const styled = (): void => {
    press("styles", view.style);
    write(at("style-name"), view.style);
    at<HTMLDetailsElement>("styles-menu").open = false;
  };
  styled();

  const dress = (): void => {
    colours = views.dress(view.theme);
    chart.dress(colours);
    mean.colours = colours;
    levels.show();
    write(at("theme"), { auto: "Auto", dark: "Dark", light: "Light" }[view.theme]);
    write(at("zone"), { utc: "UTC", local: "Local", exchange: "Exchange" }[view.zone]);
    at("zone").title = `Time zone: ${zoneName(view.zone)}`;
    scales.show();
    operator.open();
    written();
  };
  const scales = new Scales(view, () => dress());
  at("theme").addEventListener("click", () => {
    view.theme = ({ auto: "dark", dark: "light", light: "auto" } as const)[view.theme];
    dress();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
  at("zone").addEventListener("click", () => {
    view.zone = ZONES[(ZONES.indexOf(view.zone) + 1) % ZONES.length] ?? "utc";
    dress();
  });
  at("fit").addEventListener("click", () => chart.fit());
  at("now").addEventListener("click", () => chart.now());
  at("symbol").addEventListener("click", () => at("search").focus());
  const go = new GoTo(view, () => trust.now(), (moment) => chart.go(moment).catch((error: Error) => toast(error.message)));
  const undo = new Undo(view, (changed) => {
    if (changed.has("style")) {
      styled();
      chart.restyle();
    }
    dress();
    if (changed.has("symbol") || changed.has("interval")) open();
    else if (changed.has("shown")) void chart.indicate();
    if (changed.has("mean")) mean.again();
  });
  new Share(view, chart, about, () => trust.now());
  new Palette(() => [
    ...found(),
    ...choices("Theme", ["auto", "dark", "light"] as const, (theme) => {
      view.theme = theme;
      dress();
    }),
    ...choices("Time zone", ZONES, (zone) => {
      view.zone = zone;
      dress();
    }),
    ...choices("Indicator", kinds.map((kind) => kind.title), (title) => {
      catalogue.open();
      typeInto("catalogue", title);
    }),
    ...places((element) => tabs.reveal(element)),
    ...keys(),
  ]);
  listen({
    scroll: (bars) => chart.scroll(bars),
    zoom: (factor) => chart.zoom(factor),
    now: () => chart.now(),
    fit: () => chart.fit(),
    scale: (name) => scales.toggle(name),
    invert: () => scales.invert(),
    date: () => go.open(),
    picture: () => document.querySelector<HTMLButtonElement>("[data-export=png]")?.click(),
    alert: () => levels.add(),
    undo: () => undo.undo(),
    redo: () => undo.redo(),
    indicators: () => catalogue.open(),
    interval: (index) => interval(about.intervals[index]),
    symbol: (step) => {
      const shown = watch.symbols();
      const next = shown[(shown.indexOf(view.symbol) + step + shown.length) % shown.length];
      if (next) choose(next);
    },
    operator: () => at("operator").click(),
  });
  window.addEventListener("hashchange", () => location.reload());

  dress();
  stream.connect();
  open();
  void rules.load();
  await watch.refresh(rows).catch((error: Error) => toast(error.message));
  watch.mark(view.symbol);
}

function buttons(id: string, names: readonly string[], chosen: (name: string) => void): void {
  at(id).replaceChildren(
    ...names.map((name) => {
      const made = make("button", "", name);
      made.dataset["name"] = name;
      made.addEventListener("click", () => chosen(name));
      return made;
    }),
  );
}

function press(id: string, name: string): void {
  for (const button of at(id).querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset["name"] === name));
  }
}

void begin();
