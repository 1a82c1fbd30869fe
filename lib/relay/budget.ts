/**
 * Owns the bound on the connections of one process (rule T9). The relay threads share one count, since a Service port belongs
 * to one thread and may need the whole bound.
 */

/** What is posted to a thread; its count lies in memory that all threads share. */
export interface SharedBudget {
  readonly max: number;
  /** [0] is the count of all, [1 + slot] the share of one thread in it. */
  readonly memory: SharedArrayBuffer;
  readonly slot: number;
}

export function sharedBudget(max: number, slots: number): SharedBudget {
  return { max, memory: new SharedArrayBuffer((1 + slots) * Int32Array.BYTES_PER_ELEMENT), slot: 0 };
}

export class ConnectionBudget {
  readonly #max: number;
  readonly #counts: Int32Array;
  readonly #own: number;

  /** `max` 0: no bound. */
  constructor(shared: SharedBudget | number) {
    const { max, memory, slot } = typeof shared === 'number' ? sharedBudget(shared, 1) : shared;
    this.#max = max;
    this.#counts = new Int32Array(memory);
    this.#own = 1 + slot;
  }

  /** True where one more may be open: it is then counted, until `give`. */
  take(): boolean {
    if (this.#max === 0) return true;
    if (Atomics.add(this.#counts, 0, 1) >= this.#max) {
      Atomics.sub(this.#counts, 0, 1);
      return false;
    }
    Atomics.add(this.#counts, this.#own, 1);
    return true;
  }

  give(): void {
    if (this.#max === 0) return;
    Atomics.sub(this.#counts, this.#own, 1);
    Atomics.sub(this.#counts, 0, 1);
  }

  /** The thread died, and its connections with it. */
  giveAll(): void {
    Atomics.sub(this.#counts, 0, Atomics.exchange(this.#counts, this.#own, 0));
  }
}
