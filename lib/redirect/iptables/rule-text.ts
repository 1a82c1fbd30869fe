/**
 * Owns taking one rule apart, however a version of iptables-save spells it.
 *
 *   "-A KPROXY-US-0a -d 10.96.0.10/32 -p tcp ... -j DROP" -> parseRule -> chain, options
 */
import { familyOf, parseIp } from '../../config/address.js';

export interface Rule {
  readonly chain: string;
  /** `--dport` -> `80`; a negated option is `! --ctstate`. Matches named by -m are left out: their options tell. */
  readonly options: ReadonlyMap<string, string>;
}

/** Takes a `-A` line apart. */
export function parseRule(line: string): Rule {
  const [, chain, ...tokens] = tokensOf(line);
  const options = new Map<string, string>();
  for (let i = 0; i < tokens.length; i++) {
    let name = tokens[i]?.text ?? '';
    if (name === '!') name += ` ${tokens[++i]?.text}`;
    const values: string[] = [];
    // A comment is whatever its author liked, options included.
    if (name.endsWith('--comment')) values.push(tokens[++i]?.text ?? '');
    for (let next = tokens[i + 1]; next !== undefined && !isOption(next); next = tokens[i + 1]) {
      values.push(next.text);
      i++;
    }
    const value = values.join(' ');
    options.set(name, name === '-d' || name === '-s' ? plainAddress(value) : value);
  }
  options.delete('-m');
  return { chain: chain?.text ?? '', options };
}

/** The chain or target that a rule leads to. */
export function targetOf(options: Rule['options']): string {
  return options.get('-j') ?? options.get('-g') ?? '';
}

/** The same for two spellings of one rule: versions of iptables-save differ in order, quotes and `-m`. */
export function normalForm(line: string): string {
  const { chain, options } = parseRule(line);
  return [chain, ...[...options].map(([name, value]) => `${name} ${value}`).sort()].join('\n');
}

/** One spelling for the address of one host, with or without its mask; blocks are left as they are. */
function plainAddress(value: string): string {
  const [address = '', mask] = value.split('/');
  const host = parseIp(address);
  if (host === undefined) return value;
  const masks = familyOf(host) === 'IPv4' ? ['32', '255.255.255.255'] : ['128'];
  return mask === undefined || masks.includes(mask) ? `${host}/${masks[0]}` : value;
}

interface Token {
  readonly text: string;
  readonly quoted: boolean;
}

function isOption({ text, quoted }: Token): boolean {
  return !quoted && /^(-[a-zA-Z]|--[a-z].*|!)$/.test(text);
}

/** Words, and texts in double quotes with backslash escapes. */
function tokensOf(line: string): readonly Token[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) =>
    quoted === undefined
      ? { text: plain ?? '', quoted: false }
      : { text: quoted.replaceAll(/\\(.)/g, '$1'), quoted: true },
  );
}
