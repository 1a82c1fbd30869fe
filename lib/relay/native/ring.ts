/**
 * Owns whether calls can be collected here: a kernel may lack io_uring or forbid it (sysctl kernel.io_uring_disabled), and so may a
 * container (seccomp). Everything works without it, call by call.
 *
 *   openRings -> Ring[], proved | [], and one log line
 */
import * as linux from '../../sys/constants.js';
import { close, must, socket } from '../../sys/libc.js';
import { Ring } from '../../sys/ring.js';
import type { EngineEvents } from '../engine.js';

/** Of one batch: a power of two, and at least as many as a batch of datagrams has. */
const CALLS = 64;

export function openRings(count: number, events: EngineEvents): readonly Ring[] {
  const rings: Ring[] = [];
  try {
    while (rings.length < count) {
      const ring = new Ring(CALLS);
      rings.push(ring);
      prove(ring);
    }
    return rings;
  } catch (error) {
    for (const ring of rings) ring.close();
    events.log('info', 'no io_uring here, messages are sent one by one', { reason: (error as Error).message });
    return [];
  }
}

/**
 * Two sends that are bound to fail show that calls are made, in their order, and where the answers lie. The second fails as only a send
 * does, without an address on a socket that has none: a kernel that has io_uring and no sends in it (5.4) would say EINVAL.
 */
function prove(ring: Ring): void {
  const fd = must('socket', socket(linux.AF_INET, linux.SOCK_DGRAM | linux.SOCK_CLOEXEC, 0));
  const seen: number[] = [];
  try {
    ring.send(-1, 0, 0, linux.MSG_DONTWAIT, 7);
    ring.send(fd, 0, 0, linux.MSG_DONTWAIT, 8);
    ring.submit((id, result) => seen.push(id, result));
  } finally {
    close(fd);
  }
  const expected = [7, -linux.EBADF, 8, -linux.EDESTADDRREQ];
  if (seen.join() !== expected.join()) throw new Error(`io_uring_enter: expected ${expected}, got ${seen}`);
}
