/**
 * Owns what the reconciler says about itself: the numbers behind /healthz, /metrics and /status.
 *
 *   reconciler -> SyncStatus -> status
 */

/** A listener that cannot be opened now and is retried (rule C3). */
export interface ListenerFault {
  /** `work/saythx-redis:redis/TCP`. */
  readonly servicePort: string;
  /** `0.0.0.0:31269`. */
  readonly listener: string;
  /** errno name, such as EADDRINUSE. */
  readonly code: string;
  readonly message: string;
}

/**
 * `durationMs` of one sync, and for each Service in it the time from its change to now: from when it happened in the cluster,
 * where a slice says so, else from when we first saw it.
 */
export type SyncObserver = (durationMs: number, programmingLatenciesMs: readonly number[]) => void;

export interface SyncStatus {
  /** The first sync has been applied. */
  readonly synced: boolean;
  /** Milliseconds since the epoch; 0: never. */
  readonly lastQueuedAtMs: number;
  readonly lastSyncedAtMs: number;
  /** When the oldest change that is not applied yet was queued, in milliseconds since the epoch. */
  readonly oldestPendingAtMs: number | undefined;
  readonly serviceChangesPending: number;
  readonly serviceChangesTotal: number;
  readonly endpointChangesPending: number;
  readonly endpointChangesTotal: number;
  readonly faults: readonly ListenerFault[];
  /** Service ports with policy Local that have endpoints, none of them on this node. */
  readonly noLocalEndpoints: { readonly internal: number; readonly external: number };
  /** Parts of Services that are not served: an SCTP port, or what an older Service has (rules S6, C2). */
  readonly partsNotServed: number;
  onSync(observer: SyncObserver): void;
}
