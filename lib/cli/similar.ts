/** Owns guessing what was meant by a misspelt word. */

/** The candidate nearest to the word, or undefined where none is near enough to be worth a mention. */
export function similar(word: string, candidates: Iterable<string>): string | undefined {
  // What comes in may be any text at all; nothing sensible is that long, and the distance costs length times length.
  if (word.length > 64) return undefined;
  let best: string | undefined;
  let bestDistance = Math.min(Math.max(2, Math.floor(word.length * 0.35)), word.length - 1) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein's distance: letters to insert, delete or replace. */
function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replace = (above[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replace, (above[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    above = current;
  }
  return above[b.length] ?? 0;
}
