/**
 * Owns random scripts of one connection: what the client does, what the backend does, and what is wrong with the endpoints.
 *
 *   Random -> Script -> play (script-play.ts) on each engine -> the same observations
 */
import type { Random } from '../../support/random.js';

export type Step =
  | { readonly do: 'send'; readonly bytes: number }
  | { readonly do: 'wait'; readonly ms: number }
  /** Reads nothing for a time: the other side has to be stopped, and nothing may be lost. */
  | { readonly do: 'deaf'; readonly ms: number }
  /** Until this many bytes have come from the other side; bounded by what that will send. */
  | { readonly do: 'until'; readonly bytes: number };

export interface Part {
  readonly steps: readonly Step[];
  readonly end: 'fin' | 'rst';
}

export type Change =
  /** All endpoints leave the set: established connections go on (rule T10). */
  | { readonly to: 'none'; readonly afterMs: number }
  /** An endpoint that refuses joins. */
  | { readonly to: 'more'; readonly afterMs: number };

export interface Script {
  readonly client: Part;
  readonly backend: Part;
  /** Endpoints that refuse, beside the one that serves. */
  readonly refusing: number;
  /** Nothing but those. */
  readonly unreachable: boolean;
  readonly change: Change | undefined;
}

export function randomScript(random: Random): Script {
  const client = randomPart(random, 0);
  const sent = bytesOf(client);
  // Only one side may wait for the other's bytes, or both could wait for ever.
  const backend = randomPart(random, client.end === 'fin' ? sent : 0);
  return {
    client,
    backend,
    refusing: random.chance(0.3) ? random.whole(1, 3) : 0,
    unreachable: random.chance(0.05),
    change: random.chance(0.3) ? { to: random.pick(['none', 'more']), afterMs: random.whole(0, 60) } : undefined,
  };
}

export function bytesOf(part: Part): number {
  return part.steps.reduce((sum, step) => sum + (step.do === 'send' ? step.bytes : 0), 0);
}

function randomPart(random: Random, mayAwait: number): Part {
  const steps = Array.from({ length: random.whole(0, 8) }, () => randomStep(random, mayAwait));
  return { steps, end: random.chance(0.2) ? 'rst' : 'fin' };
}

function randomStep(random: Random, mayAwait: number): Step {
  const kind = random.next();
  if (kind < 0.6) return { do: 'send', bytes: randomSize(random) };
  if (kind < 0.8) return { do: 'wait', ms: random.whole(0, 30) };
  if (kind < 0.9 || mayAwait === 0) return { do: 'deaf', ms: random.whole(0, 80) };
  return { do: 'until', bytes: random.whole(1, mayAwait) };
}

/** Mostly small, sometimes around a buffer's size, now and then far more than any buffer holds. */
function randomSize(random: Random): number {
  const kind = random.next();
  if (kind < 0.6) return random.whole(1, 3_000);
  if (kind < 0.8) return 2 ** random.whole(12, 18) + random.whole(-1, 1);
  return random.whole(100_000, 3_000_000);
}
