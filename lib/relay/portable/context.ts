/** Owns what every listener of one portable engine shares. */
import type { AffinityTables } from '../../balance/affinity.js';
import type { Clock } from '../../model/clock.js';
import type { ConnectionBudget } from '../budget.js';
import type { Backends, Bound, EngineEvents, EngineOptions, ListenerSpec, ListenerStats } from '../engine.js';
import type { LocalAddresses } from './local-addresses.js';

export interface EngineContext {
  readonly options: EngineOptions;
  readonly events: EngineEvents;
  readonly clock: Clock;
  readonly affinities: AffinityTables;
  readonly budget: ConnectionBudget;
  readonly localAddresses: LocalAddresses;
  /** Datagrams that UDP flows keep for sending again. */
  readonly kept: { bytes: number };
  /** The process has no descriptor left (rule T8). Called at every failure: it counts and logs one spell once. */
  readonly outOfDescriptors: () => void;
}

/** What the engine asks of a TCP or UDP listener. It makes one call at a time. */
export interface PortableListener {
  readonly spec: ListenerSpec;
  /** Connections that are not ended. */
  readonly connections: number;
  /** Balances over these from now on; listens where there are any, and does not where there are none. */
  setBackends(backends: Backends): Promise<Bound>;
  setAffinity(affinityTimeoutMs: number | undefined): void;
  /** Stops accepting, ends UDP flows; resolves then. Connections are reset after `drainMs`, at once for 0. */
  close(drainMs: number): Promise<void>;
  /** Calls back when the last connection has ended; at once where there is none. Only after `close`. */
  whenEmpty(callback: () => void): void;
  /** Ends what was silent for too long. */
  sweep(nowMs: number): void;
  /** Ends idle UDP flows: the process is out of descriptors (rule T8). */
  shed(nowMs: number): void;
  stats(): ListenerStats;
}

/** Failures of ours, not of the backend: they say nothing about it. */
const LOCAL_FAULTS: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL', 'EINVAL']);

export function isLocalFault(code: string): boolean {
  return LOCAL_FAULTS.has(code);
}

export function isOutOfDescriptors(code: string): boolean {
  return code === 'EMFILE' || code === 'ENFILE';
}

/** The errno name, or the name of the error class where Node found the fault before the kernel did. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : 'EINVAL';
}
