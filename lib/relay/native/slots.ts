/**
 * Owns which indexes of the state arrays are in use. Freed ones are handed out again last in, first out, so that the arrays
 * stay warm in the cache and no longer than the most that was ever in use.
 */
export class Slots {
  #capacity: number;
  #free: Int32Array;
  #freeCount: number;

  /** `grow` is called with the new capacity before any slot beyond the old one is taken. */
  constructor(
    capacity: number,
    private readonly grow: (capacity: number) => void,
  ) {
    this.#capacity = capacity;
    this.#free = new Int32Array(capacity);
    this.#freeCount = 0;
    this.#release(0, capacity);
  }

  get capacity(): number {
    return this.#capacity;
  }

  get used(): number {
    return this.#capacity - this.#freeCount;
  }

  take(): number {
    if (this.#freeCount === 0) this.#double();
    this.#freeCount -= 1;
    return this.#free[this.#freeCount] ?? 0;
  }

  give(slot: number): void {
    this.#free[this.#freeCount] = slot;
    this.#freeCount += 1;
  }

  #double(): void {
    const before = this.#capacity;
    this.#capacity = before * 2;
    this.#free = new Int32Array(this.#capacity);
    this.grow(this.#capacity);
    this.#release(before, this.#capacity);
  }

  /** The lowest is taken first. */
  #release(from: number, to: number): void {
    for (let slot = to - 1; slot >= from; slot--) this.give(slot);
  }
}

/** A copy of `array` with `length` elements. */
export function grownInt32(array: Int32Array, length: number): Int32Array {
  const grown = new Int32Array(length);
  grown.set(array);
  return grown;
}

export function grownFloat64(array: Float64Array, length: number): Float64Array {
  const grown = new Float64Array(length);
  grown.set(array);
  return grown;
}
