/**
 * Owns the redirects of one family: what is wanted, and the batch that takes the kernel there. Pure: text in, text out.
 *
 *   set, remove, setInside -> batch(saved?) -> *filter (both states) *nat (the new one) *filter (the new one) -> iptables-restore
 *
 * iptables-restore commits table by table. A frontend that goes from listener to reject, or back, must at no moment be
 * neither: its packets would leave for the default route. So the filter table first gets what the new state refuses beside
 * what the old one did (a refusal does nothing to what nat redirects), then nat changes, then the old refusals go.
 */
import type { IpFamily } from '../../config/address.js';
import type { Block } from '../block.js';
import { type Place, type Routing, routingOf } from '../clauses.js';
import { type Frontend, type FrontendKey, frontendKey, type Redirect } from '../redirector.js';
import { GuardedPorts } from './guard.js';
import { filterRules, natRules, transitionRules } from './rule.js';
import { differences, jumpChanges, type Saved, type SavedTable } from './saved.js';
import { routingsIn } from './saved-routings.js';
import { type Chains, type Section, sectionText, TableRules } from './table-rules.js';

/** One frontend's way from what was last written to what is wanted now. */
export interface Transition {
  readonly frontend: Frontend;
  readonly before: Routing | undefined;
  readonly after: Routing | undefined;
}

export class RuleSet {
  readonly #nat: TableRules;
  readonly #filter: TableRules;
  readonly #guarded = new GuardedPorts();
  /** Those whose rules name who is inside. */
  readonly #insiders = new Map<FrontendKey, Redirect>();
  readonly #wanted = new Map<FrontendKey, Routing>();
  /** What was wanted at the last batch, of every frontend staged since. */
  readonly #staged = new Map<FrontendKey, Routing | undefined>();
  #inside: readonly Block[] = [];

  constructor(family: IpFamily) {
    this.#nat = new TableRules('nat', family);
    this.#filter = new TableRules('filter', family);
  }

  get hasChanges(): boolean {
    return this.#staged.size > 0;
  }

  /** Takes only redirects of its family that have no fault. */
  set(redirect: Redirect): void {
    const key = frontendKey(redirect.frontend);
    const before = this.#wanted.get(key);
    const after = routingOf(redirect, this.#inside);
    if (redirect.insideAction === undefined) this.#insiders.delete(key);
    else this.#insiders.set(key, redirect);
    if (before !== undefined && sameRules(before, after)) return;
    this.#wanted.set(key, after);
    this.#stage(key, before);
  }

  remove(key: FrontendKey): void {
    const before = this.#wanted.get(key);
    this.#insiders.delete(key);
    if (this.#wanted.delete(key)) this.#stage(key, before);
  }

  /** Whose packets come from inside; of both families. */
  setInside(blocks: readonly Block[]): void {
    this.#inside = blocks;
    for (const redirect of [...this.#insiders.values()]) this.set(redirect);
  }

  #stage(key: FrontendKey, before: Routing | undefined): void {
    if (!this.#staged.has(key)) this.#staged.set(key, before);
  }

  /** What the next batch changes; with `saved`, what it changes in the kernel. */
  transitions(saved?: Saved): readonly Transition[] {
    const former = saved === undefined ? undefined : new Map(routingsIn(saved).map((one) => [keyOf(one), one]));
    const known = former === undefined ? [] : [...former.values(), ...this.#wanted.values()];
    const keys = new Set([...this.#staged.keys(), ...known.map(keyOf)]);
    return [...keys].flatMap((key) => {
      const [staged, after] = [this.#staged.get(key), this.#wanted.get(key)];
      const before = former === undefined ? staged : former.get(key);
      // What was staged and is not there any more, neither wanted nor in the kernel, is still in our tables.
      const frontend = (after ?? before ?? staged)?.frontend;
      return frontend === undefined ? [] : { frontend, before, after };
    });
  }

  /**
   * The lines that write what is staged. With `saved`, which says what the kernel holds, everything is written, and whatever
   * else is found in our chains is replaced. Afterwards nothing is staged: where the lines were not accepted, the next batch
   * has to be one with `saved`.
   */
  batch(saved?: Saved): string {
    const transitions = this.transitions(saved);
    const staged = [...this.#staged].map(([key, before]) => ({ before, after: this.#wanted.get(key) }));
    this.#staged.clear();
    const sections: (Section | undefined)[] = [];

    for (const one of transitions) this.#filter.put(one.frontend, transitionRules(one.before, one.after));
    for (const { after } of staged) this.#guard(after, 'add');
    this.#setGuard();
    sections.push(take(this.#filter, saved?.filter));

    for (const { frontend, after } of transitions) this.#nat.put(frontend, after === undefined ? [] : natRules(after));
    sections.push(take(this.#nat, saved?.nat));

    for (const { frontend, after } of transitions)
      this.#filter.put(frontend, after === undefined ? [] : filterRules(after));
    for (const { before } of staged) this.#guard(before, 'release');
    this.#setGuard();
    sections.push(take(this.#filter, undefined));
    return sections.map((section) => (section === undefined ? '' : sectionText(section))).join('');
  }

  /** In words, how the kernel differs from what was written last. */
  differences(saved: Saved): readonly string[] {
    return [...differences(saved.nat, this.#nat.whole()), ...differences(saved.filter, this.#filter.whole())];
  }

  #guard(routing: Routing | undefined, how: 'add' | 'release'): void {
    if (routing === undefined) return;
    for (const { host, port } of guardedBy(routing)) this.#guarded[how](host, routing.frontend.protocol, port);
  }

  #setGuard(): void {
    this.#filter.setGuard(this.#guarded.rootRules(), this.#guarded.portRules());
  }
}

function keyOf({ frontend }: Routing): FrontendKey {
  return frontendKey(frontend);
}

/** Everything of a table where it is known what the kernel holds of it, else what has changed. */
function take(rules: TableRules, saved: SavedTable | undefined): Section | undefined {
  const section = saved === undefined ? rules.changes() : wholeSection(rules.whole(), saved);
  rules.written();
  return section;
}

function wholeSection(chains: Chains, saved: SavedTable): Section {
  const gone = [...saved.chains.keys()].filter((chain) => !chains.has(chain));
  return { table: saved.table, chains, gone, ...jumpChanges(saved) };
}

function sameRules(a: Routing, b: Routing): boolean {
  const text = (routing: Routing) =>
    [
      ...natRules(routing),
      ...filterRules(routing),
      ...routing.listeners.map(({ host, port }) => `${host} ${port}`),
    ].join('\n');
  return text(a) === text(b);
}

/** A frontend that is its own listener is no redirect: nothing is translated, and the guard would refuse its clients. */
function guardedBy({ frontend: { address, port }, listeners }: Routing): readonly Place[] {
  return listeners.filter((place) => place.host !== address || place.port !== port);
}
