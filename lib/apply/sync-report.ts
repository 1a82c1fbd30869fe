/** Owns the numbers behind `SyncStatus`: the reconciler writes them, status reads them. */
import type { ServicePlan } from '../plan/service-plan.js';
import type { DirtyServices } from './dirty-services.js';
import type { ListenerSet } from './listener-set.js';
import type { ListenerFault, SyncObserver, SyncStatus } from './sync-status.js';

interface NoLocal {
  readonly internal: number;
  readonly external: number;
}

export class SyncReport implements SyncStatus {
  readonly #dirty: DirtyServices;
  readonly #listeners: ListenerSet;
  readonly #observers: SyncObserver[] = [];
  #noLocal: NoLocal = { internal: 0, external: 0 };
  #partsNotServed = 0;
  #lastSyncedAtMs = 0;

  constructor(dirty: DirtyServices, listeners: ListenerSet) {
    this.#dirty = dirty;
    this.#listeners = listeners;
  }

  /** A sync is applied. */
  applied(atMs: number, durationMs: number, latenciesMs: readonly number[]): void {
    this.#lastSyncedAtMs = atMs;
    for (const observer of this.#observers) observer(durationMs, latenciesMs);
  }

  /** One Service has another plan: its share in the numbers changes. */
  planChanged(before: ServicePlan, after: ServicePlan): void {
    this.#noLocal = {
      internal: this.#noLocal.internal + after.noLocal.internal - before.noLocal.internal,
      external: this.#noLocal.external + after.noLocal.external - before.noLocal.external,
    };
    this.#partsNotServed += after.notes.length - before.notes.length;
  }

  get synced(): boolean {
    return this.#lastSyncedAtMs > 0;
  }

  get lastQueuedAtMs(): number {
    return this.#dirty.lastMs;
  }

  get lastSyncedAtMs(): number {
    return this.#lastSyncedAtMs;
  }

  get oldestPendingAtMs(): number | undefined {
    return this.#dirty.oldestMs;
  }

  get serviceChangesPending(): number {
    return this.#dirty.pending.service;
  }

  get serviceChangesTotal(): number {
    return this.#dirty.total.service;
  }

  get endpointChangesPending(): number {
    return this.#dirty.pending.endpoints;
  }

  get endpointChangesTotal(): number {
    return this.#dirty.total.endpoints;
  }

  get faults(): readonly ListenerFault[] {
    return this.#listeners.faults;
  }

  get noLocalEndpoints(): NoLocal {
    return this.#noLocal;
  }

  get partsNotServed(): number {
    return this.#partsNotServed;
  }

  onSync(observer: SyncObserver): void {
    this.#observers.push(observer);
  }
}
