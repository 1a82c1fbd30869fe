/**
 * Owns the names of our chains and the text of one rule, as iptables-save prints it.
 *
 *   Redirect -> natRule | filterRule        root chain -> gotoBucket -> bucket chain -> rule
 *
 * Rules stand in up to 64 chains by the low bits of the frontend's address, so that a packet walks past tens of rules where
 * one flat chain makes it walk past thousands, and a change rewrites one short chain.
 */
import { familyOf, hostPort, type Ip, type IpFamily } from '../../config/address.js';
import type { Frontend, Redirect } from '../redirector.js';
import { commentOf } from '../validate.js';

export type Table = 'nat' | 'filter';

/** Every packet that may be ours goes through here. */
export const ROOT = 'KPROXY-US';
/** Refuses what was sent to a redirect port directly (rule R4). */
export const PORTS = 'KPROXY-US-PORTS';

const BUCKETS = 64;

/** Chains that any process of ours may have made, and no others. */
export function isOurChain(chain: string): boolean {
  return /^KPROXY-US(-PORTS|-[0-9a-f]{2})?$/.test(chain);
}

/** The bits are those that allocators vary first. Whoever can choose many addresses in one bucket pays with their own lookups. */
export function bucketChain(address: Ip): string {
  const low = familyOf(address) === 'IPv4' ? Number(address.split('.').at(-1)) : lowGroup(address);
  return `${ROOT}-${(low % BUCKETS).toString(16).padStart(2, '0')}`;
}

function lowGroup(address: Ip): number {
  const group = address.slice(address.lastIndexOf(':') + 1);
  return group === '' ? 0 : Number.parseInt(group, 16);
}

/** `goto`: what falls out of the bucket need not be compared with the other buckets. */
export function gotoBucket(family: IpFamily, chain: string): string {
  const bits = Number.parseInt(chain.slice(-2), 16);
  const low = bits === 0 ? '' : bits.toString(16);
  const match = family === 'IPv4' ? `0.0.0.${bits}/0.0.0.${BUCKETS - 1}` : `::${low}/::${(BUCKETS - 1).toString(16)}`;
  return `-A ${ROOT} -d ${match} -g ${chain}`;
}

/** Rules of chains that are not ours, which lead to our root chain. They are inserted first. */
export const JUMPS: Readonly<Record<Table, readonly string[]>> = {
  nat: ['PREROUTING', 'OUTPUT'].map((chain) => `-A ${chain} -m comment --comment kproxy-us -j ${ROOT}`),
  // NEW: connections that exist, and what our listeners answer, are no business of ours. What the node sends to itself is
  // refused when it arrives: refused as it leaves, a UDP sender is told EPERM.
  filter: [
    `-A INPUT -m conntrack --ctstate NEW -m comment --comment kproxy-us -j ${ROOT}`,
    `-A FORWARD -m conntrack --ctstate NEW -m comment --comment kproxy-us -j ${ROOT}`,
    `-A OUTPUT ! -o lo -m conntrack --ctstate NEW -m comment --comment kproxy-us -j ${ROOT}`,
  ],
};

/**
 * DNAT to an address of the node, not REDIRECT: REDIRECT drops where the incoming interface has no address (routed pod
 * links have none), and sends the node's own packets to 127.0.0.1, from where UDP answers come back with a strange source.
 */
export function natRule(redirect: Redirect): string | undefined {
  const { action } = redirect;
  if (action.kind !== 'listener') return undefined;
  return `${matchOf(redirect)} -j DNAT --to-destination ${hostPort(action.host, action.port)}`;
}

export function filterRule(redirect: Redirect): string | undefined {
  const { frontend, action } = redirect;
  if (action.kind === 'drop') return `${matchOf(redirect)} -j DROP`;
  return action.kind === 'reject' ? `${matchOf(redirect)} ${refuse(frontend)}` : undefined;
}

function matchOf({ frontend, owner }: Redirect): string {
  const comment = commentOf(owner);
  const quoted = comment === undefined ? '' : ` -m comment --comment "${comment}"`;
  const { address, port } = frontend;
  return `-A ${bucketChain(address)} -d ${address}/${prefixBits(address)} ${protocolMatch(frontend)} --dport ${port}${quoted}`;
}

/** `-p tcp -m tcp`. */
export function protocolMatch({ protocol }: Pick<Frontend, 'protocol'>): string {
  return protocol === 'TCP' ? '-p tcp -m tcp' : '-p udp -m udp';
}

/**
 * What makes connect() or the next recv() say ECONNREFUSED at once. For TCP a RST: the kernel sends ICMP errors to one
 * client only a few times a second, so that the seventh of a burst of connections would wait for its SYN timeout.
 */
export function refuse({ address, protocol }: Pick<Frontend, 'address' | 'protocol'>): string {
  if (protocol === 'TCP') return '-j REJECT --reject-with tcp-reset';
  return `-j REJECT --reject-with ${familyOf(address) === 'IPv4' ? 'icmp' : 'icmp6'}-port-unreachable`;
}

export function prefixBits(address: Ip): number {
  return familyOf(address) === 'IPv4' ? 32 : 128;
}
