/**
 * Owns what a figure is: one way to load a forwarder, and the numbers that come of it.
 *
 *   run -> Figure.measure(trial) -> Sample -> table
 */
import type { Protocol } from '../lib/model/objects.js';
import type { RunningForwarder } from './forwarder.js';
import type { Stage } from './stage.js';

export interface Metric {
  readonly key: string;
  /** Heading of its column, with the unit. */
  readonly title: string;
  readonly digits: number;
}

/** Undefined: has no meaning for this forwarder. */
export type Sample = Readonly<Record<string, number | undefined>>;

export interface Trial {
  readonly stage: Stage;
  readonly forwarder: RunningForwarder;
  readonly warmUpS: number;
  readonly measureS: number;
  readonly idleConnections: number;
}

export interface Figure {
  /** As in `--only`. */
  readonly name: string;
  readonly title: string;
  readonly protocol: Protocol;
  /** Programs it cannot do without. */
  readonly needs: readonly string[];
  /** The first one's spread over the rounds is shown. */
  readonly metrics: readonly Metric[];
  /** Looks at the forwarder's process, so there must be one. */
  readonly ofProcess?: boolean;
  /** Warms up, then measures once. Rejects where any answer is wrong: a wrong number is worse than none. */
  measure(trial: Trial): Promise<Sample>;
}

/** Microseconds of CPU for each of `count`; undefined stays undefined. */
export function microsecondsEach(cpuS: number | undefined, count: number): number | undefined {
  return cpuS === undefined ? undefined : (cpuS * 1e6) / count;
}
