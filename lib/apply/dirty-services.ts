/**
 * Owns which Services wait for a sync, since when, and how many changes are behind that.
 *
 *   ObjectStore -> mark -> take (one sync) -> done | putBack
 */
import type { ObjectKey } from '../model/objects.js';

export interface Dirty {
  readonly service: ObjectKey;
  /** Of the oldest change, in milliseconds since the epoch. */
  readonly sinceMs: number;
}

export interface ChangeCounts {
  readonly service: number;
  readonly endpoints: number;
}

const NO_CHANGES: ChangeCounts = { service: 0, endpoints: 0 };

function sum(one: ChangeCounts, other: ChangeCounts): ChangeCounts {
  return { service: one.service + other.service, endpoints: one.endpoints + other.endpoints };
}

export class DirtyServices {
  readonly #since = new Map<ObjectKey, number>();
  /** Taken by the sync under way. */
  #inHand: readonly Dirty[] = [];
  #lastMs = 0;
  /** Changes behind what waits, and behind what is in hand. */
  #waiting: ChangeCounts = NO_CHANGES;
  #inHandCounts: ChangeCounts = NO_CHANGES;
  #total = { service: 0, endpoints: 0 };

  get size(): number {
    return this.#since.size;
  }

  get pending(): ChangeCounts {
    return sum(this.#waiting, this.#inHandCounts);
  }

  get total(): ChangeCounts {
    return this.#total;
  }

  /** When the youngest change came; 0: none did. */
  get lastMs(): number {
    return this.#lastMs;
  }

  /** When the oldest change not applied yet came, the ones in hand included. */
  get oldestMs(): number | undefined {
    let oldest: number | undefined;
    for (const { sinceMs } of this.#inHand) oldest = Math.min(oldest ?? sinceMs, sinceMs);
    for (const sinceMs of this.#since.values()) oldest = Math.min(oldest ?? sinceMs, sinceMs);
    return oldest;
  }

  /** `kind` is counted; undefined marks without a change of the Service's own objects (our Node, a rival's claim). */
  mark(service: ObjectKey, atMs: number, kind?: 'service' | 'endpoints'): void {
    if (kind !== undefined) {
      this.#waiting = sum(this.#waiting, { ...NO_CHANGES, [kind]: 1 });
      this.#total[kind]++;
    }
    this.#lastMs = Math.max(this.#lastMs, atMs);
    if (!this.#since.has(service)) this.#since.set(service, atMs);
  }

  /** Everything that waits; it is in hand until `done` or `putBack`. */
  take(): readonly Dirty[] {
    this.#inHand = [...this.#since].map(([service, sinceMs]) => ({ service, sinceMs }));
    this.#since.clear();
    this.#inHandCounts = this.#waiting;
    this.#waiting = NO_CHANGES;
    return this.#inHand;
  }

  done(): void {
    this.#inHand = [];
    this.#inHandCounts = NO_CHANGES;
  }

  /** The sync failed: what was in hand waits again, with its age. */
  putBack(): void {
    for (const { service, sinceMs } of this.#inHand) {
      this.#since.set(service, Math.min(sinceMs, this.#since.get(service) ?? sinceMs));
    }
    this.#inHand = [];
    this.#waiting = this.pending;
    this.#inHandCounts = NO_CHANGES;
  }
}
