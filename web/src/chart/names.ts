/** Names of indicators as the API writes them, `bollinger_20_2`, and with a colour as the URL does, `bollinger_20_2~cc79a7`. */
import type { Kind } from "../api";

export interface Pick {
  name: string;
  /** `#rrggbb`. */
  colour: string;
}

/** Told apart by the colour-blind too (Okabe and Ito). */
export const PALETTE: readonly string[] = ["#e69f00", "#56b4e9", "#cc79a7", "#009e73", "#d55e00", "#0072b2"];
const COLOUR = /^[0-9a-f]{6}$/;

const colourAt = (index: number): string => PALETTE[index % PALETTE.length] as string;

export function parse(text: string): Pick[] {
  const found = new Map<string, Pick>();
  for (const word of text.split(",").filter(Boolean)) {
    const [name = "", given = ""] = word.split("~");
    if (!found.has(name)) found.set(name, { name, colour: COLOUR.test(given) ? `#${given}` : colourAt(found.size) });
  }
  return [...found.values()];
}

/** A colour is written only where it is not the one that the place gives. */
export const print = (picks: readonly Pick[]): string =>
  picks.map((pick, index) => (pick.colour === colourAt(index) ? pick.name : `${pick.name}~${pick.colour.slice(1)}`)).join(",");

/** The first colour that nothing has yet. */
export const freeColour = (picks: readonly Pick[]): string =>
  PALETTE.find((colour) => !picks.some((pick) => pick.colour === colour)) ?? colourAt(picks.length);

export const title = (name: string): string => name.replaceAll("_", " ");

/** The kind that a name is of, and the values of its parameters; those left out have their defaults. */
export function read(name: string, kinds: readonly Kind[]): { kind: Kind; values: number[] } | undefined {
  const kind = kinds.find((one) => name === one.kind || name.startsWith(`${one.kind}_`));
  if (!kind) return undefined;
  const given = name.slice(kind.kind.length + 1).split("_").filter(Boolean).map(Number);
  return { kind, values: kind.parameters.map((parameter, index) => given[index] ?? parameter.default) };
}

export const called = (kind: Kind, values: readonly number[]): string => [kind.kind, ...values.map(String)].join("_");

/** As the server writes it, with all parameters; what it does not know stays as it is. */
export function whole(pick: Pick, kinds: readonly Kind[]): Pick {
  const known = read(pick.name, kinds);
  return known ? { ...pick, name: called(known.kind, known.values) } : pick;
}
