/**
 * Owns the listening TCP sockets of a relay thread: which are watched, and taking clients from them.
 *
 *   listener readable -> accept4, a batch -> accepted(listener, descriptor, client)
 *
 * They are level-triggered: a batch that leaves some behind is told of them again.
 */
import type { Ip } from '../../config/address.js';
import { EAGAIN, EPOLLIN, SOCK_CLOEXEC, SOCK_NONBLOCK } from '../../sys/constants.js';
import { accept4, errno } from '../../sys/libc.js';
import { Memory } from '../../sys/memory.js';
import { readIp, readPort, SOCKADDR_BYTES } from '../../sys/sockaddr.js';
import { type AcceptGate, isExhaustion } from './accept-gate.js';
import type { Listener } from './listener.js';
import { type Loop, TCP_LISTENER } from './loop.js';

/** Clients of one listener in one turn (fairness). */
const BATCH = 32;
const FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC;

/** The client is told only where affinity or records want it. */
export type Accepted = (listener: Listener, fd: number, client: Ip | undefined, clientPort: number) => void;

export class TcpAcceptor {
  /** By index of the loop. */
  readonly #listeners: (Listener | undefined)[] = [];
  #generation = 0;
  /** A sockaddr, and its length at 32. */
  readonly #peer = new Memory(SOCKADDR_BYTES + 8);

  constructor(
    private readonly loop: Loop,
    private readonly gate: AcceptGate,
    private readonly records: boolean,
    private readonly accepted: Accepted,
  ) {
    loop.handle(TCP_LISTENER, (index, generation) => this.#ready(index, generation));
  }

  /** A listener has opened its socket. While accepting is paused it is watched from the end of the pause on. */
  add(listener: Listener): void {
    this.#generation = (this.#generation + 1) & 0x7fffffff;
    listener.generation = this.#generation;
    this.#listeners[listener.index] = listener;
    if (!this.gate.paused) this.#watch(listener);
  }

  /** A listener is about to close its socket. */
  forget(listener: Listener): void {
    if (this.#listeners[listener.index] === listener) this.#listeners[listener.index] = undefined;
  }

  paused(): void {
    for (const listener of this.#listeners) if (listener !== undefined) this.loop.unwatch(listener.fd);
  }

  resumed(): void {
    for (const listener of this.#listeners) if (listener !== undefined) this.#watch(listener);
  }

  #watch(listener: Listener): void {
    this.loop.watch(listener.fd, EPOLLIN, TCP_LISTENER, listener.index, listener.generation);
  }

  #ready(index: number, generation: number): void {
    const listener = this.#listeners[index];
    if (listener === undefined || listener.generation !== generation) return;
    const wantsClient = this.records || listener.balancer.affinity !== undefined;
    const address = wantsClient ? this.#peer.address : 0;
    const length = wantsClient ? address + SOCKADDR_BYTES : 0;
    for (let batch = 0; batch < BATCH && !this.gate.paused; batch++) {
      this.#peer.words[SOCKADDR_BYTES >> 2] = SOCKADDR_BYTES;
      const fd = accept4(listener.fd, address, length, FLAGS);
      if (fd >= 0) {
        if (wantsClient) this.accepted(listener, fd, readIp(this.#peer, 0), readPort(this.#peer, 0));
        else this.accepted(listener, fd, undefined, 0);
        continue;
      }
      const error = errno();
      if (error === EAGAIN) return;
      // accept(2): errors of the new connection, such as ECONNABORTED, are reported here; the next one may be well.
      if (isExhaustion(error)) this.gate.pause(this.loop.nowMs, error);
    }
  }
}
