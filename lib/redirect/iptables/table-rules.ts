/**
 * Owns what our chains of one table are to hold, and which of them have changed since they were last written.
 *
 *   put, drop, setGuard -> buckets, dirty chains -> changes() | whole() -> Section -> sectionText -> iptables-restore
 *
 * A chain is always written whole: the line `:chain - [0:0]` empties it (or makes it), and the COMMIT of its table swaps it.
 * So no line depends on what the kernel holds, and none can fail because somebody changed that.
 */
import type { IpFamily } from '../../config/address.js';
import { type Frontend, frontendKey } from '../redirector.js';
import { bucketChain, gotoBucket, PORTS, ROOT, type Table } from './rule.js';

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
  /** Rules by bucket chain and frontend. */
  readonly #buckets = new Map<string, Map<string, string>>();
  #guard: { readonly root: readonly string[]; readonly ports: readonly string[] } = { root: [], ports: [] };
  readonly #dirty = new Set<string>();

  constructor(table: Table, family: IpFamily) {
    this.table = table;
    this.#family = family;
  }

  put(frontend: Frontend, rule: string): void {
    const chain = bucketChain(frontend.address);
    let bucket = this.#buckets.get(chain);
    if (bucket === undefined) {
      bucket = new Map();
      this.#buckets.set(chain, bucket);
      this.#dirty.add(ROOT);
    }
    const key = frontendKey(frontend);
    if (bucket.get(key) === rule) return;
    bucket.set(key, rule);
    this.#dirty.add(chain);
  }

  drop(frontend: Frontend): void {
    const chain = bucketChain(frontend.address);
    const bucket = this.#buckets.get(chain);
    if (bucket?.delete(frontendKey(frontend)) !== true) return;
    this.#dirty.add(chain);
    if (bucket.size > 0) return;
    this.#buckets.delete(chain);
    this.#dirty.add(ROOT);
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
    if (chain !== ROOT) return [...(this.#buckets.get(chain)?.values() ?? [])].sort();
    // The guard first: a bucket is left for good, also by what it holds nothing for.
    return [...this.#guard.root, ...this.#sortedBuckets().map((bucket) => gotoBucket(this.#family, bucket))];
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
