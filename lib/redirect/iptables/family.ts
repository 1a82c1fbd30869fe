/**
 * Owns the rules of one family in the kernel: writes what changed, or everything where it is not known what is there.
 *
 *   set, remove -> RuleSet -> write() -> IptablesTool.restore -> FlowForgetter
 */
import type { Ip, IpFamily } from '../../config/address.js';
import type { Log } from '../../config/log.js';
import type { Block } from '../block.js';
import { placeFor, type Routing, samePlaces, UNTOUCHED } from '../clauses.js';
import type { FlowForgetter } from '../conntrack.js';
import { type FrontendKey, frontendKey, type Redirect, RedirectError } from '../redirector.js';
import { isWildcard } from '../validate.js';
import { RuleSet, type Transition } from './rule-set.js';
import type { Saved } from './saved.js';
import { redirectOf, routingsIn } from './saved-routings.js';
import { sectionText } from './table-rules.js';
import type { IptablesTool } from './tool.js';

export class FamilyRules {
  readonly #family: IpFamily;
  readonly #tool: IptablesTool;
  readonly #flows: FlowForgetter;
  readonly #log: Log;
  #rules: RuleSet;
  #inside: readonly Block[] = [];
  /** The kernel holds what was last written, as far as we did it. */
  #known = false;
  /** Something was written, so there is something to repair. */
  #begun = false;
  /** Frontends whose flows may be stale; they stay until a batch has succeeded. */
  readonly #moved = new Map<FrontendKey, Routing>();
  readonly #localAddresses: () => readonly Ip[];

  constructor(
    family: IpFamily,
    tool: IptablesTool,
    flows: FlowForgetter,
    log: Log,
    localAddresses: () => readonly Ip[],
  ) {
    this.#localAddresses = localAddresses;
    this.#family = family;
    this.#tool = tool;
    this.#flows = flows;
    this.#log = log;
    this.#rules = new RuleSet(family);
  }

  set(redirect: Redirect): void {
    this.#rules.set(redirect);
  }

  remove(key: FrontendKey): void {
    this.#rules.remove(key);
  }

  /** Whose packets come from inside. Nothing is written. */
  setInside(blocks: readonly Block[]): void {
    this.#inside = blocks;
    this.#rules.setInside(blocks);
  }

  async existing(): Promise<readonly Redirect[]> {
    return routingsIn(await this.#tool.save()).map(redirectOf);
  }

  /** One batch, or none where nothing is staged. A batch that fails is followed by one that does not rely on anything. */
  async write(): Promise<void> {
    if (this.#known) {
      if (!this.#rules.hasChanges) return;
      try {
        await this.#writeBatch();
        return;
      } catch (error) {
        if (!(error instanceof RedirectError) || error.code !== 'COMMAND_FAILED') throw error;
        this.#log.warn('a batch of rules failed, writing all of them', { family: this.#family, err: error });
      }
    }
    await this.#writeBatch(await this.#tool.save());
  }

  /** `write`, where anything was written before: the first batch is that of the first `apply`. */
  async rewrite(): Promise<void> {
    if (this.#begun) await this.write();
  }

  async #writeBatch(saved?: Saved): Promise<void> {
    for (const transition of this.#rules.transitions(saved)) this.#move(transition);
    this.#known = false;
    this.#begun = true;
    await this.#tool.restore(this.#rules.batch(saved));
    this.#known = true;
    const moved = [...this.#moved.values()];
    this.#moved.clear();
    await this.#forget(moved);
  }

  #move({ frontend, before, after }: Transition): void {
    // Filter alone knows wildcards: no flow is sent on by them.
    if (frontend.protocol !== 'UDP' || isWildcard(frontend.address)) return;
    if (samePlaces(before?.clauses ?? UNTOUCHED, after?.clauses ?? UNTOUCHED)) return;
    // No redirect: what goes to the address itself is none of our business.
    this.#moved.set(frontendKey(frontend), after ?? { frontend, owner: '', clauses: UNTOUCHED, listeners: [] });
  }

  async #forget(moved: readonly Routing[]): Promise<void> {
    if (moved.length === 0) return;
    const local = new Set(this.#localAddresses());
    const targets = moved.map((routing) => ({
      frontend: routing.frontend,
      placeFor: (client: Ip) => placeFor(routing, client, (ip) => local.has(ip)),
    }));
    await this.#flows.forget(this.#family, targets);
  }

  /** Compares the kernel's rules with ours and writes all of them where they differ. Resolves with what differed. */
  async repair(): Promise<readonly string[]> {
    if (!this.#begun) return [];
    const saved = await this.#tool.save();
    const found = this.#rules.differences(saved);
    if (found.length > 0) await this.#writeBatch(saved);
    return found;
  }

  /** Removes every chain of ours and what leads to one; runs nothing where there is none. Forgets what was wanted. */
  async cleanup(): Promise<void> {
    this.#rules = new RuleSet(this.#family);
    this.#rules.setInside(this.#inside);
    this.#known = false;
    this.#begun = false;
    const saved = await this.#tool.save();
    const sections = [saved.nat, saved.filter].flatMap(({ table, chains, jumps }) => {
      if (chains.size === 0) return [];
      return sectionText({ table, chains: new Map(), gone: [...chains.keys()], unjump: jumps, jump: [] });
    });
    if (sections.length > 0) await this.#tool.restore(sections.join(''));
  }
}
