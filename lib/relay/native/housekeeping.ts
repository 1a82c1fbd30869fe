/** Owns work that is done now and then, and needs no precision. */
import type { Part } from './loop.js';

export class Housekeeping implements Part {
  #nextAt: number;

  constructor(
    private readonly everyMs: number,
    nowMs: number,
    private readonly work: () => void,
  ) {
    this.#nextAt = nowMs + everyMs;
  }

  waitMs(nowMs: number): number {
    return Math.max(0, Math.ceil(this.#nextAt - nowMs));
  }

  afterBatch(nowMs: number): void {
    if (nowMs < this.#nextAt) return;
    this.#nextAt = nowMs + this.everyMs;
    this.work();
  }
}
