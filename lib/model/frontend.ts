/** Owns the identity of a frontend: an address that clients dial. */
import { hostPort, type Ip } from '../config/address.js';
import type { Protocol } from './objects.js';

export interface Frontend {
  readonly address: Ip;
  readonly port: number;
  readonly protocol: Protocol;
}

/** `10.96.0.10:53/UDP`, `[fd00::a]:53/UDP`. */
export type FrontendKey = string;

export function frontendKey(frontend: Frontend): FrontendKey {
  return [hostPort(frontend.address, frontend.port), frontend.protocol].join('/');
}

/** Clients of a frontend by where they come from (rule E8). */
export interface SourceRanges {
  /** CIDRs of the frontend's family. */
  readonly cidrs: readonly string[];
  /** Also the node itself, from whatever address of its own. */
  readonly node: boolean;
}
