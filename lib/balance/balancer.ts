/**
 * Owns the choice among the backends of one listener: strict turn (rule B1), ClientIP affinity (B2), passive ejection (B3).
 *
 *   replace(backends) -> the ring
 *   pick(client, tried) -> Target -> engine dials -> succeeded | failed
 *
 * The ring is made when the first client comes: of thousands of Services a node dials a few, and the others cost one text each.
 */
import type { Ip } from '../config/address.js';
import {
  type BackendKey,
  type Backends,
  backendKey,
  countBackends,
  type PackedBackends,
  packBackends,
  unpackBackends,
} from '../model/backend.js';
import type { Clock } from '../model/clock.js';
import type { AffinityTable } from './affinity.js';
import { Target } from './target.js';

const BASE_EJECTION_MS = 1_000;
const MAX_EJECTION_MS = 30_000;
/** A client that tries a backend again after its ejection has this long to report before the next one tries. */
const PROBE_MS = 1_000;

/** For a first pick. */
export const NONE_TRIED: readonly Target[] = Object.freeze([]);
const NO_TARGETS: ReadonlyMap<BackendKey, Target> = new Map();

export interface BalancerOptions {
  readonly backends: Backends;
  readonly affinity?: AffinityTable | undefined;
  readonly clock: Clock;
  /** In [0, 1); Math.random where absent. */
  readonly random?: () => number;
}

export class Balancer {
  /** The table of the Service port, or undefined without affinity. May be set at any time. */
  affinity: AffinityTable | undefined;
  readonly #clock: Clock;
  readonly #random: () => number;
  /** The set until the first pick, undefined from then on. */
  #asleep: PackedBackends | undefined;
  #ring: readonly Target[] = NONE_TRIED;
  #byKey: ReadonlyMap<BackendKey, Target> = NO_TARGETS;
  /** Index of whose turn it is. */
  #next = 0;
  /** Targets with `outUntilMs` set, their time over or not: while it is 0, `pick` asks neither them nor the clock. */
  #marked = 0;
  #ejections = 0;

  constructor(options: BalancerOptions) {
    this.affinity = options.affinity;
    this.#clock = options.clock;
    this.#random = options.random ?? Math.random;
    this.#asleep = packBackends(options.backends);
  }

  get size(): number {
    return this.#asleep === undefined ? this.#ring.length : countBackends(this.#asleep);
  }

  /** How often a backend was taken out, in all. */
  get ejections(): number {
    return this.#ejections;
  }

