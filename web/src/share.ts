/** The view as something to take along: a line to paste, a picture, a file. */
import * as api from "./api";
import type { Chart } from "./chart";
import { at, make, toast } from "./dom";
import type { View } from "./view";

function text(kind: string, view: View, about: api.About): string {
  const url = location.origin + api.address("/v1/candles", { symbol: view.symbol, interval: view.interval, limit: 1000 });
  switch (kind) {
    case "curl":
      return about.needs_key ? `curl -sS -H "Authorization: Bearer $TAPEFLOW_API_KEY" '${url}'` : `curl -sS '${url}'`;
    case "python":
      return [
        "import tapeflow as tf",
        "",
        `client = tf.connect("${location.origin}")`,
        `print(client.history("candles", symbol="${view.symbol}", interval="${view.interval}", limit=1000).arrow())`,
        `for row in client.channel("candles", symbol="${view.symbol}", interval="${view.interval}"):`,
        "    print(row)",
        "",
      ].join("\n");
    case "sql":
      return (
        "SELECT ts_start, open, high, low, close, volume FROM candles\n" +
        `WHERE symbol = '${view.symbol.replaceAll("'", "''")}' AND interval = '${view.interval}' ORDER BY ts_start DESC LIMIT 1000`
      );
    default:
      return location.href;
  }
}

function save(name: string, data: Blob): void {
  const link = make("a");
  link.href = URL.createObjectURL(data);
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function share(view: View, chart: Chart, about: api.About): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-copy]")) {
    const kind = button.dataset["copy"] ?? "";
    button.addEventListener("click", () => {
      at<HTMLDetailsElement>("share-menu").open = false;
      navigator.clipboard.writeText(text(kind, view, about)).then(
        () => toast("Copied"),
        () => toast("The browser does not let the page copy"),
      );
    });
  }
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-export]")) {
    button.addEventListener("click", () => {
      at<HTMLDetailsElement>("share-menu").open = false;
      const name = `${view.symbol.replaceAll(/[^A-Za-z0-9]/g, "-")}-${view.interval}`;
      if (button.dataset["export"] === "csv") save(`${name}.csv`, new Blob([chart.csv()], { type: "text/csv" }));
      else chart.picture().toBlob((picture) => picture && save(`${name}.png`, picture));
    });
  }
}
