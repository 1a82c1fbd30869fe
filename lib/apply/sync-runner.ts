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
  /** Does the work; a rejection is retried. False: there was nothing to do yet, and this was no sync. */
  readonly run: () => Promise<boolean>;
  /** Told of every failed run; `retryInMs` is the pause that follows. */
  readonly onFailure: (error: unknown, retryInMs: number) => void;
}

export class SyncRunner {
  readonly #options: SyncRunnerOptions;
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = 0;
  #lastStartMs = Number.NEGATIVE_INFINITY;
  #failures = 0;
  /** Asked for while a run is under way: not before then. */
  #wantedAtMs: number | undefined;
  #isRunning = false;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: SyncRunnerOptions) {
    this.#options = options;
  }

  /** Asks for a run, not before `delayMs` from now. Requests until it starts are one. */
  request(delayMs = 0): void {
    if (this.#stopped) return;
    const atMs = this.#options.clock.nowMs() + delayMs;
    if (!this.#isRunning) this.#arm(atMs);
    else this.#wantedAtMs = Math.min(atMs, this.#wantedAtMs ?? atMs);
  }

  /** No run starts after this; resolves when the one under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  /** Not before the pause since the last sync is over. */
  #arm(wantedAtMs: number): void {
    const pauseMs = this.#failures > 0 ? this.#retryPauseMs() : this.#options.minPeriodMs;
    const atMs = Math.max(wantedAtMs, this.#lastStartMs + pauseMs);
    if (this.#timer !== undefined && this.#timerAtMs <= atMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    this.#timer = setTimeout(() => this.#start(), Math.max(0, Math.ceil(atMs - this.#options.clock.nowMs())));
  }

  #start(): void {
    this.#timer = undefined;
    const lastStartMs = this.#lastStartMs;
    this.#lastStartMs = this.#options.clock.nowMs();
    this.#isRunning = true;
    this.#running = this.#run(lastStartMs);
  }

  async #run(lastStartMs: number): Promise<void> {
    let failure: { readonly error: unknown } | undefined;
    try {
      if (!(await this.#options.run())) this.#lastStartMs = lastStartMs;
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      failure = { error };
    }
    this.#isRunning = false;
    if (failure !== undefined) this.#options.onFailure(failure.error, this.#retryPauseMs());
    const wantedAtMs = failure === undefined ? this.#wantedAtMs : this.#options.clock.nowMs();
    this.#wantedAtMs = undefined;
    if (wantedAtMs !== undefined && !this.#stopped) this.#arm(wantedAtMs);
  }

  #retryPauseMs(): number {
    const { retryBaseMs, retryMaxMs } = this.#options;
    return Math.min(retryMaxMs, retryBaseMs * 2 ** Math.min(this.#failures - 1, 20));
  }
}
