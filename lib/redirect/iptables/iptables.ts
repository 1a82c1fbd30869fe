/**
 * Owns `--redirect iptables`: DNAT from frontends to listeners, refusals, and the guard of redirect ports, in chains of our
 * own in the nat and filter tables of both families.
 *
 *   RedirectChanges -> FamilyRules (IPv4), FamilyRules (IPv6) -> one iptables-restore each
 */
import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { familyOf, IP_FAMILIES, type Ip, type IpFamily, parseIp } from '../../config/address.js';
import type { Log } from '../../config/log.js';
import { type Block, parseBlock, withoutContained } from '../block.js';
import type { Exec } from '../command.js';
import { FlowForgetter } from '../conntrack.js';
import { frontendKey, type Redirect, type RedirectChanges, RedirectError, type Redirector } from '../redirector.js';
import { commentOf, faultOf } from '../validate.js';
import { FamilyRules } from './family.js';
import { IptablesTool } from './tool.js';

export interface IptablesOptions {
  readonly log: Log;
  readonly exec: Exec;
  /** Whether the kernel speaks IPv6 at all. */
  readonly hasIpv6?: () => boolean;
  /** As by `setInsideCidrs`. */
  readonly insideCidrs?: readonly string[];
  /** The node's own addresses. */
  readonly localAddresses?: () => readonly Ip[];
}

/** Each is a rule or two of every frontend that tells inside from outside. */
export const MAX_INSIDE_CIDRS = 64;

/** Differences named in one repair. */
const MAX_NAMED = 5;

export class IptablesRedirector implements Redirector {
  readonly mode = 'iptables';
  readonly #log: Log;
  readonly #hasIpv6: () => boolean;
  readonly #tools: Readonly<Record<IpFamily, IptablesTool>>;
  readonly #rules: Readonly<Record<IpFamily, FamilyRules>>;
  #served: readonly IpFamily[] = IP_FAMILIES;
  /** Calls run one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor({ log, exec, hasIpv6, insideCidrs = [], localAddresses = ownAddresses }: IptablesOptions) {
    this.#log = log;
    this.#hasIpv6 = hasIpv6 ?? (() => existsSync('/proc/net/if_inet6'));
    const flows = new FlowForgetter(exec, log);
    const tool = (family: IpFamily) => new IptablesTool(family, exec, log);
    this.#tools = { IPv4: tool('IPv4'), IPv6: tool('IPv6') };
    const rules = (family: IpFamily) => new FamilyRules(family, this.#tools[family], flows, log, localAddresses);
    this.#rules = { IPv4: rules('IPv4'), IPv6: rules('IPv6') };
    this.#setInside(insideCidrs);
  }

  readonly serves = (family: IpFamily): boolean => this.#served.includes(family);

  /** IPv4 has to work. A node without IPv6, or without ip6tables, serves IPv4 alone. */
  async start(): Promise<void> {
    await this.#tools.IPv4.probe();
    const missing = await this.#missingIpv6();
    this.#served = missing === undefined ? IP_FAMILIES : ['IPv4'];
    if (missing !== undefined) this.#log.info('IPv6 frontends are not served', { reason: missing });
  }

  async #missingIpv6(): Promise<string | undefined> {
    if (!this.#hasIpv6()) return 'the kernel has no IPv6';
    try {
      await this.#tools.IPv6.probe();
      return undefined;
    } catch (error) {
      if (error instanceof RedirectError) return error.message;
      throw error;
    }
  }

  existing(): Promise<readonly Redirect[]> {
    return this.#inTurn(async () => {
      const found = await Promise.all(this.#served.map((family) => this.#rules[family].existing()));
      return found.flat();
    });
  }

  apply({ set, remove }: RedirectChanges): Promise<void> {
    return this.#inTurn(async () => {
      for (const key of remove) for (const family of IP_FAMILIES) this.#rules[family].remove(key);
      for (const redirect of set) this.#set(redirect);
      await this.#each(this.#served, (rules) => rules.write());
    });
  }

  #set(redirect: Redirect): void {
    const { frontend, owner } = redirect;
    const key = frontendKey(frontend);
    const fault = faultOf(redirect);
    if (fault !== undefined) {
      this.#log.error('a frontend is not redirected', { key, frontend: key, owner, fault });
      for (const family of IP_FAMILIES) this.#rules[family].remove(key);
      return;
    }
    if (commentOf(owner) === undefined) {
      this.#log.error('a rule is written without its owner, whose name is not a valid one', {
        key,
        frontend: key,
        owner,
      });
    }
    this.#rules[familyOf(frontend.address)].set(redirect);
  }

  setInsideCidrs(cidrs: readonly string[]): Promise<void> {
    return this.#inTurn(async () => {
      this.#setInside(cidrs);
      await this.#each(this.#served, (rules) => rules.rewrite());
    });
  }

  #setInside(cidrs: readonly string[]): void {
    const blocks: Block[] = [];
    for (const cidr of new Set(cidrs)) {
      const block = parseBlock(cidr);
      if (block === undefined)
        this.#log.error('not a block of addresses: it does not count as inside', { key: cidr, cidr });
      else blocks.push(block);
    }
    const kept = withoutContained(blocks);
    if (kept.length > MAX_INSIDE_CIDRS) {
      this.#log.error('too many blocks of addresses: the last do not count as inside', {
        count: kept.length,
        limit: MAX_INSIDE_CIDRS,
      });
    }
    for (const family of IP_FAMILIES) this.#rules[family].setInside(kept.slice(0, MAX_INSIDE_CIDRS));
  }

  repair(): Promise<string | undefined> {
    return this.#inTurn(async () => {
      const found: string[] = [];
      await this.#each(this.#served, async (rules, family) => {
        for (const difference of await rules.repair()) found.push(`${family} ${difference}`);
      });
      if (found.length === 0) return undefined;
      const more = found.length > MAX_NAMED ? `, and ${found.length - MAX_NAMED} more` : '';
      return `${found.slice(0, MAX_NAMED).join(', ')}${more}`;
    });
  }

  /** Needs no `start`. A family whose tool is missing has nothing that we could have written. */
  cleanup(): Promise<void> {
    return this.#inTurn(() =>
      this.#each(IP_FAMILIES, async (rules, family) => {
        try {
          await rules.cleanup();
        } catch (error) {
          if (!(error instanceof RedirectError) || error.code !== 'MISSING_TOOL') throw error;
          this.#log.info('nothing to clean up', { family, reason: error.message });
        }
      }),
    );
  }

  /** A family that fails does not keep the other one from its turn. */
  async #each(
    families: readonly IpFamily[],
    work: (rules: FamilyRules, family: IpFamily) => Promise<void>,
  ): Promise<void> {
    const results = await Promise.allSettled(families.map((family) => work(this.#rules[family], family)));
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    if (errors.length > 1 && String(errors[0]) !== String(errors[1])) {
      throw new RedirectError('COMMAND_FAILED', errors.map(String).join('; '), { cause: errors[0] });
    }
    if (errors.length > 0) throw errors[0];
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

function ownAddresses(): readonly Ip[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.flatMap(({ address }) => parseIp(address) ?? []);
}
