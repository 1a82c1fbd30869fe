/**
 * Owns the last check before text becomes a rule: whatever came this far, nothing hostile gets into a batch (rule R1).
 *
 *   Redirect -> faultOf (left out, loudly) | commentOf(owner) -> rule text
 */
import { familyOf, type Ip, parseIp, scopeOf, unmapIp } from '../config/address.js';
import type { Redirect } from './redirector.js';

/** What xt_comment holds, its final NUL included. */
const MAX_COMMENT_BYTES = 256;

/** Why no rule can be made of it, or undefined. */
export function faultOf({ frontend, action }: Redirect): string | undefined {
  const { address, port, protocol } = frontend;
  if (!isCanonical(address)) return 'the frontend address is not an IP address in canonical text';
  // A Service may not take over the node's own loopback, a metadata server at 169.254.169.254, or every address.
  if (scopeOf(address) !== 'unicast') return `a ${scopeOf(address)} address cannot be a frontend`;
  if (!isPort(port)) return 'the frontend port is not a number from 1 to 65535';
  if (protocol !== 'TCP' && protocol !== 'UDP') return 'the protocol is neither TCP nor UDP';
  if (action.kind !== 'listener') return undefined;
  if (!isCanonical(action.host)) return 'the listener address is not an IP address in canonical text';
  if (familyOf(action.host) !== familyOf(address)) return 'the listener is of the other address family';
  if (['unspecified', 'multicast', 'broadcast'].includes(scopeOf(action.host))) {
    return `packets cannot be sent on to the ${scopeOf(action.host)} address`;
  }
  return isPort(action.port) ? undefined : 'the listener port is not a number from 1 to 65535';
}

/**
 * The owner as it may stand in a rule, or undefined. Every valid Service port passes. One that does not is hostile or
 * broken, but its traffic does not depend on the comment: its rule is written without.
 */
export function commentOf(owner: string): string | undefined {
  return /^[A-Za-z0-9][A-Za-z0-9./:_-]*$/.test(owner) && owner.length < MAX_COMMENT_BYTES ? owner : undefined;
}

function isCanonical(ip: Ip): boolean {
  return parseIp(ip) === ip && unmapIp(ip) === ip;
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535;
}
