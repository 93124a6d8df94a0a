/** Finding by a few letters: each stands beside the one before it or begins a word; only the first may stand anywhere. */

/** How well a text fits what is wanted: more is better, null if it does not. */
export function fit(wanted: string, text: string): number | null {
  const letters = wanted.toLowerCase().replaceAll(" ", "");
  const best = follow(letters, text.toLowerCase(), 0, -2);
  return best === null ? null : best - text.length / 100;
}

const isStart = (text: string, index: number): boolean => index === 0 || /[^a-z0-9]/.test(text[index - 1] ?? "");

/** The best way to place the letters from one on, the one before it being placed. */
function follow(letters: string, text: string, from: number, before: number): number | null {
  const letter = letters[from];
  if (letter === undefined) return 0;
  let best: number | null = null;
  for (let index = Math.max(0, before + 1); index < text.length; index += 1) {
    if (text[index] !== letter) continue;
    const worth = (index === before + 1 ? 4 : 0) + (isStart(text, index) ? 3 : 0);
    if (!worth && from) continue;
    const rest = follow(letters, text, from + 1, index);
    if (rest !== null) best = Math.max(best ?? 0, rest + worth);
  }
  return best;
}
