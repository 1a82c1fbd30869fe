/**
 * Owns which addresses of this node are listened on: for node ports (rule E11), and for redirect listeners.
 *
 *   os.networkInterfaces (every second) + our Node -> nodePortHosts, redirectHost -> View
 *
 * Node has no event for addresses that come and go, and a look costs 0.1 ms: it is looked for.
 */
import { networkInterfaces } from 'node:os';
import { familyOf, IP_FAMILIES, type Ip, type IpFamily, parseIp, scopeOf } from '../config/address.js';
import { cidrContains } from '../config/cidr.js';
import type { Node } from '../model/objects.js';

export interface NodeAddressesOptions {
  /** CIDRs, or `primary`; empty: every address. */
  readonly nodePortAddresses: readonly string[];
  /** A specific address is the node's primary one in its family. */
  readonly bindAddress: Ip;
  readonly node: () => Node | undefined;
  /** Something that `nodePortHosts` or `redirectHost` says has changed. */
  readonly onChange: () => void;
  readonly localAddresses?: () => readonly Ip[];
  readonly pollMs?: number;
}

const POLL_MS = 1_000;
/** Spelt as `parseCidr` does. It means what no flag means: the wildcard, not a socket for each address of today. */
const EVERYTHING: Record<IpFamily, string> = { IPv4: '0.0.0.0/0', IPv6: '::/0' };
const WILDCARD: Record<IpFamily, Ip> = { IPv4: '0.0.0.0', IPv6: '::' };
const LOOPBACK: Record<IpFamily, Ip> = { IPv4: '127.0.0.1', IPv6: '::1' };

export class NodeAddresses {
  readonly #options: NodeAddressesOptions;
  #local: readonly Ip[] = [];
  /** The last word of `redirectHost`. */
  readonly #redirectHosts = new Map<IpFamily, Ip | undefined>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: NodeAddressesOptions) {
    this.#options = options;
    this.#local = this.#read();
  }

  start(): void {
    this.#timer = setInterval(() => this.refresh(), this.#options.pollMs ?? POLL_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Reads the node's addresses again; calls `onChange` where that makes a difference to anything. */
  refresh(): void {
    const before = this.#answers();
    this.#local = this.#read();
    if (this.#answers() !== before) this.#options.onChange();
  }

  nodePortHosts(family: IpFamily): readonly Ip[] {
    const { nodePortAddresses } = this.#options;
    const everything = nodePortAddresses.length === 0 || nodePortAddresses.includes(EVERYTHING[family]);
    if (everything) return [WILDCARD[family]];
    const ofFamily = this.#local.filter((ip) => familyOf(ip) === family && scopeOf(ip) !== 'link-local');
    return ofFamily.filter((ip) => nodePortAddresses.some((wanted) => this.#matches(ip, wanted)));
  }

  /**
   * One address per family that packets of pods, of the node and from outside can all be sent on to: the one asked for, else
   * the Node's, else the first that is not loopback, which then is kept as long as the node has it: another one would mean
   * other listeners. Loopback alone serves the node itself only.
   */
  redirectHost(family: IpFamily): Ip | undefined {
    const { bindAddress } = this.#options;
    if (familyOf(bindAddress) === family && bindAddress !== WILDCARD[family]) return bindAddress;
    const ofFamily = this.#local.filter((ip) => familyOf(ip) === family);
    const ofNode = this.#options.node()?.internalIPs ?? [];
    const unicast = ofFamily.filter((ip) => scopeOf(ip) === 'unicast');
    const kept = unicast.find((ip) => ip === this.#redirectHosts.get(family));
    const loopback = ofFamily.find((ip) => ip === LOOPBACK[family]);
    const host = unicast.find((ip) => ofNode.includes(ip)) ?? kept ?? unicast[0] ?? loopback;
    this.#redirectHosts.set(family, host);
    return host;
  }

  #answers(): string {
    return IP_FAMILIES.map((family) => `${this.nodePortHosts(family)} ${this.redirectHost(family)}`).join();
  }

  #matches(ip: Ip, wanted: string): boolean {
    if (wanted === 'primary') return this.#options.node()?.internalIPs.includes(ip) ?? false;
    return cidrContains(wanted, ip);
  }

  #read(): readonly Ip[] {
    return (this.#options.localAddresses ?? localAddresses)();
  }
}

function localAddresses(): readonly Ip[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const ips = all.flatMap(({ address }) => parseIp(address) ?? []);
  return [...new Set(ips)];
}
