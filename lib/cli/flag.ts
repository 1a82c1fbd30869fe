/**
 * Owns what a flag is: its name, help and default, and how its text becomes a value. A table of flags declares them to
 * commander for the help, to `readArgv` for the syntax, and types the values that are read.
 *
 *   Flags -> addFlags -> commander; commander's texts -> readFlags -> FlagValues<Flags>, faults that name the flag (rule C1)
 */
import { type Command, Option } from 'commander';
import { isFault, type Parse, type Parsed, quote } from '../config/parsed.js';
import { parseBoolean } from '../config/scalar.js';
import type { Arity } from './argv.js';

export interface Flag<T> {
  readonly group: string;
  /** What stands after the name in the help: `<file>`; '' for booleans. */
  readonly placeholder: string;
  readonly help: string;
  readonly arity: Arity;
  /** One letter that stands for the name. */
  readonly letter: string | undefined;
  readonly fallback: T;
  /** The default as the help shows it; undefined: none is shown. */
  readonly shown: string | undefined;
  /** All texts that were given for it, in order. */
  readonly read: (texts: readonly string[]) => Parsed<T>;
}

export type Flags = Readonly<Record<string, Flag<unknown>>>;

export type FlagValues<F extends Flags> = { readonly [Name in keyof F]: F[Name] extends Flag<infer T> ? T : never };

/** `[group, placeholder, help]` */
type Words = readonly [group: string, placeholder: string, help: string];

/** A flag with one value; the last of several counts, as in Go. */
export function valueFlag<T>(words: Words, parse: Parse<T>, fallback: NoInfer<T>, shown?: string): Flag<T> {
  const [group, placeholder, help] = words;
  const read = (texts: readonly string[]) => parse(texts.at(-1) ?? '');
  return { group, placeholder, help, arity: 'value', letter: undefined, fallback, shown, read };
}

/** A flag that may be absent; the help says what then holds. */
export function optionalFlag<T>(words: Words, parse: Parse<T>, shown?: string): Flag<T | undefined> {
  return valueFlag<T | undefined>(words, parse, undefined, shown);
}

/** A comma-separated list; several are joined, as pflag's string slices are. */
export function commaFlag<T>(words: Words, parse: Parse<readonly T[]>, shown: string): Flag<readonly T[]> {
  return { ...valueFlag<readonly T[]>(words, parse, [], shown), read: (texts) => parse(texts.join(',')) };
}

export function booleanFlag(group: string, help: string): Flag<boolean> {
  return { ...valueFlag([group, '', help], parseBoolean, false), arity: 'boolean' };
}

/** Paths: the flag takes every word up to the next flag, and may be given several times. */
export function pathsFlag(words: Words, shown: string): Flag<readonly string[]> {
  const [group, placeholder, help] = words;
  const read = (texts: readonly string[]): Parsed<readonly string[]> =>
    texts.includes('') ? { fault: `${quote('')}: expected a file or directory` } : { value: texts };
  return { group, placeholder, help, arity: 'list', letter: undefined, fallback: [], shown, read };
}

/** For `readArgv`. */
export function aritiesOf(flags: Flags): ReadonlyMap<string, Arity> {
  return new Map(Object.entries(flags).map(([name, { arity }]) => [name, arity]));
}

export function lettersOf(flags: Flags): ReadonlyMap<string, string> {
  return new Map(Object.entries(flags).flatMap(([name, { letter }]) => (letter === undefined ? [] : [[letter, name]])));
}

/** Declares the flags to commander, which keeps all texts of each. */
export function addFlags(command: Command, flags: Flags): void {
  for (const [name, flag] of Object.entries(flags)) {
    const letter = flag.letter === undefined ? '' : `-${flag.letter}, `;
    // A boolean comes as `--flag=true`; commander takes a value only where one is declared. The help leaves it out.
    const placeholder = flag.placeholder === '' ? BOOLEAN_PLACEHOLDER : flag.placeholder;
    const help = flag.shown === undefined ? flag.help : `${flag.help} (default ${flag.shown})`;
    const option = new Option(`${letter}--${name} ${placeholder}`, help)
      .helpGroup(`${flag.group}:`)
      .argParser<readonly string[]>((text, before) => [...(Array.isArray(before) ? before : []), text]);
    command.addOption(option);
  }
}

/** The values of a table; a flag with a fault has its default, so that the others can be checked with it. */
export function readFlags<F extends Flags>(command: Command, flags: F, faults: string[]): FlagValues<F> {
  const given = command.opts<Record<string, readonly string[] | undefined>>();
  const values = Object.entries(flags).map(([name, flag]) => {
    const texts = given[camelCase(name)];
    const parsed = texts === undefined ? { value: flag.fallback } : flag.read(texts);
    if (!isFault(parsed)) return [name, parsed.value];
    faults.push(`--${name}: ${parsed.fault}`);
    return [name, flag.fallback];
  });
  return Object.fromEntries(values) as FlagValues<F>;
}

/** Names of the flags that the command line has. */
export function givenFlags(command: Command, flags: Flags): ReadonlySet<string> {
  const given = command.opts<Record<string, readonly string[] | undefined>>();
  return new Set(Object.keys(flags).filter((name) => given[camelCase(name)] !== undefined));
}

/** The values of a table where no flag was given. */
export function defaultsOf<F extends Flags>(flags: F): FlagValues<F> {
  return Object.fromEntries(Object.entries(flags).map(([name, { fallback }]) => [name, fallback])) as FlagValues<F>;
}

export const BOOLEAN_PLACEHOLDER = '[boolean]';

/** commander's own key for a flag. */
function camelCase(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
