/**
 * Owns durations as text, in Go's syntax (`time.ParseDuration`), because kube-proxy's flags and files use it.
 *
 *   "1m30s" -> parseDuration -> 90000 (milliseconds) -> formatDuration -> "1m30s"
 */
import { fault, type Parse } from './parsed.js';

const UNIT_MS: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ns: 1e-6,
};

const TERM = /(\d+\.?\d*|\.\d+)(h|ms|m|us|µs|μs|ns|s)/gy;

/** Longer times cannot be given to `setTimeout`, which then fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

const EXAMPLES = 'a duration such as 250ms, 1m30s or 1h';

/** Milliseconds, not negative. A number needs its unit, except `0`. */
export const parseDuration: Parse<number> = (text) => {
  if (text === '0') return { value: 0 };
  let sumMs = 0;
  let end = 0;
  for (const [term, number = '', unit = ''] of text.matchAll(TERM)) {
    sumMs += Number(number) * (UNIT_MS[unit] ?? 0);
    end += term.length;
  }
  if (end === 0 || end !== text.length) return fault(text, EXAMPLES);
  if (sumMs > MAX_TIMER_MS) return fault(text, `${EXAMPLES}, at most ${formatDuration(MAX_TIMER_MS)}`);
  return { value: sumMs };
};

/** As `parseDuration`, but 0 (or less than a millisecond, which timers cannot tell from it) is refused. */
export const parsePositiveDuration: Parse<number> = (text) => {
  const parsed = parseDuration(text);
  return 'value' in parsed && parsed.value < 1 ? fault(text, `${EXAMPLES}, more than 0`) : parsed;
};

/** The shortest text that `parseDuration` reads as the same time: `250ms`, `1m30s`, `1h`, `0`. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return ms === 0 ? '0' : `${ms}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const seconds = (ms % 60_000) / 1_000;
  return `${hours > 0 ? `${hours}h` : ''}${minutes > 0 ? `${minutes}m` : ''}${seconds > 0 ? `${seconds}s` : ''}`;
}
