/** Owns the flags of a relayed socket: what is known of it, and what has been done to it. One bit each. */
import * as linux from '../../sys/constants.js';

/** The kernel reported readable and nothing has shown that it is drained. */
export const IN = 1;
/** Writable as far as is known: the last write did not meet EAGAIN. */
export const OUT = 2;
/** FIN has arrived: everything the peer ever sent is in the receive queue. */
export const RDHUP = 4;
/** Everything was read, the FIN included. */
export const EOF = 8;
/** We have sent FIN. */
export const FIN = 16;
/** Urgent data was seen: a short read does not mean drained (tcp(7): a read stops at the mark). */
export const URGENT = 32;
/** Bytes from here go through a pipe. */
export const BULK = 64;
/** The last read was large. */
export const LARGE = 128;
/** `hold` is a pipe, not a spill chunk. */
export const PIPED = 256;
/** In the queue for another turn. */
export const QUEUED = 512;
/** Something was sent to it already: from the second send on Nagle must be off (rule T6). */
export const SENT = 1024;
export const NODELAY = 2048;
/** The options of a lasting connection are set. */
export const MATURE = 4096;
/** Reset or failed; what was read from it before still waits to be delivered. */
export const FAILED = 8192;
/** Its acknowledgements are held back for bytes to ride on. */
export const HELD = 16384;
/** In the queue for their release. */
export const RELEASING = 32768;
/** What is pending from here waits in the batch of this turn. */
export const BATCHED = 65536;

/** Events after which a read says more. */
export const READABLE = linux.EPOLLIN | linux.EPOLLRDHUP | linux.EPOLLHUP | linux.EPOLLERR;

/** What an event says of its socket. */
export function flagsOf(events: number): number {
  let flags = 0;
  if ((events & READABLE) !== 0) flags |= IN;
  if ((events & linux.EPOLLOUT) !== 0) flags |= OUT;
  // A reset shuts both directions too: RDHUP beside an error is no FIN.
  if ((events & (linux.EPOLLRDHUP | linux.EPOLLERR)) === linux.EPOLLRDHUP) flags |= RDHUP;
  if ((events & linux.EPOLLPRI) !== 0) flags |= URGENT;
  return flags;
}
