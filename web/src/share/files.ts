/** Rows of the server as files: its own CSV and Parquet, page after page. */
import * as api from "../api";
import { make } from "../dom";

export type Format = "csv" | "parquet";

const PAGE = 10_000;
/** Pages of one save: a million rows. */
const MOST_PAGES = 100;

export function save(name: string, data: Blob): void {
  const link = make("a");
  link.href = URL.createObjectURL(data);
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Save all rows of a range; what was saved, for people. Pages of CSV become one file, of Parquet each stays one. */
export async function fetchAndSave(path: string, params: api.Params, format: Format, name: string): Promise<string> {
  const pages = await fetchPages(path, { ...params, format });
  const { blobs, isCut } = pages;
  if (format === "csv") save(`${name}.csv`, new Blob(await joined(blobs), { type: "text/csv" }));
  else blobs.forEach((blob, index) => save(blobs.length > 1 ? `${name}-${index + 1}.parquet` : `${name}.parquet`, blob));
  const files = format === "csv" || blobs.length === 1 ? "Saved" : `Saved as ${blobs.length} files of ${PAGE.toLocaleString("en")} rows`;
  return isCut ? `${files}: the first ${(MOST_PAGES * PAGE).toLocaleString("en")} rows` : files;
}

async function fetchPages(path: string, params: api.Params): Promise<{ blobs: Blob[]; isCut: boolean }> {
  const blobs: Blob[] = [];
  let cursor: string | undefined;
  do {
    const answer = await api.file(path, { ...params, limit: PAGE, cursor });
    blobs.push(await answer.blob());
    cursor = answer.headers.get("Tapeflow-Next") || undefined;
  } while (cursor && blobs.length < MOST_PAGES);
  return { blobs, isCut: cursor !== undefined };
}

/** The names of the columns stand once. */
async function joined(pages: Blob[]): Promise<Blob[]> {
  const [first, ...rest] = pages;
  const bodies = rest.map(async (page) => page.slice((await page.slice(0, 4096).text()).indexOf("\n") + 1));
  return first ? [first, ...(await Promise.all(bodies))] : [];
}
