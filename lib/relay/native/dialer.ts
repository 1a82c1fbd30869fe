/**
 * Owns the way from an accepted client to a connected backend: pick, connect without waiting, another backend on failure (rule T2).
 *
 *   dial -> balancer.pick -> connect -> (in progress) -> connected
 *                ^                  \-> failed, timed out -> balancer.failed
 *                \------------------------------/      after `dialAttempts` -> dial-failed (rule T3)
 *
 * The client's bytes wait in its socket. It closes the backend socket of a failed attempt; the connection itself is ended by `give up`.
 */
import { NONE_TRIED } from '../../balance/balancer.js';
import {
  EINPROGRESS,
  EPOLLET,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
} from '../../sys/constants.js';
import { errnoName } from '../../sys/errors.js';
import { close, connect, errno, socket } from '../../sys/libc.js';
import { peerHostPort } from '../../sys/socket.js';
import type { EngineEvents } from '../engine.js';
import { type AcceptGate, isExhaustion, isLocalFault } from './accept-gate.js';
import { type Connections, DIALING, WAITING } from './connections.js';
import { destinationOf } from './destination.js';
import * as flag from './flags.js';
import { type Loop, TCP_SOCKET } from './loop.js';
import { holdAcks } from './tcp-options.js';
import type { TimerWheel } from './wheel.js';

/** All that a relayed socket is ever watched for; edge-triggered, so it is told once. */
export const SOCKET_EVENTS = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;

export class Dialer {
  /** Connections that met exhaustion at their dial; asked again when the gate opens. */
  #waiting: number[] = [];

  constructor(
    private readonly connections: Connections,
    private readonly loop: Loop,
    private readonly wheel: TimerWheel,
    private readonly gate: AcceptGate,
    private readonly events: EngineEvents,
    private readonly options: { readonly dialTimeoutMs: number; readonly dialAttempts: number },
    private readonly giveUp: (c: number) => void,
  ) {}

  /** Starts the next attempt, or gives the connection up. */
  dial(c: number): void {
    const { connections } = this;
    const listener = connections.listener[c];
    if (listener === undefined) return;
    while ((connections.attempts[c] ?? 0) < this.options.dialAttempts) {
      const target = listener.balancer.pick(connections.client[c], connections.tried[c] ?? NONE_TRIED);
      if (target === undefined) break;
      const destination = destinationOf(target);
      const fd = socket(destination.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (fd < 0 && isExhaustion(errno())) {
        this.#wait(c, errno());
        return;
      }
      connections.target[c] = target;
      const attempt = (connections.attempts[c] ?? 0) + 1;
      connections.attempts[c] = attempt;
      if (attempt > 1) listener.dialRetries += 1;
      if (fd >= 0) holdAcks(fd);
      const result = fd < 0 ? -1 : connect(fd, destination.address, destination.length);
      const error = result < 0 ? errno() : 0;
      if (fd >= 0 && (error === 0 || error === EINPROGRESS) && this.#watch(c, fd)) return;
      if (fd >= 0) close(fd);
      this.#failed(c, error);
    }
    this.events.log('warn', 'no backend could be reached, the client is reset', {
      servicePort: listener.servicePort,
      client: peerHostPort(connections.fd[2 * c] ?? -1),
    });
    this.giveUp(c);
  }

  /** The attempt under way has failed: closes its socket and tries the next backend. */
  failed(c: number, error: number): void {
    const b = 2 * c + 1;
    close(this.connections.fd[b] ?? -1);
    this.connections.retire(b);
    this.#failed(c, error);
    this.dial(c);
  }

  /** The gate is open again. */
  resume(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const c of waiting) if (this.connections.state[c] === WAITING) this.dial(c);
  }

  #watch(c: number, fd: number): boolean {
    const { connections } = this;
    const b = 2 * c + 1;
    if (this.loop.watch(fd, SOCKET_EVENTS, TCP_SOCKET, b, connections.generation[b] ?? 0) < 0) return false;
    connections.fd[b] = fd;
    connections.flags[b] = flag.HELD;
    connections.state[c] = DIALING;
    const until = this.loop.nowMs + this.options.dialTimeoutMs;
    connections.dialUntil[c] = until;
    this.wheel.schedule(c, until);
    return true;
  }

  /** A client waits as long as one dial may take. It keeps its turn among those that wait. */
  #wait(c: number, error: number): void {
    const { connections, loop } = this;
    if (connections.state[c] !== WAITING) {
      connections.state[c] = WAITING;
      connections.dialUntil[c] = loop.nowMs + this.options.dialTimeoutMs;
      this.wheel.schedule(c, connections.dialUntil[c] ?? 0);
    }
    this.#waiting.push(c);
    this.gate.pause(loop.nowMs, error);
  }

  #failed(c: number, error: number): void {
    const { connections } = this;
    const listener = connections.listener[c];
    const target = connections.target[c];
    if (listener === undefined || target === undefined) return;
    listener.dialFailures += 1;
    if (!isLocalFault(error)) listener.balancer.failed(target);
    connections.tried[c] = [...(connections.tried[c] ?? []), target];
    connections.target[c] = undefined;
    this.events.log('debug', 'dial failed', {
      servicePort: listener.servicePort,
      client: peerHostPort(connections.fd[2 * c] ?? -1),
      backend: target.key,
      code: errnoName(error),
      attempt: connections.attempts[c],
    });
  }
}
