/**
 * Owns address blocks as text, and whether an address is in one.
 *
 *   "10.0.0.0/8" -> parseCidr -> "10.0.0.0/8" -> cidrMatcher -> (ip) => boolean
 */
import { BlockList } from 'node:net';
import { familyOf, type Ip, parseIp } from './address.js';
import { fault, isFault, listOf, listParser, type Parse } from './parsed.js';

/** `address/prefix`, the address in canonical text; its host bits may be set, as in `net.ParseCIDR`. */
export type Cidr = string;

export const parseCidr: Parse<Cidr> = (text) => {
  const [, address = '', prefix = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const ip = parseIp(address);
  if (ip === undefined || Number(prefix) > (familyOf(ip) === 'IPv4' ? 32 : 128)) {
    return fault(text, 'a block of addresses such as 10.0.0.0/8 or fd00::/64');
  }
  return { value: `${ip}/${Number(prefix)}` };
};

/** A comma-separated list of blocks. */
export const parseCidrs = listParser(parseCidr);

/** Whether an address is in any of the blocks. One check costs 2-3 us: not for the path of a connection. */
export function cidrMatcher(cidrs: readonly Cidr[]): (ip: Ip) => boolean {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [address = '', prefix] = cidr.split('/');
    list.addSubnet(address, Number(prefix), typeOf(address));
  }
  return (ip) => list.check(ip, typeOf(ip));
}

export function cidrContains(cidr: Cidr, ip: Ip): boolean {
  return cidrMatcher([cidr])(ip);
}

/** `--nodeport-addresses`: blocks, or the single word `primary` (rule E11). */
export const parseNodePortAddresses: Parse<readonly string[]> = (text) => {
  const parts = listOf(text);
  if (parts.includes('primary')) {
    return parts.length === 1 ? { value: parts } : fault(text, 'blocks of addresses, or the single word primary');
  }
  const cidrs = parseCidrs(text);
  return isFault(cidrs) ? { fault: `${cidrs.fault}, or the single word primary` } : cidrs;
};

function typeOf(ip: Ip): 'ipv4' | 'ipv6' {
  return familyOf(ip) === 'IPv4' ? 'ipv4' : 'ipv6';
}
