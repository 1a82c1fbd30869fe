/** Owns a clock that stands still until a spec moves it. */
import type { Clock } from '../../lib/model/clock.js';

export class FakeClock implements Clock {
  #nowMs = 1_000_000;

  nowMs(): number {
    return this.#nowMs;
  }

  advance(ms: number): void {
    this.#nowMs += ms;
  }
}
