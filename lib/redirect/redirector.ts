/**
 * Owns the one interface behind which iptables, nftables, routes or nothing point frontends at listeners.
 *
 *   reconciler -> RedirectChanges -> Redirector.apply (one atomic batch) -> kernel
 */
import type { Ip, IpFamily } from '../config/address.js';
import type { Frontend, FrontendKey } from '../model/frontend.js';

export type { Frontend, FrontendKey } from '../model/frontend.js';
export { frontendKey } from '../model/frontend.js';

/** What happens to a packet for the frontend. */
export type RedirectAction =
  /** Goes to our listener on this address and port of the node. */
  | { readonly kind: 'listener'; readonly host: Ip; readonly port: number }
  /** Is refused at once: TCP RST or ICMP port unreachable (rule E5). */
  | { readonly kind: 'reject' };

export interface Redirect {
  readonly frontend: Frontend;
  readonly action: RedirectAction;
  /** The Service port it serves, `work/saythx-redis:redis/TCP`: for the eyes of an operator. Hostile until validated. */
  readonly owner: string;
}

export interface RedirectChanges {
  /** New or changed; the frontend is the identity. */
  readonly set: readonly Redirect[];
  readonly remove: readonly FrontendKey[];
}

export interface Redirector {
  readonly mode: 'iptables' | 'nftables' | 'route' | 'none';
  /** False where frontends cannot be served at all (`none`): nothing is then opened for them. */
  readonly serves: (family: IpFamily) => boolean;
  /** Finds its tools and rights. Rejects with `RedirectError` that names what is missing (rule C5). */
  start(): Promise<void>;
  /**
   * One atomic batch per family. The first call replaces whatever an earlier process left. Without changes it runs nothing
   * (rule R1). On rejection the kernel has the rules of before, and the same changes stay pending: the next call includes them.
   */
  apply(changes: RedirectChanges): Promise<void>;
  /** Puts back what somebody else changed; resolves with what it repaired, in words, or undefined (rule R5). */
  repair(): Promise<string | undefined>;
  /** Removes everything that any process of ours left, and nothing else; not an error when there is nothing (rule R6). */
  cleanup(): Promise<void>;
}

/** `code`: `MISSING_TOOL`, `MISSING_CAPABILITY`, `COMMAND_FAILED`, `INVALID_NAME`. */
export class RedirectError extends Error {
  override readonly name = 'RedirectError';
  constructor(
    readonly code: 'MISSING_TOOL' | 'MISSING_CAPABILITY' | 'COMMAND_FAILED' | 'INVALID_NAME',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
