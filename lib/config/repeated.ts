/**
 * Owns keeping once what many objects repeat: names of namespaces, lists of ports.
 *
 *   value + its text -> Repeated.one -> the first value of that text
 *
 * Values that nobody uses any more stay, up to the bound; then all are forgotten and gathered anew.
 */
const MAX_KNOWN = 10_000;
/** Nothing that long repeats; a hostile one must not stay. */
const MAX_TEXT = 1_000;

export class Repeated<T> {
  readonly #known = new Map<string, T>();

  /** `text` tells values apart. The value must not be changed by anybody. */
  one(text: string, value: T): T {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    if (text.length > MAX_TEXT) return value;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(text, value);
    return value;
  }
}
