/**
 * Owns the native engine: Linux descriptors and one edge-triggered epoll, driven through libc. It blocks its thread, so it lives
 * in a relay thread whose host writes to `wakeFd` after every message.
 *
 *   open, update, close -> Listener -> TcpRelay | UdpRelay -> loop
 */
import { AffinityTables } from '../../balance/affinity.js';
import { Balancer } from '../../balance/balancer.js';
import type { Backends } from '../../model/backend.js';
import { monotonicClock } from '../../model/clock.js';
import type { Ring } from '../../sys/ring.js';
import type { ConnectionBudget } from '../budget.js';
import type { Bound, EngineEvents, EngineOptions, EngineStats, ListenerKey, ListenerSpec } from '../engine.js';
import { ListenError } from '../engine.js';
import type { ThreadEngine } from '../thread/thread-engine.js';
import { AcceptGate } from './accept-gate.js';
import { Housekeeping } from './housekeeping.js';
import { Listener } from './listener.js';
import { Loop } from './loop.js';
import { openRings } from './ring.js';
import { SendBatch } from './send-batch.js';
import { Slots } from './slots.js';
import { openTcpListener } from './tcp-options.js';
import { TcpRelay } from './tcp-relay.js';
import { openUdpListener } from './udp-options.js';
import { UdpRelay } from './udp-relay.js';

const HOUSEKEEPING_MS = 5_000;

export class NativeEngine implements ThreadEngine {
  readonly #loop = new Loop();
  readonly #gate: AcceptGate;
  readonly #tcp: TcpRelay;
  readonly #udp: UdpRelay;
  readonly #affinity: AffinityTables;
  readonly #listeners = new Map<ListenerKey, Listener>();
  /** Closed, with connections that still drain. */
  readonly #draining = new Set<Listener>();
  readonly #indexes = new Slots(16, () => undefined);
  /** One for TCP, one for UDP: each is flushed in its own time. Empty where there is no io_uring. */
  readonly #rings: readonly Ring[];
  #idle: (() => void) | undefined;
  #stopped = false;

