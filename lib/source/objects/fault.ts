/**
 * Owns how a bad object is reported: where in it, what stood there, what was expected (rule C1).
 *
 *   untrusted JSON -> parse -> Parsed: the value | every Fault -> log line, event, `kproxy-us check`
 *
 * What stood there is quoted so that it can forge no log line: control and direction characters escaped, long text cut.
 */

/** Field names and list positions from the top of the object. */
export type Path = readonly (string | number)[];

export interface Fault {
  readonly path: Path;
  readonly message: string;
}

/** The value, or all that is wrong with it together. */
export type Parsed<T> = { readonly ok: T } | { readonly faults: readonly Fault[] };

/** A list of a million bad entries is one mistake: the rest is counted. */
const MAX_FAULTS = 20;
const MAX_QUOTED = 64;
const MAX_MESSAGE = 300;

/** JSON leaves these as they are: DEL and C1 controls, soft hyphen, zero-width, direction and line separators, BOM. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

export function fault(path: Path, expected: string, got: unknown): Fault {
  return { path, message: `expected ${expected}, got ${describe(got)}` };
}

export function failed(faults: readonly Fault[]): { readonly faults: readonly Fault[] } {
  if (faults.length <= MAX_FAULTS) return { faults };
  const more = { path: [], message: `and ${faults.length - MAX_FAULTS} more faults` };
  return { faults: [...faults.slice(0, MAX_FAULTS), more] };
}

/** A value of JSON in a few words that are safe to print. */
export function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return quote(value);
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

export function quote(text: string): string {
  return escaped(JSON.stringify(text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}...` : text));
}

/** Text of a library or of the operating system, which may carry pieces of the input: one line, of a sane length. */
export function printable(text: string): string {
  return escaped(text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE)}...` : text);
}

/** `spec.ports[0].port`; '' for the object itself. */
export function pathText(path: Path): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^\w+$/.test(part)) text += text === '' ? part : `.${part}`;
    else text += `[${quote(part)}]`;
  }
  return text;
}

function escaped(text: string): string {
  return text.replace(UNPRINTABLE, (one) => {
    const code = one.codePointAt(0) ?? 0;
    return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}
