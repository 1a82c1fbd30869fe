/**
 * Owns blocks of addresses as numbers: parsed strictly, made smaller, compared, and written in the one spelling of rules.
 *
 *   "10.244.3.0/16" -> parseBlock -> {IPv4, 0x0af40000, 16} -> contains, intersection -> blockText -> "10.244.0.0/16"
 */
import { familyOf, type Ip, type IpFamily, parseIp } from '../config/address.js';
import { parseCidr } from '../config/cidr.js';
import { isFault } from '../config/parsed.js';

export interface Block {
  readonly family: IpFamily;
  /** The first address; no host bits are set. */
  readonly first: bigint;
  readonly prefix: number;
}

const WIDTH: Readonly<Record<IpFamily, number>> = { IPv4: 32, IPv6: 128 };

/** Host bits may be set, as Kubernetes allows in `loadBalancerSourceRanges`: the kernel would clear them, too. */
export function parseBlock(text: string): Block | undefined {
  const parsed = parseCidr(text);
  if (isFault(parsed)) return undefined;
  const [address = '', prefix = ''] = parsed.value.split('/');
  const family = familyOf(address);
  return { family, first: networkOf(numberOf(address), Number(prefix), family), prefix: Number(prefix) };
}

export function blockText({ family, first, prefix }: Block): string {
  return `${addressOf(first, family)}/${prefix}`;
}

/** The same addresses in the fewest of these blocks, in one order whatever the order they came in. */
export function withoutContained(blocks: readonly Block[]): readonly Block[] {
  const sorted = [...blocks].sort(
    (a, b) => compare(a.family, b.family) || compare(a.first, b.first) || a.prefix - b.prefix,
  );
  const kept: Block[] = [];
  for (const block of sorted) {
    // Sorted so, what holds a block stands before it, and only what it holds itself may stand between.
    const last = kept.at(-1);
    if (last === undefined || !contains(last, block)) kept.push(block);
  }
  return kept;
}

export function contains(outer: Block, inner: Block): boolean {
  if (outer.family !== inner.family || outer.prefix > inner.prefix) return false;
  return networkOf(inner.first, outer.prefix, outer.family) === outer.first;
}

export function containsAddress(block: Block, address: Ip): boolean {
  if (familyOf(address) !== block.family) return false;
  return networkOf(numberOf(address), block.prefix, block.family) === block.first;
}

/** Two blocks are one in the other, or have nothing in common. */
export function intersection(a: Block, b: Block): Block | undefined {
  if (contains(a, b)) return b;
  return contains(b, a) ? a : undefined;
}

function networkOf(address: bigint, prefix: number, family: IpFamily): bigint {
  const hostBits = BigInt(WIDTH[family] - prefix);
  return (address >> hostBits) << hostBits;
}

function numberOf(ip: Ip): bigint {
  if (familyOf(ip) === 'IPv4') return ip.split('.').reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  const [head = [], tail] = ip.split('::').map(groupsOf);
  const missing = tail === undefined ? 0 : 8 - head.length - tail.length;
  const groups = [...head, ...Array<bigint>(missing).fill(0n), ...(tail ?? [])];
  return groups.reduce((sum, group) => sum * 65_536n + group, 0n);
}

/** An embedded IPv4 address (`::ffff:10.0.0.1`) is two groups. */
function groupsOf(text: string): bigint[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [BigInt(`0x${group}`)];
    const v4 = numberOf(group);
    return [v4 >> 16n, v4 & 0xffffn];
  });
}

function addressOf(value: bigint, family: IpFamily): Ip {
  if (family === 'IPv4') return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  return parseIp(groups.join(':')) ?? groups.join(':');
}

function compare<T extends bigint | string>(a: T, b: T): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
