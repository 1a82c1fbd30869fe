/**
 * Owns reading what iptables-save prints: which chains of ours there are, what leads to them, and how that differs from
 * what we want.
 *
 *   iptables-save -t <table> -> parseSaved -> SavedTable -> differences, jumpChanges, redirectsIn
 */
import { familyOf, parseIp } from '../../config/address.js';
import type { Protocol } from '../../model/objects.js';
import type { Redirect, RedirectAction } from '../redirector.js';
import { faultOf } from '../validate.js';
import { isOurChain, JUMPS, PORTS, type Table } from './rule.js';
import type { Chains } from './table-rules.js';

export interface SavedTable {
  readonly table: Table;
  /** Our chains with their rules, as printed. */
  readonly chains: Chains;
  /** Rules of other chains that lead to one of ours, as printed. */
  readonly jumps: readonly string[];
}

interface Rule {
  readonly chain: string;
  /** `--dport` -> `80`; a negated option is `! --ctstate`. Matches named by -m are left out: their options tell. */
  readonly options: ReadonlyMap<string, string>;
}

export function parseSaved(table: Table, text: string): SavedTable {
  const chains = new Map<string, string[]>();
  const jumps: string[] = [];
  for (const line of text.split('\n')) {
    // Other programs' rules may be many: only lines that name us are taken apart.
    if (!line.includes('KPROXY-US')) continue;
    const declared = /^:(\S+) /.exec(line)?.[1];
    if (declared !== undefined && isOurChain(declared)) chains.set(declared, []);
    const chain = /^-A (\S+) /.exec(line)?.[1];
    if (chain === undefined) continue;
    if (isOurChain(chain)) chains.get(chain)?.push(line);
    else if (isOurChain(targetOf(parseRule(line).options))) jumps.push(line);
  }
  return { table, chains, jumps };
}

/** In words, what of ours is missing, changed or too much; empty where nothing is. */
export function differences(saved: SavedTable, wanted: Chains): readonly string[] {
  const found: string[] = [];
  for (const [chain, rules] of wanted) {
    const have = saved.chains.get(chain);
    if (have === undefined) found.push(`${saved.table}: chain ${chain} was missing`);
    else if (!sameRules(have, rules)) found.push(`${saved.table}: chain ${chain} was changed`);
  }
  for (const chain of saved.chains.keys()) {
    if (!wanted.has(chain)) found.push(`${saved.table}: chain ${chain} was too much`);
  }
  const { unjump, jump } = jumpChanges(saved);
  for (const rule of unjump) found.push(`${saved.table}: a jump from ${parseRule(rule).chain} was too much`);
  for (const rule of jump) found.push(`${saved.table}: the jump from ${parseRule(rule).chain} was missing`);
  return found;
}

/**
 * What makes the jumps to our root chain right: each wanted one exactly once. One that is there stays where it is: other
 * programs insert their own before it, and there is no end to two programs that both want to be first.
 */
export function jumpChanges(saved: SavedTable): {
  readonly unjump: readonly string[];
  readonly jump: readonly string[];
} {
  const unjump: string[] = [];
  const missing = new Set(JUMPS[saved.table].map(normalForm));
  for (const rule of saved.jumps) {
    if (!missing.delete(normalForm(rule))) unjump.push(rule);
  }
  return { unjump, jump: JUMPS[saved.table].filter((rule) => missing.has(normalForm(rule))) };
}

/** The redirects that rules of ours stand for; what is no redirect is left out, and so is the guard of redirect ports. */
export function redirectsIn(saved: SavedTable): readonly Redirect[] {
  const lines = [...saved.chains].flatMap(([chain, rules]) => (chain === PORTS ? [] : rules));
  return lines.flatMap((line) => redirectOf(parseRule(line)) ?? []);
}

function redirectOf({ options }: Rule): Redirect | undefined {
  const action = actionOf(options);
  const address = parseIp((options.get('-d') ?? '').replace(/\/(32|128)$/, ''));
  const protocol = options.get('-p')?.toUpperCase() as Protocol | undefined;
  if (action === undefined || address === undefined || protocol === undefined) return undefined;
  const port = Number(options.get('--dport'));
  const redirect = { frontend: { address, port, protocol }, action, owner: options.get('--comment') ?? '' };
  return faultOf(redirect) === undefined ? redirect : undefined;
}

function actionOf(options: Rule['options']): RedirectAction | undefined {
  switch (targetOf(options)) {
    case 'DNAT': {
      const [, bracketed, plain, port] =
        /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(options.get('--to-destination') ?? '') ?? [];
      const host = parseIp(bracketed ?? plain ?? '');
      return host === undefined ? undefined : { kind: 'listener', host, port: Number(port) };
    }
    case 'REJECT':
      return { kind: 'reject' };
    case 'DROP':
      return { kind: 'drop' };
    default:
      return undefined;
  }
}

function targetOf(options: Rule['options']): string {
  return options.get('-j') ?? options.get('-g') ?? '';
}

function sameRules(have: readonly string[], wanted: readonly string[]): boolean {
  if (have.length !== wanted.length) return false;
  return have.every((rule, index) => {
    const other = wanted[index] ?? '';
    return rule === other || normalForm(rule) === normalForm(other);
  });
}

/** The same for two spellings of one rule: versions of iptables-save differ in order, quotes and `-m`. */
function normalForm(line: string): string {
  const { chain, options } = parseRule(line);
  return [chain, ...[...options].map(([name, value]) => `${name} ${value}`).sort()].join('\n');
}

/** Takes a `-A` line apart. */
function parseRule(line: string): Rule {
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
    options.set(name, name === '-d' ? plainAddress(value) : value);
  }
  options.delete('-m');
  return { chain: chain?.text ?? '', options };
}

/** One spelling for the addresses of one host. */
function plainAddress(value: string): string {
  const plain = value.replace(/\/(32|128|255\.255\.255\.255)$/, '');
  return parseIp(plain) === undefined ? value : `${plain}/${familyOf(plain) === 'IPv4' ? 32 : 128}`;
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
