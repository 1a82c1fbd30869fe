/**
 * Owns the table of all UDP flows of one relay thread: who they belong to, how they are found, and in which order they were used.
 *
 *   sockaddr, local address, listener -> hash -> chain -> flow `f` (fd, target, ...)
 *
 * Columns of numbers, as with connections. The key of a flow is 12 words: 7 of the client's sockaddr (4 count for IPv4), 5 of the
 * local address that the client dialled. A flow is in one of two lists of its listener, ordered by last use: without a reply so
 * far, and with one.
 */
import { randomBytes } from 'node:crypto';
import type { Target } from '../../balance/target.js';
import { LOCAL_WORDS } from '../../sys/messages.js';
import type { Listener } from './listener.js';
import { grownFloat64, grownInt32, Slots } from './slots.js';

export const PEER_WORDS = 7;
export const KEY_WORDS = PEER_WORDS + LOCAL_WORDS;
const NONE = -1;
const INITIAL = 64;
/** Clients choose their own addresses: without a secret they could choose them to meet in one chain. */
const SEED = randomBytes(4).readInt32LE();

/** Longest unused first. */
export interface FlowList {
  head: number;
  tail: number;
}

export function emptyList(): FlowList {
  return { head: NONE, tail: NONE };
}

export class Flows {
  readonly slots: Slots;
  fd: Int32Array = new Int32Array(INITIAL);
  generation: Int32Array = new Int32Array(INITIAL);
  keys: Int32Array = new Int32Array(INITIAL * KEY_WORDS);
  activeAt: Float64Array = new Float64Array(INITIAL);
  readonly listener: (Listener | undefined)[] = [];
  readonly target: (Target | undefined)[] = [];
  /** Targets that refused since the last reply; undefined while none has. */
  readonly tried: (Target[] | undefined)[] = [];
  readonly list: (FlowList | undefined)[] = [];
  #before: Int32Array = new Int32Array(INITIAL);
  #after: Int32Array = new Int32Array(INITIAL);
  #buckets: Int32Array = new Int32Array(INITIAL).fill(NONE);
  #chain: Int32Array = new Int32Array(INITIAL);
  #hash: Int32Array = new Int32Array(INITIAL);

  constructor(private readonly grown: (capacity: number) => void) {
    this.slots = new Slots(INITIAL, (capacity) => this.#grow(capacity));
  }

  /** The flow of a key, or -1. */
  find(listener: Listener, key: Int32Array): number {
    const hash = hashOf(listener, key);
    for (let f = this.#buckets[hash & (this.#buckets.length - 1)] ?? NONE; f !== NONE; f = this.#chain[f] ?? NONE) {
      if (this.#hash[f] === hash && this.listener[f] === listener && this.#matches(f, key)) return f;
    }
    return NONE;
  }

  /** A new flow in `list`. It has no descriptor yet. */
  begin(listener: Listener, key: Int32Array, list: FlowList, nowMs: number): number {
    const f = this.slots.take();
    this.fd[f] = -1;
    this.keys.set(key, f * KEY_WORDS);
    this.activeAt[f] = nowMs;
    this.listener[f] = listener;
    this.#hash[f] = hashOf(listener, key);
    this.#enchain(f);
    this.#append(f, list);
    return f;
  }

  /** Frees a flow whose descriptor is closed. */
  end(f: number): void {
    this.#unchain(f);
    this.#unlink(f);
    this.retire(f);
    this.listener[f] = undefined;
    this.target[f] = undefined;
    this.tried[f] = undefined;
    this.slots.give(f);
  }

  /** The descriptor of a flow is closed: events of it that are on the way find another generation. */
  retire(f: number): void {
    this.fd[f] = -1;
    this.generation[f] = ((this.generation[f] ?? 0) + 1) & 0x7fffffff;
  }

  /** The flow was used: it becomes the last of `list`. */
  touch(f: number, list: FlowList, nowMs: number): void {
    this.activeAt[f] = nowMs;
    if (list.tail === f) return;
    this.#unlink(f);
    this.#append(f, list);
  }

  /** The next one in the list of `f`, more lately used; -1 at the end. */
  after(f: number): number {
    return this.#after[f] ?? NONE;
  }

  #matches(f: number, key: Int32Array): boolean {
    const at = f * KEY_WORDS;
    for (let word = 0; word < KEY_WORDS; word++) if (this.keys[at + word] !== key[word]) return false;
    return true;
  }

  #append(f: number, list: FlowList): void {
    this.list[f] = list;
    this.#before[f] = list.tail;
    this.#after[f] = NONE;
    if (list.tail === NONE) list.head = f;
    else this.#after[list.tail] = f;
    list.tail = f;
  }

  #unlink(f: number): void {
    const list = this.list[f];
    if (list === undefined) return;
    const before = this.#before[f] ?? NONE;
    const after = this.#after[f] ?? NONE;
    if (before === NONE) list.head = after;
    else this.#after[before] = after;
    if (after === NONE) list.tail = before;
    else this.#before[after] = before;
    this.list[f] = undefined;
  }

  #enchain(f: number): void {
    const bucket = (this.#hash[f] ?? 0) & (this.#buckets.length - 1);
    this.#chain[f] = this.#buckets[bucket] ?? NONE;
    this.#buckets[bucket] = f;
  }

  #unchain(f: number): void {
    const bucket = (this.#hash[f] ?? 0) & (this.#buckets.length - 1);
    const next = this.#chain[f] ?? NONE;
    let at = this.#buckets[bucket] ?? NONE;
    if (at === f) {
      this.#buckets[bucket] = next;
      return;
    }
    for (; at !== NONE; at = this.#chain[at] ?? NONE) {
      if (this.#chain[at] !== f) continue;
      this.#chain[at] = next;
      return;
    }
  }

  #grow(capacity: number): void {
    const before = this.fd.length;
    this.fd = grownInt32(this.fd, capacity);
    this.generation = grownInt32(this.generation, capacity);
    this.keys = grownInt32(this.keys, capacity * KEY_WORDS);
    this.activeAt = grownFloat64(this.activeAt, capacity);
    this.#before = grownInt32(this.#before, capacity);
    this.#after = grownInt32(this.#after, capacity);
    this.#chain = grownInt32(this.#chain, capacity);
    this.#hash = grownInt32(this.#hash, capacity);
    this.#buckets = new Int32Array(capacity).fill(NONE);
    for (let f = 0; f < before; f++) if (this.listener[f] !== undefined) this.#enchain(f);
    this.grown(capacity);
  }
}

function hashOf(listener: Listener, key: Int32Array): number {
  let hash = SEED ^ listener.index;
  for (let word = 0; word < KEY_WORDS; word++) {
    hash = Math.imul(hash ^ (key[word] ?? 0), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash;
}
