/** Owns the notion of time that pure parts are given, so that a spec can hold it still. */

export interface Clock {
  /** Monotonic milliseconds; only differences mean anything. */
  nowMs(): number;
}

export const monotonicClock: Clock = { nowMs: () => performance.now() };
