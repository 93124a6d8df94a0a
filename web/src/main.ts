/** The page put together: what is asked first, who is told of what. */
import * as api from "./api";
import { Chart } from "./chart";
import { at, make, toast, write } from "./dom";
import { decimals, padded, percent } from "./format";
import { listen } from "./keys";
import { Market } from "./market";
import { Mean } from "./mean";
import { Operator } from "./operator";
import { share } from "./share";
import { Stream } from "./stream";
import { Trust } from "./trust";
import type { CandleRow } from "./types/rows";
import * as views from "./view";
import { Watch } from "./watch";

/** Names that are offered where the server has no rows yet to tell which it makes. */
const DEFAULTS = ["sma_20", "ema_20", "bollinger_20_2", "rsi_14", "macd_12_26_9"];

async function first(): Promise<[api.About, api.SymbolRow[]]> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await Promise.all([api.about(), api.symbols()]);
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
  let colours = views.dress(view.theme);
  const [about, rows] = await first();
  const ticks = new Map(rows.map((row) => [row.symbol, row.tick]));
  const names = rows.map((row) => row.symbol);
  if (!names.includes(view.symbol)) view.symbol = names.includes("BTCUSDT") ? "BTCUSDT" : (names[0] ?? "");
  if (!about.intervals.includes(view.interval)) view.interval = about.intervals.includes("1m") ? "1m" : (about.intervals[0] ?? "1m");
  write(at("version"), about.version === "unknown" ? "Tapeflow" : `Tapeflow ${about.version}`);

  const stream = new Stream((state) => {
    trust.connected();
    if (state === "live") chart.renewSoon();
  });
  const trust = new Trust(stream, view, () => about.venue);
  const tick = (): string => ticks.get(view.symbol) ?? "0.01";
  const price = (row: CandleRow): void => {
    if (row.symbol !== view.symbol) return;
    const shown = padded(row.close, decimals(tick()));
    write(at("price"), shown);
    const open = watch.get(view.symbol)?.open ?? NaN;
    const ratio = Number(row.close) / open - 1;
    write(at("change"), Number.isFinite(ratio) ? percent(ratio) : "");
    at("change").dataset["tone"] = ratio < 0 ? "down" : "up";
    document.title = `${shown} ${view.symbol} · Tapeflow`;
  };
  const chart = new Chart(view, colours, stream, price);
  const market = new Market(stream, view, (ts) => trust.heard(ts));
  const mean = new Mean(stream, view, () => trust.now(), colours);
  const operator = new Operator();

  const open = (): void => {
    views.write(view);
    write(at("symbol"), view.symbol);
    write(at("price"), "–");
    press("intervals", view.interval);
    watch.mark(view.symbol);
    trust.reset();
    chart.dress(colours);
    market.open(tick());
    mean.open(tick());
    chart.open(tick()).catch((error: Error) => toast(error.message));
  };
  const choose = (symbol: string): void => {
    if (symbol === view.symbol) return;
    view.symbol = symbol;
    const row = watch.get(symbol)?.row;
    if (row) ticks.set(symbol, row.tick);
    open();
  };
  const watch = new Watch(stream, choose, about.intervals.includes("1m") ? "1m" : (about.intervals[0] ?? "1m"));

  const interval = (name: string | undefined): void => {
    if (!name || name === view.interval) return;
    view.interval = name;
    open();
  };
  buttons("intervals", about.intervals, interval);
  buttons("styles", views.STYLES, (style) => {
    view.style = style as views.Style;
    views.write(view);
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
    write(at("theme"), { auto: "Auto", dark: "Dark", light: "Light" }[view.theme]);
    write(at("zone"), view.zone === "utc" ? "UTC" : "Local");
    at("log").setAttribute("aria-pressed", String(view.log));
    views.write(view);
  };
  at("theme").addEventListener("click", () => {
    view.theme = ({ auto: "dark", dark: "light", light: "auto" } as const)[view.theme];
    dress();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
  at("zone").addEventListener("click", () => {
    view.zone = view.zone === "utc" ? "local" : "utc";
    dress();
  });
  const log = (): void => {
    view.log = !view.log;
    dress();
  };
  at("log").addEventListener("click", log);
  at("fit").addEventListener("click", () => chart.fit());
  at("now").addEventListener("click", () => chart.now());
  at("symbol").addEventListener("click", () => at("search").focus());
  indicators(view, about, chart);
  share(view, chart, about);
  listen({
    scroll: (bars) => chart.scroll(bars),
    zoom: (factor) => chart.zoom(factor),
    now: () => chart.now(),
    fit: () => chart.fit(),
    log,
    interval: (index) => interval(about.intervals[index]),
    symbol: (step) => {
      const shown = watch.symbols();
      const next = shown[(shown.indexOf(view.symbol) + step + shown.length) % shown.length];
      if (next) choose(next);
    },
    operator: () => operator.toggle(),
  });
  window.addEventListener("hashchange", () => location.reload());

  dress();
  stream.connect();
  open();
  await watch.refresh().catch((error: Error) => toast(error.message));
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

/** The names that the server makes, with the colours in which they are drawn. */
function indicators(view: views.View, about: api.About, chart: Chart): void {
  const menu = at<HTMLDetailsElement>("indicators-menu");
  if (!about.channels.includes("indicators")) {
    menu.hidden = true;
    return;
  }
  const box = at("indicators");
  const fill = (names: readonly string[]): void => {
    box.replaceChildren(
      ...names.map((name) => {
        const label = make("label");
        const check = make("input");
        check.type = "checkbox";
        check.checked = view.shown.includes(name);
        check.addEventListener("change", () => {
          view.shown = check.checked ? [...view.shown, name] : view.shown.filter((one) => one !== name);
          views.write(view);
          void chart.indicate();
        });
        label.append(check, make("span", "", name.replaceAll("_", " ")));
        return label;
      }),
    );
  };
  fill(DEFAULTS);
  api.indicators({ symbol: view.symbol, interval: view.interval, limit: 100 }).then((page) => {
    const found = [...new Set(page.data.map((row) => row.name))];
    if (found.length) fill(found);
  }).catch(() => undefined);
}

void begin();
