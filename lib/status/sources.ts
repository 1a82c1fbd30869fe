/**
 * Owns what the status side asks of the rest of the program. It only reads: nothing it does changes what is served.
 *
 *   engine, reconciler, options -> StatusSources -> metrics, health, status report
 */
import type { SyncStatus } from '../apply/sync-status.js';
import type { Ip } from '../config/address.js';
import type { Options } from '../config/options.js';
import type { Backend } from '../model/backend.js';
import type { EngineStats, ListenerKey } from '../relay/engine.js';

/** What the reconciler knows of a listener and the engine's counters do not tell. */
export interface ListenerView {
  readonly host: Ip;
  /** What clients dial to get here: `10.96.0.10:53/UDP`, or the node port itself. */
  readonly frontends: readonly string[];
  readonly backends: readonly Backend[];
  /** Addresses that lead to it while it has backends, and are refused now. */
  readonly rejected?: readonly string[];
}

export interface StatusSources {
  readonly options: Options;
  /** As in package.json. */
  readonly version: string;
  readonly sync: SyncStatus;
  /** May reject, or take long, while a relay thread is in trouble: what needs it then says so, and the rest is served. */
  engineStats(): Promise<EngineStats>;
  /** undefined for listeners that the reconciler does not know (any more). */
  listener(key: ListenerKey): ListenerView | undefined;
  /** False while our Node is being deleted, or tainted `ToBeDeletedByClusterAutoscaler` (KEP-3836). */
  nodeEligible(): boolean;
  /** Connection records that could not be written. */
  recordsDropped(): number;
}
