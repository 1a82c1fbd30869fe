/**
 * Owns the one interface behind which iptables, nftables, routes or nothing point frontends at listeners.
 *
 *   reconciler -> RedirectChanges -> Redirector.apply (one atomic batch) -> kernel
 */
import type { Ip, IpFamily } from '../config/address.js';
import type { Frontend, FrontendKey, SourceRanges } from '../model/frontend.js';

export type { Frontend, FrontendKey, SourceRanges } from '../model/frontend.js';
export { frontendKey } from '../model/frontend.js';

/** What happens to a packet for the frontend. */
export type RedirectAction =
  /** Goes to our listener on this address and port of the node. */
  | { readonly kind: 'listener'; readonly host: Ip; readonly port: number }
  /** Is refused at once: TCP RST or ICMP port unreachable (rule E5). */
  | { readonly kind: 'reject' }
  /** Is dropped without a word, where the mode can (rule E6); else refused. */
  | { readonly kind: 'drop' };

export interface Redirect {
  /**
   * The wildcard address of a family stands for every address of the node and goes with `drop` alone: a node port that drops
   * what comes in from outside (rule E6).
   */
  readonly frontend: Frontend;
  readonly action: RedirectAction;
  /** For pods and the node itself, where it is another one (rule E7). */
  readonly insideAction?: RedirectAction;
  /** Who may dial it at all; others are dropped (rule E8). Absent: everybody. */
  readonly allowed?: SourceRanges;
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
   * What an earlier process left, so that its redirect ports can be used again (rule Y7). To be called after `start` and
   * before the first `apply`, which replaces it. Owners are '' where they cannot be read.
   */
  existing(): Promise<readonly Redirect[]>;
  /**
   * One atomic batch per family. The first call replaces whatever an earlier process left. Without changes it runs nothing
   * (rule R1). On rejection clients are served as before, and the same changes stay pending: the next call includes them.
   * A redirect that no rule can be made of (a bad address, a bad port) is logged and left out; the others go on.
   */
  apply(changes: RedirectChanges): Promise<void>;
  /**
   * Whose packets count as from inside, beside the node's own (rule E7): blocks of pods, both families mixed. Writes what
   * that changes, with the guarantees of `apply`. A block that is none is logged and left out.
   */
  setInsideCidrs(cidrs: readonly string[]): Promise<void>;
  /** Puts back what somebody else changed; resolves with what it repaired, in words, or undefined (rule R5). */
  repair(): Promise<string | undefined>;
  /** Removes everything that any process of ours left, and nothing else; not an error when there is nothing (rule R6). */
  cleanup(): Promise<void>;
}

export type RedirectErrorCode =
  | 'MISSING_TOOL'
  | 'MISSING_CAPABILITY'
  | 'COMMAND_FAILED'
  | 'INVALID_NAME'
  | 'UNSUPPORTED_MODE';

export class RedirectError extends Error {
  override readonly name = 'RedirectError';
  constructor(
    readonly code: RedirectErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
