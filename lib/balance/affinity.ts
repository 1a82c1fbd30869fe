/**
 * Owns which client goes to which backend (sessionAffinity: ClientIP, rule B2). One table per Service port, shared by
 * all of its listeners; it knows nothing of which backends exist, so it survives any change of theirs.
 *
 *   Balancer.pick(client) -> get -> backend key, or undefined -> set
 */
import { type Ip, unmapIp } from '../config/address.js';
import type { BackendKey } from '../model/backend.js';
import type { Clock } from '../model/clock.js';
import type { ServicePortKey } from '../model/service-port.js';

interface Pin {
  backend: BackendKey;
  lastUseMs: number;
}

export class AffinityTable {
  /** Since last use; a change takes effect at once, also for the clients already known. */
  timeoutMs: number;
  readonly #maxClients: number;
  readonly #clock: Clock;
  /** Longest unused first: every use moves a client to the end. */
  readonly #pins = new Map<Ip, Pin>();

  constructor(options: { readonly timeoutMs: number; readonly maxClients: number; readonly clock: Clock }) {
    this.timeoutMs = options.timeoutMs;
    this.#maxClients = options.maxClients;
    this.#clock = options.clock;
  }

  get size(): number {
    return this.#pins.size;
  }

  /** The backend of a client, which counts as a use of it. */
  get(client: Ip): BackendKey | undefined {
    const ip = unmapIp(client);
    const pin = this.#pins.get(ip);
    if (pin === undefined) return undefined;
    this.#pins.delete(ip);
    const nowMs = this.#clock.nowMs();
    if (nowMs - pin.lastUseMs >= this.timeoutMs) return undefined;
    pin.lastUseMs = nowMs;
    this.#pins.set(ip, pin);
    return pin.backend;
  }

  /** Pins a client; the longest unused one makes room. */
  set(client: Ip, backend: BackendKey): void {
    const ip = unmapIp(client);
    this.#pins.delete(ip);
    this.#pins.set(ip, { backend, lastUseMs: this.#clock.nowMs() });
    if (this.#pins.size <= this.#maxClients) return;
    const oldest = this.#pins.keys().next();
    if (!oldest.done) this.#pins.delete(oldest.value);
  }

  /** Forgets the clients whose time is over. Costs no more than there are of them. */
  sweep(): void {
    const nowMs = this.#clock.nowMs();
    for (const [ip, pin] of this.#pins) {
      if (nowMs - pin.lastUseMs < this.timeoutMs) return;
      this.#pins.delete(ip);
    }
  }
}

/** The tables of one engine. A table lives as long as any listener of its Service port holds it, with affinity or without. */
export class AffinityTables {
  readonly #tables = new Map<ServicePortKey, { table: AffinityTable | undefined; holders: number }>();

  constructor(private readonly options: { readonly maxClients: number; readonly clock: Clock }) {}

  /** Called once when a listener opens. */
  hold(servicePort: ServicePortKey): void {
    const held = this.#tables.get(servicePort);
    if (held === undefined) this.#tables.set(servicePort, { table: undefined, holders: 1 });
    else held.holders += 1;
  }

  /** Called once when that listener closes. */
  release(servicePort: ServicePortKey): void {
    const held = this.#tables.get(servicePort);
    if (held === undefined) return;
    held.holders -= 1;
    if (held.holders === 0) this.#tables.delete(servicePort);
  }

  /** What to give to `Balancer.affinity` of a listener that holds the Service port; undefined without affinity. */
  table(servicePort: ServicePortKey, timeoutMs: number | undefined): AffinityTable | undefined {
    const held = this.#tables.get(servicePort);
    if (held === undefined || timeoutMs === undefined) return undefined;
    held.table ??= new AffinityTable({ timeoutMs, ...this.options });
    held.table.timeoutMs = timeoutMs;
    return held.table;
  }

  sweep(): void {
    for (const { table } of this.#tables.values()) table?.sweep();
  }
}
