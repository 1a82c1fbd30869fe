/**
 * Owns the last check before text becomes a rule: whatever came this far, nothing hostile gets into a batch (rule R1).
 *
 *   Redirect -> faultOf (left out, loudly) | commentOf(owner) -> rule text
 */
import { familyOf, type Ip, parseIp, scopeOf, unmapIp } from '../config/address.js';
import { parseBlock } from './block.js';
import type { Redirect, RedirectAction, SourceRanges } from './redirector.js';

/** What xt_comment holds, its final NUL included. */
const MAX_COMMENT_BYTES = 256;

/** Every range is a few rules, which new connections to any frontend in the same chain walk past. */
export const MAX_SOURCE_RANGES = 256;

/** Why no rule can be made of it, or undefined. */
export function faultOf({ frontend, action, insideAction, allowed }: Redirect): string | undefined {
  const { address, port, protocol } = frontend;
  if (!isCanonical(address)) return 'the frontend address is not an IP address in canonical text';
  if (!isPort(port)) return 'the frontend port is not a number from 1 to 65535';
  if (protocol !== 'TCP' && protocol !== 'UDP') return 'the protocol is neither TCP nor UDP';
  if (isWildcard(address)) {
    const dropsAlone = action.kind === 'drop' && insideAction === undefined && allowed === undefined;
    return dropsAlone ? undefined : 'every address of the node at once can only be dropped';
  }
  // A Service may not take over the node's own loopback, or a metadata server at 169.254.169.254.
  if (scopeOf(address) !== 'unicast') return `a ${scopeOf(address)} address cannot be a frontend`;
  return faultOfAction(address, action) ?? faultOfAction(address, insideAction) ?? faultOfRanges(address, allowed);
}

/** Stands for every address of the node. */
export function isWildcard(address: Ip): boolean {
  return address === '0.0.0.0' || address === '::';
}

function faultOfAction(address: Ip, action: RedirectAction | undefined): string | undefined {
  if (action?.kind !== 'listener') return undefined;
  if (!isCanonical(action.host)) return 'the listener address is not an IP address in canonical text';
  if (familyOf(action.host) !== familyOf(address)) return 'the listener is of the other address family';
  if (['unspecified', 'multicast', 'broadcast'].includes(scopeOf(action.host))) {
    return `packets cannot be sent on to the ${scopeOf(action.host)} address`;
  }
  return isPort(action.port) ? undefined : 'the listener port is not a number from 1 to 65535';
}

function faultOfRanges(address: Ip, allowed: SourceRanges | undefined): string | undefined {
  if (allowed === undefined) return undefined;
  const { cidrs } = allowed;
  if (cidrs.length > MAX_SOURCE_RANGES) return `${cidrs.length} source ranges are over ${MAX_SOURCE_RANGES}`;
  const blocks = cidrs.map(parseBlock);
  if (blocks.includes(undefined)) return 'a source range is not a block of addresses such as 10.0.0.0/8';
  const ofFamily = blocks.every((block) => block?.family === familyOf(address));
  return ofFamily ? undefined : 'a source range is of the other address family';
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
