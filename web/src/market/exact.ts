/** Exact decimals as whole numbers of their smallest step: sums of sizes and groups of prices, without rounding. */

export function scaled(text: string, places: number): bigint {
  const [whole = "0", rest = ""] = text.split(".");
  return BigInt(whole + rest.slice(0, places).padEnd(places, "0"));
}

export function unscaled(value: bigint, places: number): string {
  if (!places) return String(value);
  const digits = String(value < 0n ? -value : value).padStart(places + 1, "0");
  return `${value < 0n ? "-" : ""}${digits.slice(0, -places)}.${digits.slice(-places)}`;
}
