/**
 * Owns the state of all TCP connections of one relay thread, as columns of numbers: an idle connection is some 150 bytes here and
 * no object.
 *
 * A connection is a slot `c`. It has two sockets: `s = 2c` is the client's, `s = 2c + 1` the backend's, and `s ^ 1` is the other
 * one. What belongs to a direction is kept at the socket it is read from.
 *
 *   by socket      fd, generation, flags, pending, skip, hold, bytes
 *   by connection  state, attempts, dialUntil, drainAt, activeAt, acceptedAt, listener, target, tried, client
 */
import type { Target } from '../../balance/target.js';
import type { Ip } from '../../config/address.js';
import * as flag from './flags.js';
import type { Listener } from './listener.js';
import { grownFloat64, grownInt32, Slots } from './slots.js';

/** States of a connection. */
export const FREE = 0;
/** Waits for a descriptor to dial with (rule T8). */
export const WAITING = 1;
export const DIALING = 2;
export const ESTABLISHED = 3;

export class Connections {
  readonly slots: Slots;

  fd: Int32Array;
  /** Counted up when the descriptor is closed; 31 bits. */
  generation: Int32Array;
  flags: Int32Array;
  /** Bytes read from here that the other socket has not taken yet. */
  pending: Int32Array;
  /** Where the pending bytes start in their chunk. */
  skip: Int32Array;
  /** The pipe or chunk they are in; meaningless while `pending` is 0. */
  hold: Int32Array;
  /** Bytes read from here and taken by the other socket. */
  bytes: Float64Array;

  state: Int32Array;
  attempts: Int32Array;
  /** When the dial attempt ends; monotonic milliseconds, as all times here but `startedAt`. */
  dialUntil: Float64Array;
  /** When a draining connection is reset; 0 while it does not drain. */
  drainAt: Float64Array;
  /** The last byte, or FIN. */
  activeAt: Float64Array;
  acceptedAt: Float64Array;
  readonly listener: (Listener | undefined)[] = [];
  readonly target: (Target | undefined)[] = [];
  /** Targets that failed for this client; undefined while none has. */
  readonly tried: (Target[] | undefined)[] = [];
  /** Only where affinity or records ask for it. */
  readonly client: (Ip | undefined)[] = [];
  clientPort: Int32Array;

  constructor(
    capacity: number,
    private readonly grown: (capacity: number) => void,
  ) {
    this.slots = new Slots(capacity, (to) => this.#grow(to));
    this.fd = new Int32Array(2 * capacity);
    this.generation = new Int32Array(2 * capacity);
    this.flags = new Int32Array(2 * capacity);
    this.pending = new Int32Array(2 * capacity);
    this.skip = new Int32Array(2 * capacity);
    this.hold = new Int32Array(2 * capacity);
    this.bytes = new Float64Array(2 * capacity);
    this.state = new Int32Array(capacity);
    this.attempts = new Int32Array(capacity);
    this.clientPort = new Int32Array(capacity);
    this.dialUntil = new Float64Array(capacity);
    this.drainAt = new Float64Array(capacity);
    this.activeAt = new Float64Array(capacity);
    this.acceptedAt = new Float64Array(capacity);
  }

  /** A slot for an accepted client; everything else is as nothing had been before. */
  begin(listener: Listener, fd: number, nowMs: number): number {
    const c = this.slots.take();
    const s = 2 * c;
    this.fd[s] = fd;
    this.fd[s + 1] = -1;
    this.flags[s] = flag.OUT;
    this.flags[s + 1] = 0;
    this.pending[s] = 0;
    this.pending[s + 1] = 0;
    this.bytes[s] = 0;
    this.bytes[s + 1] = 0;
    this.attempts[c] = 0;
    this.drainAt[c] = 0;
    this.acceptedAt[c] = nowMs;
    this.listener[c] = listener;
    return c;
  }

  /** Bytes of the connections that are open now, up and down, by listener. */
  liveBytes(): Map<Listener, readonly [number, number]> {
    const live = new Map<Listener, readonly [number, number]>();
    const { state, bytes, listener } = this;
    for (let slot = 0; slot < state.length; slot++) {
      const owner = listener[slot];
      if (owner === undefined) continue;
      const [up, down] = live.get(owner) ?? [0, 0];
      live.set(owner, [up + (bytes[2 * slot] ?? 0), down + (bytes[2 * slot + 1] ?? 0)]);
    }
    return live;
  }

  /** Frees a slot whose descriptors are closed. Events of theirs that are still on the way find another generation. */
  end(c: number): void {
    this.state[c] = FREE;
    this.retire(2 * c);
    this.retire(2 * c + 1);
    this.flags[2 * c] = 0;
    this.flags[2 * c + 1] = 0;
    this.listener[c] = undefined;
    this.target[c] = undefined;
    this.tried[c] = undefined;
    this.client[c] = undefined;
    this.slots.give(c);
  }

  /** The descriptor of a socket is closed. */
  retire(s: number): void {
    this.fd[s] = -1;
    this.generation[s] = ((this.generation[s] ?? 0) + 1) & 0x7fffffff;
  }

  #grow(capacity: number): void {
    this.fd = grownInt32(this.fd, 2 * capacity);
    this.generation = grownInt32(this.generation, 2 * capacity);
    this.flags = grownInt32(this.flags, 2 * capacity);
    this.pending = grownInt32(this.pending, 2 * capacity);
    this.skip = grownInt32(this.skip, 2 * capacity);
    this.hold = grownInt32(this.hold, 2 * capacity);
    this.bytes = grownFloat64(this.bytes, 2 * capacity);
    this.state = grownInt32(this.state, capacity);
    this.attempts = grownInt32(this.attempts, capacity);
    this.clientPort = grownInt32(this.clientPort, capacity);
    this.dialUntil = grownFloat64(this.dialUntil, capacity);
    this.drainAt = grownFloat64(this.drainAt, capacity);
    this.activeAt = grownFloat64(this.activeAt, capacity);
    this.acceptedAt = grownFloat64(this.acceptedAt, capacity);
    this.grown(capacity);
  }
}
