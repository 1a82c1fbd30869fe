/**
 * Owns the names of our chains and the text of rules, as iptables-save prints them.
 *
 *   Routing -> natRules, filterRules        root chain -> gotoBucket -> bucket chain -> rules of a frontend
 *
 * Rules stand in up to 64 chains by the low bits of the frontend's address, so that a packet walks past tens of rules where
 * one flat chain makes it walk past thousands, and a change rewrites one short chain.
 */
import { familyOf, hostPort, type Ip, type IpFamily } from '../../config/address.js';
import { blockText } from '../block.js';
import {
  both,
  type Clause,
  covers,
  isRefusal,
  type Routing,
  type Sources,
  UNTOUCHED,
  type Verdict,
} from '../clauses.js';
import type { Frontend } from '../redirector.js';
import { commentOf, isWildcard } from '../validate.js';

export type Table = 'nat' | 'filter';

/** Every packet that may be ours goes through here. */
export const ROOT = 'KPROXY-US';
/** Refuses what was sent to a redirect port directly (rule R4). */
export const PORTS = 'KPROXY-US-PORTS';
/** Node ports that drop what comes in from outside, at whatever address of the node (rule E6). */
export const NODE = 'KPROXY-US-NODE';

const BUCKETS = 64;

/** Chains that any process of ours may have made, and no others. */
export function isOurChain(chain: string): boolean {
  return /^KPROXY-US(-PORTS|-NODE|-[0-9a-f]{2})?$/.test(chain);
}

/** The bits are those that allocators vary first. Whoever can choose many addresses in one bucket pays with their own lookups. */
export function bucketChain(address: Ip): string {
  if (isWildcard(address)) return NODE;
  const low = familyOf(address) === 'IPv4' ? Number(address.split('.').at(-1)) : lowGroup(address);
  return `${ROOT}-${(low % BUCKETS).toString(16).padStart(2, '0')}`;
}

function lowGroup(address: Ip): number {
  const group = address.slice(address.lastIndexOf(':') + 1);
  return group === '' ? 0 : Number.parseInt(group, 16);
}

/** What comes in from outside for an address of the node: asked before the buckets, which are left for good. */
export const NODE_JUMP = `-A ${ROOT} ! -i lo -m addrtype --dst-type LOCAL -j ${NODE}`;

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
export function natRules(routing: Routing): readonly string[] {
  return rulesOf(routing, routing.clauses, (verdict) =>
    verdict.kind === 'listener' ? `-j DNAT --to-destination ${hostPort(verdict.host, verdict.port)}` : RETURN,
  );
}

/** What becomes of packets that nat did not redirect. */
export function filterRules(routing: Routing): readonly string[] {
  return rulesOf(routing, routing.clauses, (verdict) => refusal(verdict, routing.frontend));
}

/**
 * What the filter table has to hold while nat goes from `before` to `after`, so that a client who has been or will be refused
 * is, and one who has been or will be redirected is not. Where `after` redirects, what is not redirected yet is what it was.
 */
export function transitionRules(before: Routing | undefined, after: Routing | undefined): readonly string[] {
  const routing = after ?? before;
  if (routing === undefined) return [];
  const former = before?.clauses ?? UNTOUCHED;
  const clauses = (after?.clauses ?? UNTOUCHED).flatMap((clause) =>
    isRefusal(clause.verdict) ? [clause] : within(clause.from, former),
  );
  return rulesOf(routing, clauses, (verdict) => refusal(verdict, routing.frontend));
}

/** The clauses as far as they are about these clients. */
function within(from: Sources, clauses: readonly Clause[]): readonly Clause[] {
  const found: Clause[] = [];
  for (const clause of clauses) {
    const clients = both(from, clause.from);
    if (clients !== undefined) found.push({ from: clients, verdict: clause.verdict });
    if (covers(clause.from, from)) break;
  }
  return found;
}

const RETURN = '-j RETURN';

function refusal(verdict: Verdict, frontend: Frontend): string {
  if (verdict.kind === 'drop') return '-j DROP';
  return verdict.kind === 'reject' ? refuse(frontend) : RETURN;
}

/** A RETURN at the end says nothing. */
function rulesOf(
  { frontend, owner }: Routing,
  clauses: readonly Clause[],
  target: (verdict: Verdict) => string,
): string[] {
  const targets = clauses.map(({ verdict }) => target(verdict));
  const decisive = clauses.slice(0, targets.findLastIndex((text) => text !== RETURN) + 1);
  const comment = commentOf(owner);
  const quoted = comment === undefined ? '' : ` -m comment --comment "${comment}"`;
  // Joined, not added up: text that is added up stays in its pieces in memory, and these are kept.
  return decisive.map(({ from }, i) => [matchOf(frontend, from), quoted, ' ', targets[i]].join(''));
}

function matchOf(frontend: Frontend, { loopback, local, block }: Sources): string {
  const { address, port } = frontend;
  const source = block === undefined ? '' : ` -s ${blockText(block)}`;
  const destination = isWildcard(address) ? '' : ` -d ${address}/${prefixBits(address)}`;
  const incoming = loopback === true ? ' -i lo' : '';
  const type = local === true ? ' -m addrtype --src-type LOCAL' : '';
  return `-A ${bucketChain(address)}${source}${destination}${incoming} ${protocolMatch(frontend)} --dport ${port}${type}`;
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
