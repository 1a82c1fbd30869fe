/**
 * Owns where our own servers listen and which ports redirect listeners may take, as text.
 *
 *   "0.0.0.0:10256", "[::1]:10249", "::" -> parseHostPort -> HostPort | undefined (off)
 *   "20000-29999", "20000+9999", "20000" -> parsePortRange -> PortRange
 */
import { parseIp } from './address.js';
import type { HostPort, PortRange } from './options.js';
import { fault, type Parse } from './parsed.js';

/** Below the ephemeral ports of Linux (32768-60999) and the node ports of Kubernetes (30000-32767). */
export const DEFAULT_PROXY_PORT_RANGE: PortRange = { first: 20_000, last: 29_999 };

/**
 * `ip`, `ip:port` or `[ip]:port`; an address alone takes the default port, as kube-proxy does. Empty text and `0` turn the
 * server off. Port 0 lets the kernel choose.
 */
export function hostPortParser(defaultPort: number): Parse<HostPort | undefined> {
  return (text) => {
    if (text === '' || text === '0') return { value: undefined };
    const alone = parseIp(text);
    if (alone !== undefined) return { value: { host: alone, port: defaultPort } };
    const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
    const host = parseIp(bracketed ?? plain ?? '');
    // Brackets are for IPv6 only: `[127.0.0.1]:80` is a typing mistake.
    if (host === undefined || host.includes(':') !== (bracketed !== undefined) || Number(port) > 65_535) {
      return fault(text, `address:port such as 127.0.0.1:${defaultPort} or [::1]:${defaultPort}, or empty for none`);
    }
    return { value: { host, port: Number(port) } };
  };
}

/**
 * kube-proxy's `--proxy-port-range`: `first-last`, `first+offset` (both ends included) or one port. Empty, `0` and `0-0`
 * mean its own choice there, and our default here: redirect ports must not meet ephemeral or node ports.
 */
export const parsePortRange: Parse<PortRange> = (text) => {
  const trimmed = text.trim();
  if (trimmed === '' || trimmed === '0' || trimmed === '0-0') return { value: DEFAULT_PROXY_PORT_RANGE };
  const [, firstText = '', sign, secondText = '0'] = /^(\d{1,5})(?:([-+])(\d{1,5}))?$/.exec(trimmed) ?? [];
  const first = Number(firstText);
  const second = Number(secondText);
  // As in Kubernetes' own parser an offset beyond the last port there is stops there.
  const last = sign === undefined ? first : sign === '-' ? second : Math.min(65_535, first + second);
  if (first < 1 || last > 65_535) return fault(text, 'ports from 1 to 65535: first-last, first+offset or one port');
  if (last < first) return fault(text, 'first-last with first not after last');
  return { value: { first, last } };
};

export function formatPortRange({ first, last }: PortRange): string {
  return first === last ? `${first}` : `${first}-${last}`;
}
