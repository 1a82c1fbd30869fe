/**
 * Owns the syntax of a command line: Go's, since kube-proxy's arguments must work unchanged.
 *
 *   ["--proxy_mode", "userspace", "-v=4", "--cleanup"] -> readArgv -> ["--proxy-mode=userspace", "--v=4", "--cleanup=true"]
 *
 * What comes out has one form, `--flag=value`; names that nobody knows and values that are missing are faults, all of them
 * collected, so that one run reports every mistake (rule C1).
 */
import { quote } from '../config/parsed.js';
import { similar } from './similar.js';

/** `boolean`: takes a value only after `=`. `list`: takes every following word up to the next flag (a shell's `*.yaml`). */
export type Arity = 'boolean' | 'value' | 'list';

export interface Vocabulary {
  /** Flags that mean something to the command, by name without dashes. */
  readonly flags: ReadonlyMap<string, Arity>;
  /** Flags that are accepted and do nothing. */
  readonly ignored: ReadonlyMap<string, Arity>;
  /** Names for single letters. */
  readonly letters: ReadonlyMap<string, string>;
}

export interface ReadArgv {
  /** Operands as they were, flags as `--name=value`, a list as its flag repeated. */
  readonly argv: readonly string[];
  readonly operands: readonly string[];
  /** Names of ignored flags that were given, each once, in the order given. */
  readonly ignored: readonly string[];
  readonly faults: readonly string[];
}

export function readArgv(words: readonly string[], vocabulary: Vocabulary): ReadArgv {
  const flags: string[] = [];
  const operands: string[] = [];
  const ignored = new Set<string>();
  const faults: string[] = [];
  const rest = [...words];

  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--') {
      operands.push(...rest.splice(0));
    } else if (!word.startsWith('-') || word === '-') {
      operands.push(word);
    } else {
      const { name, value } = splitFlag(word, vocabulary.letters);
      const ignorable = vocabulary.ignored.get(name);
      const arity = vocabulary.flags.get(name) ?? ignorable;
      if (arity === undefined) {
        faults.push(unknownFlag(word, name, vocabulary));
        if (value === undefined) skipValues(name, vocabulary, rest);
        continue;
      }
      const values = value === undefined ? takeValues(arity, rest) : [value];
      if (values.length === 0) faults.push(`--${name}: expected a value after it`);
      else if (ignorable !== undefined) ignored.add(name);
      else for (const one of values) flags.push(`--${name}=${one}`);
    }
  }
  // The `--` keeps commander from reading an operand such as `-` or one that stood after `--` as a flag.
  const argv = operands.length > 0 ? [...flags, '--', ...operands] : flags;
  return { argv, operands, ignored: [...ignored], faults };
}

interface SplitFlag {
  readonly name: string;
  readonly value: string | undefined;
}

/** `--a_b=c` to `a-b` and `c`; `-v4`, `-v=4` and `-v` to the name that the letter stands for. */
function splitFlag(word: string, letters: ReadonlyMap<string, string>): SplitFlag {
  if (!word.startsWith('--')) {
    const name = letters.get(word.slice(1, 2));
    if (name === undefined) return { name: word, value: undefined };
    const text = word.slice(2).replace(/^=/, '');
    return { name, value: text === '' ? undefined : text };
  }
  const equals = word.indexOf('=');
  const name = equals < 0 ? word.slice(2) : word.slice(2, equals);
  return { name: name.replaceAll('_', '-'), value: equals < 0 ? undefined : word.slice(equals + 1) };
}

/** Removes from the front of `rest` what belongs to the flag before it; empty where it should be there and is not. */
function takeValues(arity: Arity, rest: string[]): readonly string[] {
  if (arity === 'boolean') return ['true'];
  // As pflag does: the next word is the value whatever it looks like, since it may be `-999`.
  if (arity === 'value') return rest.splice(0, 1);
  const end = rest.findIndex((word) => word.startsWith('-') && word !== '-');
  return rest.splice(0, end < 0 ? rest.length : end);
}

/** What stands after a misspelt flag is most likely its value: one mistake, one fault. A flag is never skipped. */
function skipValues(name: string, vocabulary: Vocabulary, rest: string[]): void {
  const guess = guessFor(name, vocabulary);
  const arity = guess === undefined ? 'list' : (vocabulary.flags.get(guess) ?? vocabulary.ignored.get(guess));
  if (arity === undefined || arity === 'boolean' || rest[0]?.startsWith('-') === true) return;
  takeValues(arity, rest);
}

function guessFor(name: string, { flags, ignored }: Vocabulary): string | undefined {
  return similar(name.replace(/^-/, ''), [...flags.keys(), ...ignored.keys()]);
}

function unknownFlag(word: string, name: string, vocabulary: Vocabulary): string {
  const guess = guessFor(name, vocabulary);
  const shown = word.startsWith('--') ? `--${name}` : word;
  return `${quote(shown)}: no such flag${guess === undefined ? '' : `; did you mean --${guess}?`}`;
}
