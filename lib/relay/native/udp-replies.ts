/**
 * Owns the answers on their way to clients: received into a batch, sent by one call from the address that each client dialled.
 *
 *   flow readable -> receive -> batch -> (full, another listener, end of the turn) -> send -> client
 *
 * A datagram is not copied: it is sent from where it was received.
 */
import { EINTR } from '../../sys/constants.js';
import { errno, recv } from '../../sys/libc.js';
import { DATAGRAM_BYTES, Messages } from '../../sys/messages.js';
import { type Flows, KEY_WORDS, PEER_WORDS } from './flows.js';
import type { Listener } from './listener.js';

const BATCH = 32;

export class UdpReplies {
  readonly #batch = new Messages(BATCH);
  #count = 0;
  /** All that waits goes out through one listener. */
  #from: Listener | undefined;

  constructor(private readonly flows: Flows) {}

  /** Takes one datagram from a flow's backend; its length, or -1 with errno set. */
  receive(f: number, listener: Listener, family: number): number {
    if (this.#count === BATCH || this.#from !== listener) this.send();
    const i = this.#count;
    const { fd, keys } = this.flows;
    const length = recv(fd[f] ?? -1, this.#batch.data(i), DATAGRAM_BYTES, 0);
    if (length < 0) return length;
    const key = f * KEY_WORDS;
    this.#from = listener;
    this.#count = i + 1;
    this.#batch.setPeer(i, keys, key);
    this.#batch.prepare(i, length, family, keys, key + PEER_WORDS);
    return length;
  }

  /** Sends what waits. What cannot be sent is counted and lost. */
  send(): void {
    const end = this.#count;
    const listener = this.#from;
    this.#count = 0;
    if (listener === undefined) return;
    for (let first = 0; first < end; ) {
      const sent = this.#batch.send(listener.fd, first, end);
      for (let i = first; i < first + sent; i++) {
        listener.datagramsDown += 1;
        listener.bytesDown += this.#batch.length(i);
      }
      first += Math.max(0, sent);
      if (sent >= 0 || errno() === EINTR) continue;
      // The first of the rest cannot be sent: its client is out of reach, or the queue is full.
      listener.datagramsDropped += 1;
      first += 1;
    }
  }
}
