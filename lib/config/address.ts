/**
 * Owns IP addresses as text: checks them, gives each one spelling, names its family.
 *
 *   flag, manifest, API object, socket -> parseIp -> Ip (canonical text) -> everything else compares with ===
 */
import { isIP, SocketAddress } from 'node:net';

/** The names Kubernetes uses in `ipFamilies` and `addressType`. */
export type IpFamily = 'IPv4' | 'IPv6';

export const IP_FAMILIES: readonly IpFamily[] = ['IPv4', 'IPv6'];

/** An address in canonical text: dotted quad, or RFC 5952 (lower case, compressed, no zone). */
export type Ip = string;

/**
 * Canonical text of an address, or undefined where the text is none. Strict: `010.0.0.1`, `0x7f.1`, zones and
 * surrounding space are refused. An IPv4-mapped IPv6 address (RFC 4291 2.5.5.2) stays IPv6: see `unmapIp`.
 */
export function parseIp(text: string): Ip | undefined {
  switch (isIP(text)) {
    case 4:
      return text;
    case 6:
      return text.includes('%') ? undefined : new SocketAddress({ address: text, family: 'ipv6' }).address;
    default:
      return undefined;
  }
}

/** The family of an address already parsed. */
export function familyOf(ip: Ip): IpFamily {
  return ip.includes(':') ? 'IPv6' : 'IPv4';
}

/** `::ffff:10.0.0.1` as `10.0.0.1`; any other address as it is. */
export function unmapIp(ip: Ip): Ip {
  return ip.startsWith('::ffff:') && ip.includes('.') ? ip.slice(7) : ip;
}

/** `address:port`, with brackets around IPv6. */
export function hostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export type IpScope = 'unspecified' | 'loopback' | 'link-local' | 'multicast' | 'broadcast' | 'unicast';

/** What kind of address it is (RFC 6890); IPv4-mapped addresses count as what they map. */
export function scopeOf(ip: Ip): IpScope {
  const text = unmapIp(ip);
  return text.includes(':') ? scopeOf6(text) : scopeOf4(text);
}

function scopeOf4(ip: Ip): IpScope {
  const [a = 0, b = 0] = ip.split('.').map(Number);
  if (ip === '0.0.0.0') return 'unspecified';
  if (ip === '255.255.255.255') return 'broadcast';
  if (a === 127) return 'loopback';
  if (a === 169 && b === 254) return 'link-local';
  return a >= 224 && a <= 239 ? 'multicast' : 'unicast';
}

function scopeOf6(ip: Ip): IpScope {
  if (ip === '::') return 'unspecified';
  if (ip === '::1') return 'loopback';
  if (/^fe[89ab]/.test(ip)) return 'link-local';
  return ip.startsWith('ff') ? 'multicast' : 'unicast';
}
