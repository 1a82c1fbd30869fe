/**
 * Owns reading what iptables-save prints: which chains of ours there are, what leads to them, and how that differs from
 * what we want.
 *
 *   iptables-save -t <table> -> parseSaved -> SavedTable -> differences, jumpChanges
 */
import { isOurChain, JUMPS, type Table } from './rule.js';
import { normalForm, parseRule, targetOf } from './rule-text.js';
import type { Chains } from './table-rules.js';

export interface SavedTable {
  readonly table: Table;
  /** Our chains with their rules, as printed. */
  readonly chains: Chains;
  /** Rules of other chains that lead to one of ours, as printed. */
  readonly jumps: readonly string[];
}

/** Both tables of one family. */
export type Saved = Readonly<Record<Table, SavedTable>>;

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

function sameRules(have: readonly string[], wanted: readonly string[]): boolean {
  if (have.length !== wanted.length) return false;
  return have.every((rule, index) => {
    const other = wanted[index] ?? '';
    return rule === other || normalForm(rule) === normalForm(other);
  });
}