  get targets(): readonly Target[] {
    if (this.#asleep !== undefined) this.#wake(this.#asleep);
    return this.#ring;
  }

  /**
   * The target for a client, none of those in `tried`; undefined where there is no other. Allocates nothing without affinity.
   * Ejected targets come only after all others.
   */
  pick(client: Ip | undefined, tried: readonly Target[]): Target | undefined {
    if (this.#asleep !== undefined) this.#wake(this.#asleep);
    if (this.affinity === undefined || client === undefined) return this.#inTurn(tried);
    if (this.#ring.length === 0) return undefined;
    const pin = this.affinity.get(client);
    const pinned = pin === undefined ? undefined : this.#byKey.get(pin);
    if (pinned !== undefined && !tried.includes(pinned) && this.#admits(pinned)) return pinned;
    const target = this.#inTurn(tried);
    if (target !== undefined) this.affinity.set(client, target.key);
    return target;
  }

  /**
   * Swaps the set. Those that remain keep their turn and their `Target`; newcomers, shuffled, stand behind them.
   * Returns the targets that left: none before the first pick.
   */
  replace(backends: Backends): readonly Target[] {
    const packed = packBackends(backends);
    if (this.#asleep === undefined) return this.#swap(packed);
    this.#asleep = packed;
    return NONE_TRIED;
  }

  #wake(packed: PackedBackends): void {
    this.#asleep = undefined;
    this.#swap(packed);
  }

  #swap(packed: PackedBackends): readonly Target[] {
    const wanted = new Map(unpackBackends(packed).map((backend) => [backendKey(backend), backend]));
    const remaining: Target[] = [];
    const left: Target[] = [];
    for (let step = 0; step < this.#ring.length; step++) {
      const target = this.#at(this.#next + step);
      (wanted.delete(target.key) ? remaining : left).push(target);
    }
    const newcomers = [...wanted.values()].map((backend) => new Target(backend));
    for (const target of left) this.#admit(target);
    this.#ring = [...remaining, ...this.#shuffled(newcomers)];
    this.#byKey = new Map(this.#ring.map((target) => [target.key, target]));
    this.#next = 0;
    if (this.#marked > 0) this.#keepWithinHalf();
    return left;
  }

  /** A dial failed: the target goes out for a time that doubles, unless half of the set is out already. */
  failed(target: Target): void {
    // Many clients may be dialling it at this moment: together they are one failure, else the first burst would mean 30 s.
    const nowMs = this.#clock.nowMs();
    if (this.#byKey.get(target.key) !== target || (target.outUntilMs > nowMs && !target.probing)) return;
    target.failures += 1;
    target.probing = false;
    if (!this.#mayGoOut(target, nowMs)) {
      this.#mark(target, 0);
      return;
    }
    this.#ejections += 1;
    this.#mark(target, nowMs + Math.min(BASE_EJECTION_MS * 2 ** (target.failures - 1), MAX_EJECTION_MS));
  }

  succeeded(target: Target): void {
    if (target.failures !== 0) this.#admit(target);
  }

  #inTurn(tried: readonly Target[]): Target | undefined {
    const size = this.#ring.length;
    for (let step = 0; step < size; step++) {
      const target = this.#at(this.#next + step);
      if (tried.includes(target) || !this.#admits(target)) continue;
      this.#next = (this.#next + step + 1) % size;
      return target;
    }
    return this.#marked === 0 ? undefined : this.#leastOut(tried);
  }

  /** Everything that is left to try is out: the one that comes back first. */
  #leastOut(tried: readonly Target[]): Target | undefined {
    let best: Target | undefined;
    for (const target of this.#ring) {
      if (!tried.includes(target) && (best === undefined || target.outUntilMs < best.outUntilMs)) best = target;
    }
    return best;
  }

  /** True where a client may have the target now; the first one after an ejection has it as a probe. */
  #admits(target: Target): boolean {
    if (this.#marked === 0 || target.outUntilMs === 0) return true;
    const nowMs = this.#clock.nowMs();
    if (target.outUntilMs > nowMs) return false;
    target.probing = this.#mayGoOut(target, nowMs);
    this.#mark(target, target.probing ? nowMs + PROBE_MS : 0);
    return true;
  }

  /** At most half of the set is out at one time: with fewer, a fault of our own network would take all. */
  #mayGoOut(target: Target, nowMs: number): boolean {
    let out = 0;
    for (const other of this.#ring) if (other !== target && other.outUntilMs > nowMs) out += 1;
    return out + 1 <= Math.floor(this.#ring.length / 2);
  }

  /** After the set shrank: all out means none is; else those whose time ends first come back until half is in. */
  #keepWithinHalf(): void {
    const nowMs = this.#clock.nowMs();
    const out = this.#ring.filter((target) => target.outUntilMs > nowMs);
    const spare = out.length === this.#ring.length ? out.length : out.length - Math.floor(this.#ring.length / 2);
    if (spare <= 0) return;
    out.sort((one, other) => one.outUntilMs - other.outUntilMs);
    for (const target of out.slice(0, spare)) this.#mark(target, 0);
  }

  #admit(target: Target): void {
    target.failures = 0;
    target.probing = false;
    this.#mark(target, 0);
  }

  #mark(target: Target, outUntilMs: number): void {
    if (target.outUntilMs !== 0) this.#marked -= 1;
    if (outUntilMs !== 0) this.#marked += 1;
    target.outUntilMs = outUntilMs;
  }

  #at(position: number): Target {
    const target = this.#ring[position % this.#ring.length];
    if (target === undefined) throw new RangeError(`no target at ${position} of ${this.#ring.length}`);
    return target;
  }

  /** Fisher-Yates: many proxies that learn one set at one moment must not all begin with the same backend. */
  #shuffled(targets: Target[]): readonly Target[] {
    for (let last = targets.length - 1; last > 0; last--) {
      const other = Math.floor(this.#random() * (last + 1));
      const one = targets[last];
      const two = targets[other];
      if (one === undefined || two === undefined) break;
      targets[last] = two;
      targets[other] = one;
    }
    return targets;
  }
}
