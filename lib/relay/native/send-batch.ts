/**
 * Owns small messages that were received in this turn and are sent together at its end (see udp-requests.ts for what that saves).
 *
 *   take -> address: recv -> add(source socket, target descriptor) ... flush -> io_uring_enter -> sent(source socket, slot, result)
 */
import { Memory } from '../../sys/memory.js';
import type { Ring } from '../../sys/ring.js';

/** Messages of this much and more are sent at once. */
export const MESSAGE_BYTES = 16 * 1024;

export class SendBatch {
  /** Untouched pages cost nothing: small messages touch one each. */
  readonly #buffers: Memory;
  /** By slot: the socket that the message was read from, its generation then, and the length. */
  readonly #source: Int32Array;
  readonly #generation: Int32Array;
  readonly #length: Int32Array;
  #count = 0;
  /** Results are being told: what is sent meanwhile is sent at once, since slots are read. */
  #telling = false;

  constructor(private readonly ring: Pick<Ring, 'capacity' | 'send' | 'submit'>) {
    this.#buffers = new Memory(ring.capacity * MESSAGE_BYTES);
    this.#source = new Int32Array(ring.capacity);
    this.#generation = new Int32Array(ring.capacity);
    this.#length = new Int32Array(ring.capacity);
  }

  /** Messages that wait. */
  get size(): number {
    return this.#count;
  }

  get full(): boolean {
    return this.#count === this.ring.capacity;
  }

  /** The slot for the next message, or -1 while there is none. */
  take(): number {
    return this.#telling || this.#count === this.ring.capacity ? -1 : this.#count;
  }

  address(slot: number): number {
    return this.#buffers.address + slot * MESSAGE_BYTES;
  }

  length(slot: number): number {
    return this.#length[slot] ?? 0;
  }

  /** Sends what is in the slot that was taken last to `fd` with the next `flush`. */
  add(source: number, generation: number, fd: number, length: number, flags: number): void {
    const slot = this.#count;
    this.#source[slot] = source;
    this.#generation[slot] = generation;
    this.#length[slot] = length;
    this.ring.send(fd, this.address(slot), length, flags, slot);
    this.#count += 1;
  }

  /**
   * Sends what waits, and tells of each; not of those whose connection was ended by somebody who was told before. To be called before
   * a connection is ended that has something here: its descriptor must not become another connection's.
   */
  flush(generations: Int32Array, sent: (source: number, slot: number, result: number) => void): void {
    if (this.#count === 0) return;
    this.#count = 0;
    this.#telling = true;
    try {
      this.ring.submit((slot, result) => {
        const source = this.#source[slot] ?? 0;
        if (generations[source] === this.#generation[slot]) sent(source, slot, result);
      });
    } finally {
      this.#telling = false;
    }
  }
}
