/**
 * Owns the sockets of UDP flows: connected, so that the kernel filters strangers and tells of a port that refuses (udp(7)).
 *
 *   connect -> balancer.pick -> socket -> connect -> watched
 *   move (it refuses) -> balancer.failed -> connect to another
 */
import { NONE_TRIED } from '../../balance/balancer.js';
import { EPOLLIN, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK } from '../../sys/constants.js';
import { errnoName } from '../../sys/errors.js';
import { close, connect, errno, socket } from '../../sys/libc.js';
import { Memory } from '../../sys/memory.js';
import { readHostPort, readIp, SOCKADDR_BYTES } from '../../sys/sockaddr.js';
import type { EngineEvents, EngineOptions } from '../engine.js';
import { type AcceptGate, isExhaustion, isLocalFault } from './accept-gate.js';
import { destinationOf } from './destination.js';
import { type Flows, KEY_WORDS, PEER_WORDS } from './flows.js';
import { type Loop, UDP_FLOW } from './loop.js';

export class UdpUpstreams {
  readonly #peer = new Memory(SOCKADDR_BYTES);

  constructor(
    private readonly flows: Flows,
    private readonly loop: Loop,
    private readonly gate: AcceptGate,
    private readonly events: EngineEvents,
    private readonly options: EngineOptions,
  ) {}

  /** Gives a flow a socket to the next backend that takes one. False: there is none. */
  connect(f: number): boolean {
    const { target: targets, tried } = this.flows;
    const listener = this.flows.listener[f];
    if (listener === undefined) return false;
    // Asked for only where it matters: text costs.
    const client = listener.balancer.affinity === undefined ? undefined : readIp(this.#peerOf(f), 0);
    for (;;) {
      const failed = tried[f] ?? NONE_TRIED;
      if (failed.length >= this.options.dialAttempts) return false;
      const target = listener.balancer.pick(client, failed);
      if (target === undefined) return false;
      if (failed.length > 0) listener.dialRetries += 1;
      targets[f] = target;
      const destination = destinationOf(target);
      const fd = this.#socket(destination.family);
      if (fd < 0) return false;
      if (connect(fd, destination.address, destination.length) === 0) return this.#watch(f, fd);
      const error = errno();
      close(fd);
      this.#failed(f, error);
    }
  }

  /** The backend of a flow refuses: gives it another one. False: there is none, and the flow has no socket. */
  move(f: number, error: number): boolean {
    close(this.flows.fd[f] ?? -1);
    this.flows.retire(f);
    this.#failed(f, error);
    return this.connect(f);
  }

  #watch(f: number, fd: number): boolean {
    if (this.loop.watch(fd, EPOLLIN, UDP_FLOW, f, this.flows.generation[f] ?? 0) < 0) {
      close(fd);
      return false;
    }
    this.flows.fd[f] = fd;
    return true;
  }

  /** A descriptor, if need be after idle flows have given theirs; -1 without. */
  #socket(family: number): number {
    const type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    const fd = socket(family, type, 0);
    if (fd >= 0 || !isExhaustion(errno())) return fd;
    this.gate.pause(this.loop.nowMs, errno());
    return socket(family, type, 0);
  }

  #failed(f: number, error: number): void {
    const { listener: listeners, target: targets, tried } = this.flows;
    const listener = listeners[f];
    const target = targets[f];
    if (listener === undefined || target === undefined) return;
    listener.dialFailures += 1;
    if (!isLocalFault(error)) listener.balancer.failed(target);
    tried[f] = [...(tried[f] ?? []), target];
    targets[f] = undefined;
    this.events.log('debug', 'flow failed', {
      servicePort: listener.servicePort,
      client: readHostPort(this.#peerOf(f), 0),
      backend: target.key,
      code: errnoName(error),
    });
  }

  /** The client's sockaddr; until the next call. */
  #peerOf(f: number): Memory {
    const at = f * KEY_WORDS;
    this.#peer.words.set(this.flows.keys.subarray(at, at + PEER_WORDS));
    return this.#peer;
  }
}
