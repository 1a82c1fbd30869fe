/**
 * Owns the portable engine: `Engine` over node:net and node:dgram, for any OS, without FFI and without privileges.
 *
 *   open, update, close -> one call at a time for each listener -> TcpListener | UdpListener
 *   every second        -> sweep: connections and flows that were silent for too long, affinity
 */
import { AffinityTables } from '../../balance/affinity.js';
import type { Backends } from '../../model/backend.js';
import { type Clock, monotonicClock } from '../../model/clock.js';
import { servicePortKey } from '../../model/service-port.js';
import { ConnectionBudget } from '../budget.js';
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
import type { EngineContext, PortableListener } from './context.js';
import { LocalAddresses } from './local-addresses.js';
import { TcpListener } from './tcp-listener.js';
import { UdpListener } from './udp-listener.js';

/** Failures for want of descriptors that are less than this apart are one spell (rule T8). */
const SPELL_MS = 5_000;

export interface PortableParts {
  readonly clock?: Clock;
  /** Shared with the engines of other threads. */
  readonly budget?: ConnectionBudget;
  readonly localAddresses?: LocalAddresses;
}

export function createPortableEngine(options: EngineOptions, events: EngineEvents, parts: PortableParts = {}): Engine {
  return new PortableEngine(options, events, parts);
}

class PortableEngine implements Engine {
  readonly #context: EngineContext;
  readonly #listeners = new Map<ListenerKey, PortableListener>();
  /** Closed, with connections that have time to end. */
  readonly #draining = new Set<PortableListener>();
  /** The last call for each listener. */
  readonly #calls = new Map<ListenerKey, Promise<unknown>>();
  readonly #sweeper: NodeJS.Timeout;
  #stopped = false;
  #acceptPauses = 0;
  #outOfDescriptorsAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: EngineOptions, events: EngineEvents, parts: PortableParts) {
    const clock = parts.clock ?? monotonicClock;
    this.#context = {
      options,
      events,
      clock,
      affinities: new AffinityTables({ maxClients: options.maxAffinityClients, clock }),
      budget: parts.budget ?? new ConnectionBudget(options.maxConnections),
      localAddresses: parts.localAddresses ?? new LocalAddresses(),
      kept: { bytes: 0 },
      outOfDescriptors: () => this.#outOfDescriptors(),
    };
    this.#sweeper = setInterval(() => this.#sweep(), sweepPeriodMs(options)).unref();
  }

  open(spec: ListenerSpec, backends: Backends): Promise<Bound> {
    return this.#inTurn(spec.key, async () => {
      if (this.#stopped) throw new ListenError('EINVAL', 'the engine is stopped');
      if (this.#listeners.has(spec.key)) throw new ListenError('EINVAL', `listener ${spec.key} is open already`);
      const listener = new (spec.servicePort.protocol === 'TCP' ? TcpListener : UdpListener)(this.#context, spec);
      this.#context.affinities.hold(servicePortKey(spec.servicePort));
      listener.setAffinity(spec.affinityTimeoutMs);
      try {
        const bound = await listener.setBackends(backends);
        this.#listeners.set(spec.key, listener);
        return bound;
      } catch (error) {
        this.#context.affinities.release(servicePortKey(spec.servicePort));
        throw error;
      }
    });
  }

  update(key: ListenerKey, backends: Backends): Promise<Bound> {
    return this.#inTurn(key, () => this.#known(key).setBackends(backends));
  }

  setAffinity(key: ListenerKey, affinityTimeoutMs: number | undefined): Promise<void> {
    return this.#inTurn(key, async () => this.#known(key).setAffinity(affinityTimeoutMs));
  }

  close(key: ListenerKey, drainMs: number): Promise<void> {
    return this.#inTurn(key, async () => {
      const listener = this.#listeners.get(key);
      if (listener === undefined) return;
      this.#listeners.delete(key);
      this.#context.affinities.release(servicePortKey(listener.spec.servicePort));
      await listener.close(drainMs);
      this.#draining.add(listener);
      listener.whenEmpty(() => this.#draining.delete(listener));
    });
  }

  async stats(): Promise<EngineStats> {
    let draining = 0;
    for (const { connections } of this.#draining) draining += connections;
    const listeners = [...this.#listeners.values()].map((listener) => listener.stats());
    return { engine: 'portable', listeners, draining, acceptPauses: this.#acceptPauses };
  }

  async stop(drainMs: number): Promise<void> {
    this.#stopped = true;
    const before = [...this.#draining];
    // Those whose opening is under way are closed after it: `close` waits for its turn.
    await Promise.all(
      [...new Set([...this.#listeners.keys(), ...this.#calls.keys()])].map((key) => this.close(key, drainMs)),
    );
    await Promise.all(before.map((listener) => listener.close(drainMs)));
    await Promise.all(
      [...this.#draining].map((listener) => new Promise<void>((resolve) => listener.whenEmpty(resolve))),
    );
    this.#draining.clear();
    clearInterval(this.#sweeper);
  }

  /** Runs the calls for one listener one after another, in the order they came. */
  #inTurn<T>(key: ListenerKey, call: () => Promise<T>): Promise<T> {
    const result = (this.#calls.get(key) ?? Promise.resolve()).then(call);
    const settled = result.then(
      () => undefined,
      () => undefined,
    );
    this.#calls.set(key, settled);
    void settled.then(() => {
      if (this.#calls.get(key) === settled) this.#calls.delete(key);
    });
    return result;
  }

  #known(key: ListenerKey): PortableListener {
    const listener = this.#listeners.get(key);
    if (listener === undefined) throw new ListenError('EINVAL', `no listener ${key}`);
    return listener;
  }

  #sweep(): void {
    const nowMs = this.#context.clock.nowMs();
    for (const listener of this.#listeners.values()) listener.sweep(nowMs);
    for (const listener of this.#draining) listener.sweep(nowMs);
    this.#context.affinities.sweep();
  }

  #outOfDescriptors(): void {
    const nowMs = this.#context.clock.nowMs();
    const sameSpell = nowMs - this.#outOfDescriptorsAtMs < SPELL_MS;
    this.#outOfDescriptorsAtMs = nowMs;
    for (const listener of this.#listeners.values()) listener.shed(nowMs);
    if (sameSpell) return;
    this.#acceptPauses += 1;
    this.#context.events.log('error', 'out of file descriptors: clients are refused and idle UDP flows end', {});
  }
}

/** Often enough that a timeout is late by a quarter at most, and once a second where that is enough. */
function sweepPeriodMs(options: EngineOptions): number {
  const { halfCloseTimeoutMs, tcpIdleTimeoutMs, udpTimeoutMs, udpUnrepliedTimeoutMs } = options;
  const timeouts = [halfCloseTimeoutMs, tcpIdleTimeoutMs, udpTimeoutMs, udpUnrepliedTimeoutMs].filter((ms) => ms > 0);
  return Math.max(10, Math.min(1_000, ...timeouts.map((ms) => ms / 4)));
}
