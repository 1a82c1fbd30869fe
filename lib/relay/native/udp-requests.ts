/**
 * Owns datagrams on their way from clients to backends: a batch is received by one call and sent by one, each through the socket of
 * its flow, where the kernel has io_uring; else each is sent by a call of its own.
 *
 *   listener readable -> receive -> queue(flow, message), ... -> flush -> sent | refused: the flow moves, the datagram goes again
 *
 * Sending all without a pause in between is worth more than the calls it saves: a receiver that wakes up at the first datagram
 * would otherwise run, and sleep again, before the second one is sent.
 */
import * as linux from '../../sys/constants.js';
import { errno, send } from '../../sys/libc.js';
import { Messages } from '../../sys/messages.js';
import type { Ring } from '../../sys/ring.js';
import { isExhaustion } from './accept-gate.js';
import type { Flows } from './flows.js';
import type { Listener } from './listener.js';
import type { Retained } from './retained.js';
import type { UdpUpstreams } from './udp-upstreams.js';

export const BATCH = 32;
const FLAGS = linux.MSG_NOSIGNAL | linux.MSG_DONTWAIT;

export class UdpRequests {
  readonly messages = new Messages(BATCH);
  /** By message of the batch: its flow, and the generation of the flow's socket when it was queued. */
  readonly #flow = new Int32Array(BATCH);
  readonly #generation = new Int32Array(BATCH);
  /** The batch came through it. */
  #listener: Listener | undefined;

  constructor(
    private readonly flows: Flows,
    private readonly retained: Retained,
    private readonly upstreams: UdpUpstreams,
    private readonly ring: Ring | undefined,
    /** A flow has no backend left. */
    private readonly end: (f: number) => void,
  ) {}

  /** As recvmmsg(2): the messages of the next batch, after the last one was flushed. */
  receive(listener: Listener): number {
    this.#listener = listener;
    return this.messages.receive(listener.fd);
  }

  /** Sends message `i` through flow `f`, at once or with the next `flush`. */
  queue(f: number, i: number): void {
    if (this.ring === undefined) {
      this.#send(f, i);
      return;
    }
    this.#flow[i] = f;
    this.#generation[i] = this.flows.generation[f] ?? 0;
    this.ring.send(this.flows.fd[f] ?? -1, this.messages.data(i), this.messages.length(i), FLAGS, i);
  }

  /** To be called before any flow is closed: a descriptor that is queued must not become another flow's. */
  flush(): void {
    if (this.ring !== undefined && this.ring.pending > 0) this.ring.submit(this.#done);
  }

  /** The backend of a flow refuses: gives it another one, and the datagrams that were not answered (rule U4). False: the flow has ended. */
  move(f: number, error: number): boolean {
    const listener = this.flows.listener[f];
    if (!this.upstreams.move(f, error)) {
      if (listener !== undefined) listener.datagramsDropped += this.retained.each(f, ignore);
      this.end(f);
      return false;
    }
    const fd = this.flows.fd[f] ?? -1;
    this.retained.each(f, (address, length) => send(fd, address, length, FLAGS));
    return true;
  }

  readonly #done = (i: number, result: number): void => {
    const f = this.#flow[i] ?? 0;
    // An earlier datagram of the batch may have been refused: the flow has another socket since, or is gone.
    const moved = this.flows.generation[f] !== this.#generation[i];
    if (!moved && result >= 0) this.#sent(f, i);
    else if (moved || result === -linux.ECANCELED || this.#goesOn(f, -result)) this.#send(f, i);
    else this.#lost();
  };

  #send(f: number, i: number): void {
    while (this.flows.listener[f] !== undefined) {
      if (send(this.flows.fd[f] ?? -1, this.messages.data(i), this.messages.length(i), FLAGS) >= 0) {
        this.#sent(f, i);
        return;
      }
      if (!this.#goesOn(f, errno())) break;
    }
    this.#lost();
  }

  /** True where the datagram may be sent again. An error is the answer to an earlier one (udp(7)); this one has not been sent. */
  #goesOn(f: number, error: number): boolean {
    if (error === linux.EINTR) return true;
    if (error === linux.EAGAIN || error === linux.EMSGSIZE || isExhaustion(error)) return false;
    return this.move(f, error);
  }

  #sent(f: number, i: number): void {
    const listener = this.flows.listener[f];
    const length = this.messages.length(i);
    this.retained.keep(f, this.messages.data(i), length);
    if (listener === undefined) return;
    listener.datagramsUp += 1;
    listener.bytesUp += length;
  }

  #lost(): void {
    if (this.#listener !== undefined) this.#listener.datagramsDropped += 1;
  }
}

function ignore(): void {}
