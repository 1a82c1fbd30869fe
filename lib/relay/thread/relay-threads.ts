/**
 * Owns the relay threads as one engine: each Service port belongs to exactly one of them, so that its turn is strict and its
 * affinity is one table.
 *
 *   reconciler -> RelayThreads -> hash of the Service port -> RelayThread -> Engine
 */
import type { EngineChoice } from '../../config/options.js';
import type { Backend } from '../../model/backend.js';
import { type ServicePortName, servicePortKey } from '../../model/service-port.js';
import type { Bound, Engine, EngineEvents, EngineOptions, EngineStats, ListenerKey, ListenerSpec } from '../engine.js';
import { RelayThread } from './relay-thread.js';

export interface RelayThreadsOptions {
  /** At least 1. */
  readonly threads: number;
  readonly engine: EngineChoice;
  /** `maxConnections` is divided among the threads. */
  readonly options: EngineOptions;
  readonly events: EngineEvents;
  /**
   * Told when a thread dies by itself: a fault of this program. Its connections are lost and what it served is not known here, so the
   * process had better end and be started anew by its supervisor; its rules and their ports are taken over then (rule Y7).
   */
  readonly onDeath: (error: Error) => void;
}

export class RelayThreads implements Engine {
  readonly #threads: readonly RelayThread[];
  readonly #byListener = new Map<ListenerKey, RelayThread>();

  constructor({ threads, engine, options, events, onDeath }: RelayThreadsOptions) {
    const share = { ...options, maxConnections: Math.ceil(options.maxConnections / threads) };
    this.#threads = Array.from({ length: threads }, () => new RelayThread({ engine, options: share }, events, onDeath));
  }

  /** Resolves when every thread takes calls. */
  async start(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.ready()));
  }

  async open(listener: ListenerSpec, backends: readonly Backend[]): Promise<Bound> {
    const thread = this.#threadFor(listener.servicePort);
    const bound = await thread.call<Bound>({ op: 'open', listener, backends });
    this.#byListener.set(listener.key, thread);
    return bound;
  }

  async update(key: ListenerKey, backends: readonly Backend[]): Promise<Bound> {
    return this.#threadOf(key).call<Bound>({ op: 'update', key, backends });
  }

  async setAffinity(key: ListenerKey, affinityTimeoutMs: number | undefined): Promise<void> {
    await this.#threadOf(key).call({ op: 'setAffinity', key, affinityTimeoutMs });
  }

  async close(key: ListenerKey, drainMs: number): Promise<void> {
    const thread = this.#byListener.get(key);
    this.#byListener.delete(key);
    await thread?.call({ op: 'close', key, drainMs });
  }

  async stats(): Promise<EngineStats> {
    const all = await Promise.all(this.#threads.map((thread) => thread.call<EngineStats>({ op: 'stats' })));
    return {
      engine: this.#threads[0]?.engine ?? '',
      listeners: all.flatMap(({ listeners }) => listeners),
      draining: all.reduce((sum, { draining }) => sum + draining, 0),
      acceptPauses: all.reduce((sum, { acceptPauses }) => sum + acceptPauses, 0),
    };
  }

  async stop(drainMs: number): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.stop(drainMs)));
  }

  #threadOf(key: ListenerKey): RelayThread {
    const thread = this.#byListener.get(key);
    if (thread === undefined) throw new Error(`no listener is open as ${key}`);
    return thread;
  }

  #threadFor(servicePort: ServicePortName): RelayThread {
    const thread = this.#threads[hash(servicePortKey(servicePort)) % this.#threads.length];
    if (thread === undefined) throw new Error('there is no relay thread');
    return thread;
  }
}

/** FNV-1a, 32 bits: spreads short names evenly, the same in every process. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return value >>> 0;
}
