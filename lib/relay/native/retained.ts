/**
 * Owns copies of the datagrams of each flow that have not been answered since: they are sent again where the backend refuses them
 * (rule U4). A resolver sends A and AAAA at once, so one is not enough.
 *
 *   block of a flow: length (i32), bytes, padding to 4 | length, bytes ... up to BLOCK_BYTES; full: the older ones are forgotten
 *
 * One that no block can hold has memory of its own, the last one of each flow, within a bound for all of them.
 */
import { memcpy } from '../../sys/libc.js';
import { Memory } from '../../sys/memory.js';
import { grownInt32 } from './slots.js';

const BLOCK_BYTES = 2_048;
const LENGTH_BYTES = 4;
const LARGE_TOTAL_BYTES = 16 * 1024 * 1024;

export class Retained {
  #blocks: Memory;
  /** Bytes used in the block of a flow. */
  #used: Int32Array;
  /** Length of the large datagram, 0 for none. */
  #largeLength: Int32Array;
  readonly #large: (Memory | undefined)[] = [];
  #largeBytes = 0;

  constructor(capacity: number) {
    this.#blocks = new Memory(capacity * BLOCK_BYTES);
    this.#used = new Int32Array(capacity);
    this.#largeLength = new Int32Array(capacity);
  }

  grow(capacity: number): void {
    const blocks = new Memory(capacity * BLOCK_BYTES);
    memcpy(blocks.address, this.#blocks.address, this.#used.length * BLOCK_BYTES);
    this.#blocks = blocks;
    this.#used = grownInt32(this.#used, capacity);
    this.#largeLength = grownInt32(this.#largeLength, capacity);
  }

  keep(f: number, address: number, length: number): void {
    const room = LENGTH_BYTES + ((length + 3) & ~3);
    if (room > BLOCK_BYTES) {
      this.#keepLarge(f, address, length);
      return;
    }
    const used = this.#used[f] ?? 0;
    const at = used + room > BLOCK_BYTES ? 0 : used;
    const offset = f * BLOCK_BYTES + at;
    this.#blocks.words[offset >> 2] = length;
    memcpy(this.#blocks.address + offset + LENGTH_BYTES, address, length);
    this.#used[f] = at + room;
  }

  /** Calls back with each datagram, in order but for a large one, which is the last. Returns how many there were. */
  each(f: number, visit: (address: number, length: number) => void): number {
    let count = 0;
    const start = f * BLOCK_BYTES;
    for (let at = 0; at < (this.#used[f] ?? 0); count++) {
      const length = this.#blocks.words[(start + at) >> 2] ?? 0;
      visit(this.#blocks.address + start + at + LENGTH_BYTES, length);
      at += LENGTH_BYTES + ((length + 3) & ~3);
    }
    const large = this.#large[f];
    if (large === undefined || (this.#largeLength[f] ?? 0) === 0) return count;
    visit(large.address, this.#largeLength[f] ?? 0);
    return count + 1;
  }

  /** They were answered. Large memory stays for the next one. */
  clear(f: number): void {
    this.#used[f] = 0;
    this.#largeLength[f] = 0;
  }

  /** The flow ends. */
  drop(f: number): void {
    this.clear(f);
    this.#largeBytes -= this.#large[f]?.bytes.length ?? 0;
    this.#large[f] = undefined;
  }

  #keepLarge(f: number, address: number, length: number): void {
    this.#largeLength[f] = 0;
    let memory = this.#large[f];
    if (memory === undefined || memory.bytes.length < length) {
      this.#largeBytes -= memory?.bytes.length ?? 0;
      this.#large[f] = undefined;
      if (this.#largeBytes + length > LARGE_TOTAL_BYTES) return;
      memory = new Memory(length);
      this.#large[f] = memory;
      this.#largeBytes += memory.bytes.length;
    }
    memcpy(memory.address, address, length);
    this.#largeLength[f] = length;
  }
}
