/**
 * Owns when a sync runs: the first of a burst at once, then at most one in `minPeriodMs`, never two at a time; one that
 * failed again after a growing pause, until it succeeds (rules Y2, Y3).
 *
 *   request() ... request() -> run() -> wait -> run()
 */
import type { Clock } from '../model/clock.js';

export interface SyncRunnerOptions {
  readonly minPeriodMs: number;
  readonly retryBaseMs: number;
  readonly retryMaxMs: number;
  readonly clock: Clock;
  /** Does the work; a rejection is retried. */
  readonly run: () => Promise<void>;
  /** Told of every failed run; `retryInMs` is the pause that follows. */
  readonly onFailure: (error: unknown, retryInMs: number) => void;
}

export class SyncRunner {
  readonly #options: SyncRunnerOptions;
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = 0;
  #lastStartMs = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #wanted = false;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(options: SyncRunnerOptions) {
    this.#options = options;
  }

  /** Asks for a run, not before `delayMs` from now. Requests until it starts are one. */
  request(delayMs = 0): void {
    if (this.#stopped) return;
    if (this.#running !== undefined && delayMs === 0) {
      this.#wanted = true;
      return;
    }
    const now = this.#options.clock.nowMs();
    const pause = this.#failures > 0 ? this.#retryPauseMs() : this.#options.minPeriodMs;
    this.#arm(Math.max(now + delayMs, this.#lastStartMs + pause), now);
  }

  /** No run starts after this; resolves when the one under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #arm(atMs: number, nowMs: number): void {
    if (this.#timer !== undefined && this.#timerAtMs <= atMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    this.#timer = setTimeout(() => this.#start(), Math.max(0, Math.ceil(atMs - nowMs)));
  }

  #start(): void {
    this.#timer = undefined;
    if (this.#running !== undefined) {
      this.#wanted = true;
      return;
    }
    this.#wanted = false;
    this.#lastStartMs = this.#options.clock.nowMs();
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    let failure: { readonly error: unknown } | undefined;
    try {
      await this.#options.run();
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      failure = { error };
    }
    this.#running = undefined;
    if (failure !== undefined) this.#options.onFailure(failure.error, this.#retryPauseMs());
    if (failure !== undefined || this.#wanted) this.request();
  }

  #retryPauseMs(): number {
    const { retryBaseMs, retryMaxMs } = this.#options;
    return Math.min(retryMaxMs, retryBaseMs * 2 ** Math.min(this.#failures - 1, 20));
  }
}
