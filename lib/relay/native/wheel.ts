/**
 * Owns the deadlines of all connections: a hashed timing wheel (Varghese and Lauck, 1987) over slot numbers, without a timer or
 * an object per connection.
 *
 *   schedule(slot, atMs) -> bucket ... advance(nowMs) -> fire(slot)
 *
 * A bucket holds the slots of one tick and of every tick a whole turn later; `next` and `prev` link them, -1 ends a list. A slot
 * has one deadline: whoever has several schedules the earliest and looks again when it fires.
 */
import { grownFloat64, grownInt32 } from './slots.js';

const BUCKETS = 512;
const TICK_MS = 8;
const NONE = -1;

export class TimerWheel {
  readonly #head = new Int32Array(BUCKETS).fill(NONE);
  #next: Int32Array;
  #prev: Int32Array;
  /** NONE where the slot has no deadline. */
  #bucket: Int32Array;
  #at: Float64Array;
  /** Slots found due in one `advance`, fired after the lists are whole again. */
  #due: Int32Array;
  #armed = 0;
  /** The last tick that was looked at. */
  #tick: number;
  /** No bucket before this tick holds a slot. */
  #soonest = Number.POSITIVE_INFINITY;

  constructor(capacity: number, nowMs: number) {
    this.#next = new Int32Array(capacity);
    this.#prev = new Int32Array(capacity);
    this.#bucket = new Int32Array(capacity).fill(NONE);
    this.#at = new Float64Array(capacity);
    this.#due = new Int32Array(capacity);
    this.#tick = Math.floor(nowMs / TICK_MS);
  }

  grow(capacity: number): void {
    const before = this.#bucket.length;
    this.#next = grownInt32(this.#next, capacity);
    this.#prev = grownInt32(this.#prev, capacity);
    this.#bucket = grownInt32(this.#bucket, capacity).fill(NONE, before);
    this.#at = grownFloat64(this.#at, capacity);
    this.#due = grownInt32(this.#due, capacity);
  }

  /** Fires at `atMs` or up to a tick later. An earlier deadline that the slot already has stays. */
  schedule(slot: number, atMs: number): void {
    if (this.#bucket[slot] !== NONE) {
      if ((this.#at[slot] ?? 0) <= atMs) return;
      this.cancel(slot);
    }
    const tick = Math.max(Math.ceil(atMs / TICK_MS), this.#tick + 1);
    const bucket = tick & (BUCKETS - 1);
    const head = this.#head[bucket] ?? NONE;
    this.#at[slot] = atMs;
    this.#bucket[slot] = bucket;
    this.#prev[slot] = NONE;
    this.#next[slot] = head;
    if (head !== NONE) this.#prev[head] = slot;
    this.#head[bucket] = slot;
    this.#armed += 1;
    if (tick < this.#soonest) this.#soonest = tick;
  }

  cancel(slot: number): void {
    const bucket = this.#bucket[slot] ?? NONE;
    if (bucket === NONE) return;
    const next = this.#next[slot] ?? NONE;
    const prev = this.#prev[slot] ?? NONE;
    if (prev === NONE) this.#head[bucket] = next;
    else this.#next[prev] = next;
    if (next !== NONE) this.#prev[next] = prev;
    this.#bucket[slot] = NONE;
    this.#armed -= 1;
  }

  /** Milliseconds until `advance` may have something to do; -1 where no slot has a deadline. */
  waitMs(nowMs: number): number {
    return this.#armed === 0 ? -1 : Math.max(0, Math.ceil(this.#soonest * TICK_MS - nowMs));
  }

  /** Fires what is due. `fire` may schedule and cancel; a slot that it cancels may still fire in this call. */
  advance(nowMs: number, fire: (slot: number) => void): void {
    const tick = Math.floor(nowMs / TICK_MS);
    if (tick < this.#soonest) {
      this.#tick = tick;
      return;
    }
    let due = 0;
    const last = Math.min(tick, this.#tick + BUCKETS);
    for (let at = this.#tick + 1; at <= last; at++) {
      for (let slot = this.#head[at & (BUCKETS - 1)] ?? NONE; slot !== NONE; ) {
        const next = this.#next[slot] ?? NONE;
        if ((this.#at[slot] ?? 0) <= nowMs) {
          this.cancel(slot);
          this.#due[due] = slot;
          due += 1;
        }
        slot = next;
      }
    }
    this.#tick = tick;
    this.#soonest = this.#firstAfter(tick);
    for (let index = 0; index < due; index++) fire(this.#due[index] ?? 0);
  }

  #firstAfter(tick: number): number {
    if (this.#armed === 0) return Number.POSITIVE_INFINITY;
    for (let at = tick + 1; at <= tick + BUCKETS; at++) if (this.#head[at & (BUCKETS - 1)] !== NONE) return at;
    return Number.POSITIVE_INFINITY;
  }
}
