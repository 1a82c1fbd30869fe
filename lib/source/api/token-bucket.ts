/**
 * Owns the rate of our requests (`--kube-api-qps`, `--kube-api-burst`): a burst at once, then one after the other.
 *
 *   request -> take() -> (wait for its turn) -> API server
 */
import { pause, type Timers } from './timers.js';

export interface TokenBucketOptions {
  /** Below 0: no bound; 0: the default. */
  readonly qps: number;
  /** 0: the default. */
  readonly burst: number;
  readonly timers: Timers;
}

/** Those of client-go, and of kube-proxy's flags. */
const DEFAULT_QPS = 5;
const DEFAULT_BURST = 10;

export class TokenBucket {
  readonly #timers: Timers;
  readonly #intervalMs: number;
  readonly #burstMs: number;
  /** When the bucket will be full again, on the clock of the timers. */
  #fullAtMs = Number.NEGATIVE_INFINITY;

  constructor({ qps, burst, timers }: TokenBucketOptions) {
    this.#timers = timers;
    this.#intervalMs = qps < 0 ? 0 : 1_000 / (qps === 0 ? DEFAULT_QPS : qps);
    this.#burstMs = this.#intervalMs * (burst === 0 ? DEFAULT_BURST : burst);
  }

  /** Resolves when it is this request's turn, in the order of asking, or when the signal aborts. */
  async take(signal: AbortSignal): Promise<void> {
    const nowMs = this.#timers.nowMs();
    this.#fullAtMs = Math.max(this.#fullAtMs, nowMs) + this.#intervalMs;
    await pause(this.#timers, this.#fullAtMs - this.#burstMs - nowMs, signal);
  }
}
