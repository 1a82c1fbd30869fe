/**
 * Owns whether calls can be collected here: a kernel may lack io_uring or forbid it (sysctl kernel.io_uring_disabled), and so may a
 * container (seccomp). Everything works without it, call by call.
 *
 *   openRing -> Ring, proved | undefined, and one log line
 */
import { EBADF } from '../../sys/constants.js';
import { Ring } from '../../sys/ring.js';
import type { EngineEvents } from '../engine.js';

/** Of one batch: a power of two, and at least as many as a batch of datagrams has. */
const CALLS = 32;

export function openRing(events: EngineEvents): Ring | undefined {
  let ring: Ring | undefined;
  try {
    ring = new Ring(CALLS);
    prove(ring);
    return ring;
  } catch (error) {
    ring?.close();
    events.log('info', 'no io_uring here, datagrams are sent one by one', { reason: (error as Error).message });
    return undefined;
  }
}

/** A call that is bound to fail shows that calls are made, and where the answers lie. */
function prove(ring: Ring): void {
  const seen: number[] = [];
  for (const id of [7, 8]) ring.send(-1, 0, 0, 0, id);
  ring.submit((id, result) => seen.push(id, result));
  if (seen.join() !== [7, -EBADF, 8, -EBADF].join())
    throw new Error(`io_uring_enter: expected EBADF twice, got ${seen}`);
}
