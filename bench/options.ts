/** Owns the flags of the benchmarks. */
import { parseArgs } from 'node:util';

export interface BenchOptions {
  readonly rounds: number;
  readonly warmUpS: number;
  readonly measureS: number;
  readonly idleConnections: number;
  /** Names; undefined: all. */
  readonly figures: readonly string[] | undefined;
  readonly forwarders: readonly string[] | undefined;
  /** Of every TCP socket on the stage (tcp(7), TCP_CONGESTION); `system`: what the machine gives new namespaces. */
  readonly congestionControl: string | undefined;
}

export const USAGE = `npm run bench -- [--rounds 5] [--seconds 3] [--quick] [--only figure,...] [--forwarders name,...]
  [--congestion-control system|reno|cubic|bbr|...]`;

/** Throws a `TypeError` or `RangeError` that names the flag. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      forwarders: { type: 'string' },
      'congestion-control': { type: 'string' },
    },
  });
  return {
    rounds: count('--rounds', values.rounds) ?? (values.quick ? 1 : 5),
    // Just-in-time compilers need it, and run in the background for the first seconds.
    warmUpS: values.quick ? 1 : 4,
    measureS: count('--seconds', values.seconds) ?? (values.quick ? 1 : 3),
    idleConnections: values.quick ? 2_000 : 8_000,
    figures: values.only?.split(','),
    forwarders: values.forwarders?.split(','),
    congestionControl: values['congestion-control'],
  };
}

function count(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > 1_000) {
    throw new RangeError(`${flag} ${text}: expected a whole number from 1 to 1000`);
  }
  return number;
}
