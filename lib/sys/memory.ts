/**
 * Owns memory that the kernel reads and writes: bytes at an address that never changes.
 *
 *   new Memory(bytes) -> address -> libc call ... words, shorts, bytes -> what the kernel wrote
 *
 * An `ArrayBuffer` of its own lies outside V8's moving heap (a small typed array made without one does not). Pages are zero
 * and take no memory until they are touched. It lives as long as this object does: whoever gives the address away keeps it.
 */
import { addressOf } from './libc.js';

export class Memory {
  readonly address: number;
  readonly bytes: Uint8Array;
  /** As 16 and 32 bit words in the byte order of the machine; indexes are byte offset / 2 and / 4. */
  readonly shorts: Uint16Array;
  readonly words: Int32Array;

  /** `size` is rounded up to a multiple of 8. */
  constructor(size: number) {
    const buffer = new ArrayBuffer((size + 7) & ~7);
    this.address = addressOf(buffer);
    this.bytes = new Uint8Array(buffer);
    this.shorts = new Uint16Array(buffer);
    this.words = new Int32Array(buffer);
  }

  /** Writes a pointer or size_t, little-endian, at a byte offset that is a multiple of 8. */
  setPointer(offset: number, value: number): void {
    this.words[offset >> 2] = value | 0;
    this.words[(offset >> 2) + 1] = Math.floor(value / 2 ** 32);
  }
}
