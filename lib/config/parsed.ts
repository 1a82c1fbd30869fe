/**
 * Owns what a parser of configuration text answers: the value, or a fault that says what was given and what was expected.
 *
 *   flag or field text -> Parse -> value | fault -> the caller puts the place (flag, field) before it (rule C1)
 */

export type Parsed<T> = { readonly value: T } | Fault;

export interface Fault {
  /** `"5x": expected a duration such as 250ms, 1m30s or 1h`. */
  readonly fault: string;
}

export type Parse<T> = (text: string) => Parsed<T>;

export function fault(text: string, expected: string): Fault {
  return { fault: `${quote(text)}: expected ${expected}` };
}

export function isFault<T>(parsed: Parsed<T>): parsed is Fault {
  return 'fault' in parsed;
}

/** In double quotes, control characters escaped, shortened: the text may be anything at all. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
}

/** The parts of a comma-separated list, trimmed; none for empty text, as pflag's string slices do. */
export function listOf(text: string): readonly string[] {
  return text.trim() === '' ? [] : text.split(',').map((part) => part.trim());
}

/** Every part parsed; the fault names the first part that is wrong. */
export function listParser<T>(parse: Parse<T>): Parse<readonly T[]> {
  return (text) => {
    const values: T[] = [];
    for (const part of listOf(text)) {
      const parsed = parse(part);
      if (isFault(parsed)) return parsed;
      values.push(parsed.value);
    }
    return { value: values };
  };
}
