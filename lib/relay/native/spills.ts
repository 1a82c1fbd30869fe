/**
 * Owns the bytes that were read but could not be sent at once, for the flows that copy: at most one chunk per direction
 * (rule T5), pooled.
 */
import { memcpy } from '../../sys/libc.js';
import { Memory } from '../../sys/memory.js';

/** Empty chunks kept; more are left to the garbage collector. */
const MAX_IDLE = 32;

export class Spills {
  readonly #chunks: (Memory | undefined)[] = [];
  /** Numbers with an idle chunk, and numbers without one. */
  readonly #idle: number[] = [];
  readonly #bare: number[] = [];

  /** Every chunk has room for `chunkBytes`. */
  constructor(private readonly chunkBytes: number) {}

  /** Keeps `length` bytes; returns the number of the chunk. */
  keep(address: number, length: number): number {
    const number = this.#idle.pop() ?? this.#bare.pop() ?? this.#chunks.length;
    let chunk = this.#chunks[number];
    if (chunk === undefined) {
      chunk = new Memory(this.chunkBytes);
      this.#chunks[number] = chunk;
    }
    memcpy(chunk.address, address, length);
    return number;
  }

  address(number: number): number {
    return this.#chunks[number]?.address ?? 0;
  }

  give(number: number): void {
    if (this.#idle.length < MAX_IDLE) {
      this.#idle.push(number);
      return;
    }
    this.#chunks[number] = undefined;
    this.#bare.push(number);
  }
}
