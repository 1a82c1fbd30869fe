/**
 * Owns the rules of one family in the kernel: writes what changed, or everything where it is not known what is there.
 *
 *   set, remove -> RuleSet -> write() -> IptablesTool.restore -> FlowForgetter
 */
import type { Ip, IpFamily } from '../../config/address.js';
import type { Log } from '../../config/log.js';
import type { FlowForgetter, FlowTarget } from '../conntrack.js';
import { type FrontendKey, frontendKey, type Redirect, RedirectError } from '../redirector.js';
import { RuleSet, type Saved, type Transition } from './rule-set.js';
import { redirectsIn } from './saved.js';
import { sectionText } from './table-rules.js';
import type { IptablesTool } from './tool.js';

export class FamilyRules {
  readonly #family: IpFamily;
  readonly #tool: IptablesTool;
  readonly #flows: FlowForgetter;
  readonly #log: Log;
  #rules: RuleSet;
  /** The kernel holds what was last written, as far as we did it. */
  #known = false;
  /** Something was written, so there is something to repair. */
  #begun = false;
  /** Frontends whose flows may be stale; they stay until a batch has succeeded. */
  readonly #moved = new Map<FrontendKey, FlowTarget>();

  constructor(family: IpFamily, tool: IptablesTool, flows: FlowForgetter, log: Log) {
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

  async existing(): Promise<readonly Redirect[]> {
    const saved = await this.#tool.save();
    return [...redirectsIn(saved.nat), ...redirectsIn(saved.filter)];
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

  async #writeBatch(saved?: Saved): Promise<void> {
    for (const transition of this.#rules.transitions(saved)) this.#move(transition);
    this.#known = false;
    this.#begun = true;
    await this.#tool.restore(this.#rules.batch(saved));
    this.#known = true;
    const moved = [...this.#moved.values()];
    this.#moved.clear();
    await this.#flows.forget(this.#family, moved);
  }

  #move({ before, after }: Transition): void {
    const frontend = (after ?? before)?.frontend;
    if (frontend === undefined || frontend.protocol !== 'UDP') return;
    if (after !== undefined && before !== undefined && samePlace(before, after)) return;
    this.#moved.set(frontendKey(frontend), { frontend, place: placeOf(frontend, after) });
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

function placeOf(frontend: { address: Ip; port: number }, after: Redirect | undefined): FlowTarget['place'] {
  // No redirect: what goes to the address itself is none of our business.
  if (after === undefined) return { host: frontend.address, port: frontend.port };
  return after.action.kind === 'listener' ? after.action : undefined;
}

function samePlace(before: Redirect, after: Redirect): boolean {
  const [a, b] = [placeOf(before.frontend, before), placeOf(after.frontend, after)];
  return a?.host === b?.host && a?.port === b?.port;
}
