/**
 * Owns what our chains of one table are to hold, and which of them have changed since they were last written.
 *
 *   put, setGuard -> buckets, dirty chains -> changes() | whole() -> Section -> sectionText -> iptables-restore
 *
 * A chain is always written whole: the line `:chain - [0:0]` empties it (or makes it), and the COMMIT of its table swaps it.
 * So no line depends on what the kernel holds, and none can fail because somebody changed that.
 */
import type { IpFamily } from '../../config/address.js';
import { type Frontend, frontendKey } from '../redirector.js';
import { bucketChain, gotoBucket, NODE, NODE_JUMP, PORTS, ROOT, type Table } from './rule.js';

/** Rules by chain, in order. */
export type Chains = ReadonlyMap<string, readonly string[]>;

/** What one COMMIT of one table does. */
export interface Section {
  readonly table: Table;
  /** Chains to make or to replace. */
  readonly chains: Chains;
  /** Chains of ours to delete. */
  readonly gone: readonly string[];
  /** Rules of chains that are not ours, to delete and to insert first. */
  readonly unjump: readonly string[];
  readonly jump: readonly string[];
}

export class TableRules {
  readonly table: Table;
  readonly #family: IpFamily;
  /** Rules by bucket chain and frontend. No frontend is there without rules. */
  readonly #buckets = new Map<string, Map<string, readonly string[]>>();
  #guard: { readonly root: readonly string[]; readonly ports: readonly string[] } = { root: [], ports: [] };
  readonly #dirty = new Set<string>();

  constructor(table: Table, family: IpFamily) {
    this.table = table;
    this.#family = family;
  }

  /** The rules of a frontend, in the order in which packets meet them; none to take away what it has. */
  put(frontend: Frontend, rules: readonly string[]): void {
    const chain = bucketChain(frontend.address);
    const key = frontendKey(frontend);
    const bucket = this.#buckets.get(chain);
    if ((bucket?.get(key) ?? []).join('\n') === rules.join('\n')) return;
    this.#dirty.add(chain);
    if (bucket === undefined) {
      this.#buckets.set(chain, new Map([[key, rules]]));
      this.#dirty.add(ROOT);
    } else if (rules.length > 0) bucket.set(key, rules);
    else {
      bucket.delete(key);
      if (bucket.size > 0) return;
      this.#buckets.delete(chain);
      this.#dirty.add(ROOT);
    }
  }

  setGuard(root: readonly string[], ports: readonly string[]): void {
    if (root.join() !== this.#guard.root.join()) this.#dirty.add(ROOT);
    if (ports.join() !== this.#guard.ports.join()) this.#dirty.add(PORTS);
    this.#guard = { root, ports };
  }

  /** Every chain of ours. */
  whole(): Chains {
    const chains = new Map([[ROOT, this.#rules(ROOT)]]);
    if (this.#guard.ports.length > 0) chains.set(PORTS, this.#guard.ports);
    for (const chain of this.#sortedBuckets()) chains.set(chain, this.#rules(chain));
    return chains;
  }

  /** What is to be written since the last `written`, or undefined. */
  changes(): Section | undefined {
    if (this.#dirty.size === 0) return undefined;
    const dirty = [...this.#dirty].sort();
    const gone = dirty.filter((chain) => !this.#exists(chain));
    const kept = dirty.filter((chain) => this.#exists(chain));
    const chains = new Map(kept.map((chain) => [chain, this.#rules(chain)]));
    return { table: this.table, chains, gone, unjump: [], jump: [] };
  }

  written(): void {
    this.#dirty.clear();
  }

  #exists(chain: string): boolean {
    return chain === ROOT || (chain === PORTS ? this.#guard.ports.length > 0 : this.#buckets.has(chain));
  }

  #rules(chain: string): readonly string[] {
    if (chain === PORTS) return this.#guard.ports;
    if (chain !== ROOT) return this.#bucketRules(chain);
    const buckets = this.#sortedBuckets().filter((bucket) => bucket !== NODE);
    // The buckets last: one is left for good, also by what it holds nothing for.
    return [
      ...this.#guard.root,
      ...(this.#buckets.has(NODE) ? [NODE_JUMP] : []),
      ...buckets.map((bucket) => gotoBucket(this.#family, bucket)),
    ];
  }

  #bucketRules(chain: string): readonly string[] {
    const frontends = [...(this.#buckets.get(chain) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
    return frontends.flatMap(([, rules]) => rules);
  }

  #sortedBuckets(): readonly string[] {
    return [...this.#buckets.keys()].sort();
  }
}

/** A section as iptables-restore reads it. Chains are declared before any rule names them, and emptied before one is deleted. */
export function sectionText({ table, chains, gone, unjump, jump }: Section): string {
  const lines = [
    `*${table}`,
    ...[...chains.keys(), ...gone].map((chain) => `:${chain} - [0:0]`),
    ...unjump.map((rule) => rule.replace(/^-A /, '-D ')),
    ...[...chains.values()].flat(),
    ...jump.map((rule) => rule.replace(/^-A (\S+) /, '-I $1 1 ')),
    ...gone.map((chain) => `-X ${chain}`),
    'COMMIT',
  ];
  return `${lines.join('\n')}\n`;
}
