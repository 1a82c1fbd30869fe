/**
 * Owns the relay threads: `Engine` for the main thread, over the engines of N workers.
 *
 *   open(listener) -> thread of its Service port -> worker -> engine
 *
 * A Service port belongs to one thread by a hash of its key, so its turn and its affinity are one (rules B1, B2). A thread that
 * dies takes its connections along; a new one opens its listeners again on the ports they had.
 */
import type { EngineChoice } from '../../config/options.js';
import type { Backends } from '../../model/backend.js';
import { servicePortKey } from '../../model/service-port.js';
import { sharedBudget } from '../budget.js';
import {
  type Bound,
  type Engine,
  type EngineEvents,
  type EngineOptions,
  type EngineStats,
  ListenError,
  type ListenerKey,
  type ListenerSpec,
} from '../engine.js';
import { EngineUnavailableError } from './relay-thread.js';
import { Shard } from './shard.js';
import type { EngineName } from './thread-engine.js';

const WORKER = new URL('./worker.js', import.meta.url);

export interface RelayThreadsOptions {
  /** At least 1. */
  readonly threads: number;
  readonly engine: EngineChoice;
  readonly options: EngineOptions;
  readonly events: EngineEvents;
  /** The code of a thread; `worker.js` where absent. For specs. */
  readonly worker?: URL;
}

export class RelayThreads implements Engine {
  readonly #options: RelayThreadsOptions;
  readonly #shards: Shard[] = [];
  readonly #shardOf = new Map<ListenerKey, Shard>();
  readonly #halt = (): void => {
    for (const shard of this.#shards) shard.halt();
  };

  constructor(options: RelayThreadsOptions) {
    this.#options = options;
  }

  /** Resolves when all engines run. Rejects with `EngineUnavailableError`, all threads ended. */
  async start(): Promise<void> {
    const { engine, events } = this.#options;
    process.once('exit', this.#halt);
    if (engine !== 'auto') {
      await this.#startAll(engine);
      return;
    }
    try {
      await this.#startAll('native');
    } catch (error) {
      if (!(error instanceof EngineUnavailableError)) throw error;
      events.log('info', 'the native engine cannot run here, the portable one is used', { reason: error.message });
      await this.#startAll('portable');
    }
  }

  async #startAll(engine: EngineName): Promise<void> {
    const { threads, options, events, worker = WORKER } = this.#options;
    const budget = sharedBudget(options.maxConnections, threads);
    for (let slot = 0; slot < threads; slot++) {
      this.#shards.push(new Shard({ engine, options, budget: { ...budget, slot } }, events, worker));
    }
    const started = await Promise.allSettled(this.#shards.map((shard) => shard.start()));
    const failed = started.find((result) => result.status === 'rejected');
    if (failed === undefined) return;
    await Promise.all(this.#shards.splice(0).map((shard) => shard.stop(0)));
    throw failed.reason;
  }

  async open(spec: ListenerSpec, backends: Backends): Promise<Bound> {
    if (this.#shardOf.has(spec.key)) throw new ListenError('EINVAL', `listener ${spec.key} is open already`);
    const shard = this.#shards[hash(servicePortKey(spec.servicePort)) % this.#shards.length];
    if (shard === undefined) throw new ListenError('EINVAL', 'the relay threads do not run');
    this.#shardOf.set(spec.key, shard);
    try {
      return await shard.open(spec, backends);
    } catch (error) {
      this.#shardOf.delete(spec.key);
      throw error;
    }
  }

  async update(key: ListenerKey, backends: Backends): Promise<Bound> {
    return this.#known(key).update(key, backends);
  }

  async setAffinity(key: ListenerKey, affinityTimeoutMs: number | undefined): Promise<void> {
    await this.#known(key).setAffinity(key, affinityTimeoutMs);
  }

  async close(key: ListenerKey, drainMs: number): Promise<void> {
    const shard = this.#shardOf.get(key);
    this.#shardOf.delete(key);
    await shard?.close(key, drainMs);
  }

  /** Of the threads that run. */
  async stats(): Promise<EngineStats> {
    const all = (await Promise.all(this.#shards.map((shard) => shard.stats()))).filter((stats) => stats !== undefined);
    return {
      engine: all[0]?.engine ?? 'none',
      listeners: all.flatMap(({ listeners }) => listeners),
      draining: all.reduce((sum, { draining }) => sum + draining, 0),
      acceptPauses: all.reduce((sum, { acceptPauses }) => sum + acceptPauses, 0),
    };
  }

  /** Ends the threads too. A second call, with less time, hurries the first. */
  async stop(drainMs: number): Promise<void> {
    await Promise.all(this.#shards.map((shard) => shard.stop(drainMs)));
    this.#shardOf.clear();
    process.off('exit', this.#halt);
  }

  #known(key: ListenerKey): Shard {
    const shard = this.#shardOf.get(key);
    if (shard === undefined) throw new ListenError('EINVAL', `listener ${key} is not open`);
    return shard;
  }
}

/** FNV-1a, 32 bits: the same Service port goes to the same thread in every run. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value >>> 0;
}
