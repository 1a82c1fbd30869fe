/**
 * Owns the listeners of one relay thread, and the thread: when it dies, a new one opens them again.
 *
 *   open, update, close -> remembered -> RelayThread
 *   died -> wait -> new RelayThread -> open all that is remembered
 */
import { type Backends, type PackedBackends, packBackends } from '../../model/backend.js';
import { ConnectionBudget } from '../budget.js';
import type { Bound, EngineEvents, EngineStats, ListenerKey, ListenerSpec } from '../engine.js';
import type { ThreadData } from './messages.js';
import { RelayThread } from './relay-thread.js';

interface Remembered {
  spec: ListenerSpec;
  backends: PackedBackends;
}

/** A thread that lived this long died of something new: it is replaced at once. */
const STABLE_MS = 60_000;
const RESTART_BASE_MS = 100;
const RESTART_MAX_MS = 30_000;

export class Shard {
  readonly #data: ThreadData;
  readonly #events: EngineEvents;
  readonly #worker: URL;
  readonly #name: string;
  readonly #listeners = new Map<ListenerKey, Remembered>();
  #thread: RelayThread;
  /** Settles when the thread takes calls; pending while it is being replaced. */
  #running: Promise<void> = Promise.resolve();
  #restarting = false;
  #startedAtMs = 0;
  #deaths = 0;
  #stopped = false;
  #endWait: (() => void) | undefined;

  constructor(data: ThreadData, events: EngineEvents, worker: URL) {
    this.#data = data;
    this.#events = events;
    this.#worker = worker;
    this.#name = `relay-${data.budget.slot}`;
    this.#thread = this.#newThread();
  }

  #newThread(): RelayThread {
    return new RelayThread(this.#worker, this.#data, this.#name, this.#events, (reason) => this.#died(reason));
  }

  /** Rejects with `EngineUnavailableError`. */
  async start(): Promise<void> {
    await this.#thread.start();
    this.#startedAtMs = performance.now();
  }

  async open(spec: ListenerSpec, backends: Backends): Promise<Bound> {
    const packed = packBackends(backends);
    await this.#running;
    const bound = await this.#thread.call('open', spec, packed);
    this.#listeners.set(spec.key, { spec: { ...spec, port: bound.port }, backends: packed });
    return bound;
  }

  async update(key: ListenerKey, backends: Backends): Promise<Bound> {
    const packed = packBackends(backends);
    const listener = this.#listeners.get(key);
    if (listener !== undefined) listener.backends = packed;
    await this.#running;
    const bound = await this.#thread.call('update', key, packed);
    if (listener !== undefined) listener.spec = { ...listener.spec, port: bound.port };
    return bound;
  }

  async setAffinity(key: ListenerKey, affinityTimeoutMs: number | undefined): Promise<void> {
    const listener = this.#listeners.get(key);
    if (listener !== undefined) listener.spec = { ...listener.spec, affinityTimeoutMs };
    await this.#running;
    await this.#thread.call('setAffinity', key, affinityTimeoutMs);
  }

  async close(key: ListenerKey, drainMs: number): Promise<void> {
    this.#listeners.delete(key);
    await this.#running;
    await this.#thread.call('close', key, drainMs);
  }

  /** undefined while the thread does not run. */
  async stats(): Promise<EngineStats | undefined> {
    if (this.#restarting || this.#stopped) return undefined;
    return this.#thread.call('stats').catch(() => undefined);
  }

  async stop(drainMs: number): Promise<void> {
    this.#stopped = true;
    this.#endWait?.();
    await this.#running;
    await this.#thread.stop(drainMs);
  }

  halt(): void {
    this.#stopped = true;
    this.#thread.halt();
  }

  #died(reason: Error): void {
    new ConnectionBudget(this.#data.budget).giveAll();
    this.#deaths = performance.now() - this.#startedAtMs > STABLE_MS ? 1 : this.#deaths + 1;
    const listeners = this.#listeners.size;
    this.#events.log('error', 'a relay thread died with its connections, a new one takes its listeners', {
      thread: this.#name,
      listeners,
      err: reason,
    });
    this.#restarting = true;
    this.#running = this.#restart().finally(() => {
      this.#restarting = false;
    });
  }

  async #restart(): Promise<void> {
    for (; !this.#stopped; this.#deaths += 1) {
      if (this.#deaths > 1) await this.#wait(Math.min(RESTART_BASE_MS * 2 ** (this.#deaths - 1), RESTART_MAX_MS));
      if (this.#stopped) return;
      this.#thread = this.#newThread();
      try {
        await this.start();
        await Promise.all([...this.#listeners.values()].map((listener) => this.#reopen(listener)));
        return;
      } catch (error) {
        this.#events.log('error', 'a relay thread could not be replaced', { thread: this.#name, err: error });
      }
    }
  }

  async #reopen({ spec, backends }: Remembered): Promise<void> {
    try {
      await this.#thread.call('open', spec, backends);
    } catch (error) {
      this.#events.log('error', 'a listener could not be opened again', { listener: spec.key, err: error });
      // Without backends it needs no port: the next update tries again.
      await this.#thread.call('open', spec, []).catch(() => undefined);
    }
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#endWait = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
