/**
 * Owns waiting in this folder: a clock with timers, so that a spec can let minutes pass at once.
 *
 *   backoff, watchdog, rate limit -> Timers.after -> setTimeout | a spec's own
 */
import { type Clock, monotonicClock } from '../../model/clock.js';

export interface Timers extends Clock {
  /** Calls `run` once, `ms` from now, unless what it returns is called before. */
  after(ms: number, run: () => void): () => void;
}

/** Beyond this a Node timer fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const realTimers: Timers = {
  nowMs: monotonicClock.nowMs,
  after(ms, run) {
    const timer = setTimeout(run, Math.min(Math.ceil(ms), MAX_TIMER_MS));
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms`, or as soon as the signal aborts. */
export function pause(timers: Timers, ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = timers.after(ms, done);
    signal.addEventListener('abort', done);
  });
}
