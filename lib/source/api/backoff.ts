/**
 * Owns how long to wait after failures: 0.8 s to 30 s, growing, jittered so that a cluster's nodes do not come back together
 * (rule Y4; client-go's Reflector waits alike).
 */

const BASE_MS = 800;
const MAX_MS = 30_000;

export class Backoff {
  readonly #random: () => number;
  #failures = 0;

  /** `random` as Math.random. */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  get failures(): number {
    return this.#failures;
  }

  /** The wait after one more failure, in milliseconds: 0.8 to 1.6 s at first, 15 to 30 s at last. */
  next(): number {
    const floor = Math.min(BASE_MS * 2 ** Math.min(this.#failures, 20), MAX_MS / 2);
    this.#failures++;
    return floor * (1 + this.#random());
  }

  /** Counts a failure that is no sign of trouble: the first one in a good spell waits for nothing. */
  nextAfterExpiry(): number {
    if (this.#failures > 0) return this.next();
    this.#failures = 1;
    return 0;
  }

  /** After a good spell. */
  reset(): void {
    this.#failures = 0;
  }
}
