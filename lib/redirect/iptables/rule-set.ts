/**
 * Owns the redirects of one family: what is wanted, and the batch that takes the kernel there. Pure: text in, text out.
 *
 *   stage(set, remove) -> batch(saved?) -> *filter (both states) *nat (the new one) *filter (the new one) -> iptables-restore
 *
 * iptables-restore commits table by table. A frontend that goes from listener to reject, or back, must at no moment be
 * neither: its packets would leave for the default route. So the filter table first gets what the new state refuses beside
 * what the old one did (a refusal does nothing to what nat redirects), then nat changes, then the old refusals go.
 */
import type { IpFamily } from '../../config/address.js';
import { type FrontendKey, frontendKey, type Redirect, type RedirectAction } from '../redirector.js';
import { GuardedPorts } from './guard.js';
import { filterRule, natRule, type Table } from './rule.js';
import { differences, jumpChanges, redirectsIn, type SavedTable } from './saved.js';
import { type Chains, type Section, sectionText, TableRules } from './table-rules.js';

export type Saved = Readonly<Record<Table, SavedTable>>;

/** One frontend's way from what was last written to what is wanted now. */
export interface Transition {
  readonly before: Redirect | undefined;
  readonly after: Redirect | undefined;
}

export class RuleSet {
  readonly #nat: TableRules;
  readonly #filter: TableRules;
  readonly #guarded = new GuardedPorts();
  readonly #wanted = new Map<FrontendKey, Redirect>();
  /** What was wanted at the last batch, of every frontend staged since. */
  readonly #staged = new Map<FrontendKey, Redirect | undefined>();

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
    if (before !== undefined && sameRules(before, redirect)) return;
    this.#wanted.set(key, redirect);
    this.#stage(key, before);
  }

  remove(key: FrontendKey): void {
    const before = this.#wanted.get(key);
    if (this.#wanted.delete(key)) this.#stage(key, before);
  }

  #stage(key: FrontendKey, before: Redirect | undefined): void {
    if (!this.#staged.has(key)) this.#staged.set(key, before);
  }

  /** What the next batch changes; with `saved`, what it changes in the kernel. */
  transitions(saved?: Saved): readonly Transition[] {
    const before = new Map(this.#staged);
    if (saved !== undefined) {
      for (const key of this.#wanted.keys()) before.set(key, undefined);
      for (const old of [...redirectsIn(saved.filter), ...redirectsIn(saved.nat)])
        before.set(frontendKey(old.frontend), old);
    }
    return [...before].map(([key, old]) => ({ before: old, after: this.#wanted.get(key) }));
  }

  /**
   * The lines that write what is staged. With `saved`, which says what the kernel holds, everything is written, and whatever
   * else is found in our chains is replaced. Afterwards nothing is staged: where the lines were not accepted, the next batch
   * has to be one with `saved`.
   */
  batch(saved?: Saved): string {
    const staged = [...this.#staged].map(([key, before]) => ({ before, after: this.#wanted.get(key) }));
    const leftover = saved === undefined ? [] : this.#leftoverRefusals(saved.filter);
    this.#staged.clear();
    const sections: (Section | undefined)[] = [];

    for (const { after } of staged) this.#refuse(after);
    for (const old of leftover) this.#refuse(old);
    this.#setGuard();
    sections.push(take(this.#filter, saved?.filter));

    for (const { before, after } of staged) this.#redirect(before, after);
    sections.push(take(this.#nat, saved?.nat));

    for (const { before, after } of staged) this.#unrefuse(before, after);
    for (const old of leftover) this.#unrefuse(old, undefined);
    this.#setGuard();
    sections.push(take(this.#filter, undefined));
    return sections.map((section) => (section === undefined ? '' : sectionText(section))).join('');
  }

  /** In words, how the kernel differs from what was written last. */
  differences(saved: Saved): readonly string[] {
    return [...differences(saved.nat, this.#nat.whole()), ...differences(saved.filter, this.#filter.whole())];
  }

  /** What an earlier process refuses and we do not: its nat rules are still there when our filter section commits. */
  #leftoverRefusals(saved: SavedTable): readonly Redirect[] {
    return redirectsIn(saved).filter(({ frontend }) => {
      const wanted = this.#wanted.get(frontendKey(frontend));
      return wanted === undefined || filterRule(wanted) === undefined;
    });
  }

  #refuse(after: Redirect | undefined): void {
    if (after === undefined) return;
    const rule = filterRule(after);
    if (rule !== undefined) this.#filter.put(after.frontend, rule);
    if (isGuarded(after)) this.#guarded.add(after.action.host, after.frontend.protocol, after.action.port);
  }

  #redirect(before: Redirect | undefined, after: Redirect | undefined): void {
    const rule = after === undefined ? undefined : natRule(after);
    if (after !== undefined && rule !== undefined) this.#nat.put(after.frontend, rule);
    else if (before !== undefined) this.#nat.drop(before.frontend);
  }

  #unrefuse(before: Redirect | undefined, after: Redirect | undefined): void {
    if (before === undefined) return;
    if (after === undefined || filterRule(after) === undefined) this.#filter.drop(before.frontend);
    if (isGuarded(before)) this.#guarded.release(before.action.host, before.frontend.protocol, before.action.port);
  }

  #setGuard(): void {
    this.#filter.setGuard(this.#guarded.rootRules(), this.#guarded.portRules());
  }
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

function sameRules(a: Redirect, b: Redirect): boolean {
  return natRule(a) === natRule(b) && filterRule(a) === filterRule(b);
}

type ToListener = Redirect & { readonly action: Extract<RedirectAction, { kind: 'listener' }> };

/** A frontend that is its own listener is no redirect: nothing is translated, and the guard would refuse its clients. */
function isGuarded(redirect: Redirect): redirect is ToListener {
  const { frontend, action } = redirect;
  return action.kind === 'listener' && !(action.host === frontend.address && action.port === frontend.port);
}