  /** `budget` is shared with the engines of other threads. */
  constructor(options: EngineOptions, events: EngineEvents, budget: ConnectionBudget) {
    this.#affinity = new AffinityTables({ maxClients: options.maxAffinityClients, clock: monotonicClock });
    this.#gate = new AcceptGate(events, {
      paused: (nowMs) => {
        this.#tcp.paused();
        this.#udp.shed(nowMs);
      },
      resumed: () => this.#tcp.resumed(),
    });
    const lastEnded = (listener: Listener) => this.#lastEnded(listener);
    this.#rings = options.ioUring ? openRings(2, events) : [];
    const [messages, datagrams] = this.#rings;
    const batch = messages === undefined ? undefined : new SendBatch(messages);
    this.#tcp = new TcpRelay(this.#loop, this.#gate, events, options, budget, lastEnded, batch);
    this.#udp = new UdpRelay(this.#loop, this.#gate, events, options, datagrams);
    this.#loop.addPart(this.#udp);
    this.#loop.addPart(this.#tcp);
    this.#loop.addPart(this.#gate);
    this.#loop.addPart(
      new Housekeeping(HOUSEKEEPING_MS, this.#loop.nowMs, () => {
        this.#affinity.sweep();
        this.#tcp.pipes.shrink();
      }),
    );
  }

  /** 8 bytes written here, an integer of 1, let the thread read its messages (eventfd(2)). */
  get wakeFd(): number {
    return this.#loop.wakeFd;
  }

  /** Begins to block the thread whenever there is nothing to do. */
  start(): void {
    this.#loop.start();
  }

  async open(spec: ListenerSpec, backends: Backends): Promise<Bound> {
    if (this.#stopped) throw new ListenError('EINVAL', 'the engine is stopped');
    if (this.#listeners.has(spec.key)) throw new ListenError('EINVAL', `listener ${spec.key} is open already`);
    const balancer = new Balancer({ backends, clock: monotonicClock });
    const isTcp = spec.servicePort.protocol === 'TCP';
    const listener = new Listener(spec, this.#indexes.take(), balancer, isTcp ? openTcpListener : openUdpListener);
    this.#affinity.hold(listener.servicePort);
    balancer.affinity = this.#affinity.table(listener.servicePort, spec.affinityTimeoutMs);
    try {
      this.#settle(listener);
    } catch (error) {
      this.#release(listener);
      throw error;
    }
    this.#listeners.set(spec.key, listener);
    return { port: listener.port };
  }

  async update(key: ListenerKey, backends: Backends): Promise<Bound> {
    const listener = this.#known(key);
    const left = listener.balancer.replace(backends);
    this.#udp.endFlowsTo(listener, left);
    this.#settle(listener);
    return { port: listener.port };
  }

  async setAffinity(key: ListenerKey, affinityTimeoutMs: number | undefined): Promise<void> {
    const listener = this.#known(key);
    listener.balancer.affinity = this.#affinity.table(listener.servicePort, affinityTimeoutMs);
  }

  async close(key: ListenerKey, drainMs: number): Promise<void> {
    const listener = this.#listeners.get(key);
    if (listener === undefined) return;
    this.#listeners.delete(key);
    listener.gone = true;
    this.#rest(listener);
    if (listener.active > 0) this.#draining.add(listener);
    this.#tcp.drain(listener, drainMs);
    this.#release(listener);
  }

  async stats(): Promise<EngineStats> {
    const live = this.#tcp.connections.liveBytes();
    let draining = 0;
    for (const listener of this.#draining) draining += listener.active;
    return {
      engine: 'native',
      listeners: [...this.#listeners.values()].map((listener) => {
        const [up, down] = live.get(listener) ?? [0, 0];
        return listener.stats(up, down);
      }),
      draining,
      acceptPauses: this.#gate.pauses,
    };
  }

  async stop(drainMs: number): Promise<void> {
    this.#stopped = true;
    for (const key of [...this.#listeners.keys()]) await this.close(key, drainMs);
    // A second stop, with less time, hurries those that drain already.
    for (const listener of [...this.#draining]) this.#tcp.drain(listener, drainMs);
    if (this.#draining.size > 0) await new Promise<void>((resolve) => this.#onIdle(resolve));
    this.#tcp.pipes.trim();
    this.#closeOwn();
  }

  /** Closes every descriptor at once, without a word to anybody: the thread ends. */
  abandon(): void {
    for (const listener of this.#listeners.values()) this.#rest(listener);
    this.#tcp.abandon();
    this.#closeOwn();
  }

  #closeOwn(): void {
    this.#loop.stop();
    for (const ring of this.#rings) ring.close();
  }

  /** Listens where there are backends, rests where there are none. Throws `ListenError`. */
  #settle(listener: Listener): void {
    if (listener.balancer.size === 0) {
      this.#rest(listener);
      return;
    }
    if (listener.listening) return;
    listener.listen();
    if (listener.spec.servicePort.protocol === 'TCP') this.#tcp.acceptor.add(listener);
    else this.#udp.receive(listener);
  }

  #rest(listener: Listener): void {
    if (!listener.listening) return;
    this.#tcp.acceptor.forget(listener);
    this.#udp.forget(listener);
    listener.rest();
  }

  #release(listener: Listener): void {
    this.#affinity.release(listener.servicePort);
    this.#indexes.give(listener.index);
  }

  #known(key: ListenerKey): Listener {
    const listener = this.#listeners.get(key);
    if (listener === undefined) throw new ListenError('EINVAL', `no listener ${key}`);
    return listener;
  }

  #lastEnded(listener: Listener): void {
    this.#draining.delete(listener);
    if (this.#draining.size > 0) return;
    this.#idle?.();
    // What waits for it can only go on in Node's own loop.
    this.#loop.pauseSoon();
  }

  #onIdle(resolve: () => void): void {
    const before = this.#idle;
    this.#idle = () => {
      before?.();
      resolve();
    };
  }
}
