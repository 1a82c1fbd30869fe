/**
 * Owns the TCP connections of a relay thread from accept to record.
 *
 *   listener readable -> accept -> dialer -> connected -> pump both ways -> FIN and RST passed on -> end -> record
 *
 * Every path out of a connection is `#end`: it closes both descriptors, frees the slot and counts the outcome.
 */
import { hostPort } from '../../config/address.js';
import * as k from '../../sys/constants.js';
import { accept4, close, errno, shutdown } from '../../sys/libc.js';
import { Memory } from '../../sys/memory.js';
import { readHostPort, readIp, SOCKADDR_BYTES } from '../../sys/sockaddr.js';
import { closeReset, takeError } from '../../sys/socket.js';
import type { ConnectionBudget } from '../budget.js';
import type { EngineEvents, EngineOptions } from '../engine.js';
import { OUTCOMES } from '../engine.js';
import { type AcceptGate, isExhaustion } from './accept-gate.js';
import * as c from './connections.js';
import { Dialer, SOCKET_EVENTS } from './dialer.js';
import * as o from './listener.js';
import { type Loop, type Part, TCP_LISTENER, TCP_SOCKET } from './loop.js';
import { Pipes } from './pipes.js';
import * as p from './pump.js';
import { setBackendOptions } from './tcp-options.js';
import { TimerWheel } from './wheel.js';

/** Clients of one listener in one turn (fairness). */
const ACCEPT_BATCH = 32;
const INITIAL_SLOTS = 64;
/** A peer that reads nothing may hold up the RST that is behind its bytes for this long. */
const RESET_LINGER_MS = 5_000;
/** Events after which a read says more. */
const READABLE = k.EPOLLIN | k.EPOLLRDHUP | k.EPOLLHUP | k.EPOLLERR;

export class TcpRelay implements Part {
  readonly connections: c.Connections;
  readonly pipes = new Pipes();
  readonly #pump: p.Pump;
  readonly #wheel: TimerWheel;
  readonly #dialer: Dialer;
  /** By index of the loop. */
  readonly #listeners: (o.Listener | undefined)[] = [];
  #listenGeneration = 0;
  /** Sockets whose turn ended for fairness, not for want of bytes. */
  #again: number[] = [];
  #next: number[] = [];
  /** A sockaddr, and its length at 32. */
  readonly #peer = new Memory(SOCKADDR_BYTES + 8);

  constructor(
    private readonly loop: Loop,
    private readonly gate: AcceptGate,
    private readonly events: EngineEvents,
    private readonly options: EngineOptions,
    private readonly budget: ConnectionBudget,
    private readonly lastEnded: (listener: o.Listener) => void,
  ) {
    this.#wheel = new TimerWheel(INITIAL_SLOTS, loop.nowMs);
    this.connections = new c.Connections(INITIAL_SLOTS, (capacity) => this.#wheel.grow(capacity));
    this.#pump = new p.Pump(this.connections, this.pipes);
    const giveUp = (slot: number) => this.#end(slot, o.DIAL_FAILED, true, false);
    this.#dialer = new Dialer(this.connections, loop, this.#wheel, gate, events, options, giveUp);
    loop.handle(TCP_LISTENER, (index, generation) => this.#listenerReady(index, generation));
    loop.handle(TCP_SOCKET, (s, generation, events) => this.#socketReady(s, generation, events));
  }

  /** A listener has opened its socket. While accepting is paused it is watched from the end of the pause on. */
  accept(listener: o.Listener): void {
    this.#listenGeneration = (this.#listenGeneration + 1) & 0x7fffffff;
    listener.generation = this.#listenGeneration;
    this.#listeners[listener.index] = listener;
    if (!this.gate.paused) this.#watch(listener);
  }

  /** A listener is about to close its socket. */
  forget(listener: o.Listener): void {
    this.#listeners[listener.index] = undefined;
  }

  /** Gives the connections of a listener `drainMs` to end (rule T11). */
  drain(listener: o.Listener, drainMs: number): void {
    const { state, drainAt } = this.connections;
    for (let slot = 0; slot < state.length; slot++) {
      if (state[slot] === c.FREE || this.connections.listener[slot] !== listener) continue;
      if (drainMs <= 0) {
        this.#end(slot, o.DRAINED_OUT, true, true);
        continue;
      }
      drainAt[slot] = performance.now() + drainMs;
      this.#wheel.schedule(slot, drainAt[slot] ?? 0);
    }
  }

  /** Accepting has paused: closes what is idle, and leaves the listening sockets alone. */
  paused(): void {
    this.pipes.trim();
    for (const listener of this.#listeners) if (listener !== undefined) this.loop.unwatch(listener.fd);
  }

  resumed(): void {
    this.#dialer.resume();
    if (this.gate.paused) return;
    for (const listener of this.#listeners) if (listener !== undefined) this.#watch(listener);
  }

  /** Bytes of the connections that are open now, up and down, by listener. */
  liveBytes(): Map<o.Listener, readonly [number, number]> {
    const live = new Map<o.Listener, readonly [number, number]>();
    const { state, bytes, listener } = this.connections;
    for (let slot = 0; slot < state.length; slot++) {
      const owner = listener[slot];
      if (owner === undefined) continue;
      const [up, down] = live.get(owner) ?? [0, 0];
      live.set(owner, [up + (bytes[2 * slot] ?? 0), down + (bytes[2 * slot + 1] ?? 0)]);
    }
    return live;
  }

  waitMs(nowMs: number): number {
    return this.#again.length > 0 ? 0 : this.#wheel.waitMs(nowMs);
  }

  afterBatch(nowMs: number): void {
    if (this.#again.length > 0) this.#anotherTurn();
    this.#wheel.advance(nowMs, this.#deadline);
  }

  #watch(listener: o.Listener): void {
    this.loop.watch(listener.fd, k.EPOLLIN, TCP_LISTENER, listener.index, listener.generation);
  }

  #listenerReady(index: number, generation: number): void {
    const listener = this.#listeners[index];
    if (listener === undefined || listener.generation !== generation) return;
    const wantsClient = this.options.records || listener.balancer.affinity !== undefined;
    const { address, words } = this.#peer;
    for (let batch = 0; batch < ACCEPT_BATCH && !this.gate.paused; batch++) {
      words[SOCKADDR_BYTES >> 2] = SOCKADDR_BYTES;
      const fd = wantsClient
        ? accept4(listener.fd, address, address + SOCKADDR_BYTES, k.SOCK_NONBLOCK | k.SOCK_CLOEXEC)
        : accept4(listener.fd, 0, 0, k.SOCK_NONBLOCK | k.SOCK_CLOEXEC);
      if (fd >= 0) {
        this.#adopt(listener, fd, wantsClient);
        continue;
      }
      const error = errno();
      if (error === k.EAGAIN) return;
      // accept(2): errors of the new connection, such as ECONNABORTED, are reported here; the next one may be well.
      if (isExhaustion(error)) this.gate.pause(this.loop.nowMs, error);
    }
  }

  #adopt(listener: o.Listener, fd: number, wantsClient: boolean): void {
    const { connections, options } = this;
    listener.total += 1;
    const slot = connections.begin(listener, fd, this.loop.nowMs);
    listener.active += 1;
    if (wantsClient) connections.client[slot] = readIp(this.#peer, 0);
    if (options.records) connections.clientText[slot] = readHostPort(this.#peer, 0);
    const { maxConnectionsPerListener } = options;
    const full = maxConnectionsPerListener > 0 && listener.active > maxConnectionsPerListener;
    if (full || !this.budget.take()) {
      this.#end(slot, o.REFUSED, true, false);
      return;
    }
    connections.state[slot] = c.DIALING;
    const s = 2 * slot;
    if (this.loop.watch(fd, SOCKET_EVENTS, TCP_SOCKET, s, connections.generation[s] ?? 0) < 0) {
      this.#end(slot, o.DIAL_FAILED, true, false);
      return;
    }
    this.#dialer.dial(slot);
  }

  #socketReady(s: number, generation: number, events: number): void {
    const { flags } = this.connections;
    // The descriptor was closed in this batch, and its slot may serve somebody else.
    if (this.connections.generation[s] !== generation) return;
    const slot = s >> 1;
    if (this.connections.state[slot] !== c.ESTABLISHED) {
      this.#dialing(slot, s, events);
      return;
    }
    const before = flags[s] ?? 0;
    flags[s] = before | flagsOf(events);
    if ((events & READABLE) !== 0) this.#drive(slot, s);
    // EPOLLOUT comes with every event; it is news only after a write met EAGAIN.
    if ((events & k.EPOLLOUT) !== 0 && (before & c.OUT) === 0 && this.connections.generation[s] === generation) {
      this.#drive(slot, s ^ 1);
    }
    if ((events & k.EPOLLERR) !== 0 && this.connections.generation[s] === generation) this.#failed(slot, s);
  }

  #dialing(slot: number, s: number, events: number): void {
    const { flags, fd } = this.connections;
    if ((s & 1) === 0) {
      // A FIN is no abort: the client may have said all it has to say (rule T4).
      flags[s] = (flags[s] ?? 0) | flagsOf(events);
      if ((events & k.EPOLLERR) !== 0) this.#end(slot, o.CLIENT_ABORTED, false, true);
      return;
    }
    if ((events & (k.EPOLLERR | k.EPOLLHUP)) !== 0) {
      this.#dialer.failed(slot, takeError(fd[s] ?? -1) || k.ECONNREFUSED);
    } else if ((events & k.EPOLLOUT) !== 0) {
      flags[s] = flagsOf(events);
      this.#connected(slot);
    }
  }

  #connected(slot: number): void {
    const { connections } = this;
    const target = connections.target[slot];
    const s = 2 * slot;
    connections.state[slot] = c.ESTABLISHED;
    connections.tried[slot] = undefined;
    connections.activeAt[slot] = this.loop.nowMs;
    if (target !== undefined) connections.listener[slot]?.balancer.succeeded(target);
    if (this.options.tcpIdleTimeoutMs > 0) this.#wheel.schedule(slot, this.loop.nowMs + this.options.tcpIdleTimeoutMs);
    const generation = connections.generation[s];
    if (((connections.flags[s] ?? 0) & c.IN) !== 0) this.#drive(slot, s);
    if (connections.generation[s] === generation && ((connections.flags[s + 1] ?? 0) & c.IN) !== 0)
      this.#drive(slot, s + 1);
  }

  /** One turn of the direction read from `s`, and what follows from it. */
  #drive(slot: number, s: number): void {
    const { connections } = this;
    connections.activeAt[slot] = this.loop.nowMs;
    const result = this.#pump.turn(s);
    if (result === p.SOURCE_FAILED) {
      this.#reset(slot, s);
      return;
    }
    if (result === p.TARGET_FAILED) {
      if (((connections.flags[s] ?? 0) & c.FAILED) !== 0) this.#reset(slot, s);
      else this.#failed(slot, s ^ 1);
      return;
    }
    const flags = connections.flags[s] ?? 0;
    if ((flags & c.FAILED) !== 0 && connections.pending[s] === 0 && (flags & c.IN) === 0) {
      this.#reset(slot, s);
      return;
    }
    if (result === p.AGAIN && (flags & c.QUEUED) === 0) {
      connections.flags[s] = flags | c.QUEUED;
      this.#again.push(s);
    }
    if ((flags & c.EOF) !== 0 && connections.pending[s] === 0) this.#passFin(slot, s);
  }

  /** Everything that will ever come from `s` is delivered. */
  #passFin(slot: number, s: number): void {
    const { flags, pending, fd } = this.connections;
    const t = s ^ 1;
    const f = flags[t] ?? 0;
    if ((f & c.FIN) !== 0) return;
    if ((f & c.EOF) !== 0 && pending[t] === 0) {
      // close(2) sends the second FIN; a shutdown before it would be a call for nothing.
      this.#end(slot, o.CLOSED, false, false);
      return;
    }
    shutdown(fd[t] ?? -1, k.SHUT_WR);
    flags[t] = f | c.FIN;
    const { halfCloseTimeoutMs } = this.options;
    if (halfCloseTimeoutMs > 0) this.#wheel.schedule(slot, this.loop.nowMs + halfCloseTimeoutMs);
  }

  /**
   * The socket `s` was reset or has failed. Nothing more is sent to it; what came from it before (a server that answers early and
   * resets) is delivered first, as far as the other side takes it.
   */
  #failed(slot: number, s: number): void {
    const { flags } = this.connections;
    const f = flags[s] ?? 0;
    if ((f & c.FAILED) !== 0) return;
    flags[s] = (f | c.FAILED | ((f & c.EOF) === 0 ? c.IN : 0)) & ~c.OUT;
    this.#wheel.schedule(slot, this.loop.nowMs + RESET_LINGER_MS);
    this.#drive(slot, s);
  }

  /** The other side of a failed socket gets RST. */
  #reset(slot: number, s: number): void {
    const byClient = (s & 1) === 0;
    this.#end(slot, byClient ? o.CLIENT_RESET : o.BACKEND_RESET, !byClient, byClient);
  }

  #anotherTurn(): void {
    const turns = this.#again;
    this.#again = this.#next;
    this.#next = turns;
    for (const s of turns) {
      const flags = this.connections.flags[s] ?? 0;
      // An entry may be of a connection that has ended; its flags are gone with it.
      if ((flags & c.QUEUED) === 0) continue;
      this.connections.flags[s] = flags & ~c.QUEUED;
      this.#drive(s >> 1, s);
    }
    turns.length = 0;
  }

  /** A slot has one deadline; which of its reasons it was, and when the next one is, is looked up here. */
  readonly #deadline = (slot: number): void => {
    const { state, drainAt, dialUntil, activeAt, flags } = this.connections;
    const { nowMs } = this.loop;
    const is = state[slot];
    if (is === c.FREE) return;
    const drain = drainAt[slot] ?? 0;
    if (drain > 0 && nowMs >= drain) {
      this.#end(slot, o.DRAINED_OUT, true, true);
      return;
    }
    if (drain > 0) this.#wheel.schedule(slot, drain);
    if (is !== c.ESTABLISHED) {
      if (nowMs < (dialUntil[slot] ?? 0)) this.#wheel.schedule(slot, dialUntil[slot] ?? 0);
      else if (is === c.DIALING) this.#dialer.failed(slot, k.ETIMEDOUT);
      else this.#end(slot, o.DIAL_FAILED, true, false);
      return;
    }
    this.#mature(slot);
    const active = activeAt[slot] ?? 0;
    const up = flags[2 * slot] ?? 0;
    const both = up | (flags[2 * slot + 1] ?? 0);
    const failed = (up & c.FAILED) === 0 ? o.BACKEND_RESET : o.CLIENT_RESET;
    if ((both & c.FAILED) !== 0 && this.#overdue(slot, active, RESET_LINGER_MS, failed)) return;
    if ((both & c.FIN) !== 0 && this.#overdue(slot, active, this.options.halfCloseTimeoutMs, o.HALF_CLOSE)) return;
    this.#overdue(slot, active, this.options.tcpIdleTimeoutMs, o.IDLE);
  };

  /** Ends the connection where `limitMs` have passed since it was active, else looks again when they will have. */
  #overdue(slot: number, activeAt: number, limitMs: number, how: number): boolean {
    if (limitMs === 0) return false;
    if (this.loop.nowMs >= activeAt + limitMs) {
      this.#end(slot, how, true, true);
      return true;
    }
    this.#wheel.schedule(slot, activeAt + limitMs);
    return false;
  }

  /** What only a connection that lasts needs is set when its dial deadline passes: a short one saves the calls. */
  #mature(slot: number): void {
    const b = 2 * slot + 1;
    const flags = this.connections.flags[b] ?? 0;
    if ((flags & c.MATURE) !== 0) return;
    this.connections.flags[b] = flags | c.MATURE;
    setBackendOptions(this.connections.fd[b] ?? -1);
  }

  #end(slot: number, how: number, resetClient: boolean, resetBackend: boolean): void {
    const { connections } = this;
    const listener = connections.listener[slot];
    const a = 2 * slot;
    const b = a + 1;
    this.#wheel.cancel(slot);
    this.#pump.discard(a);
    this.#pump.discard(b);
    if (this.options.records) this.#record(slot, how);
    this.#close(a, resetClient);
    this.#close(b, resetBackend);
    const up = connections.bytes[a] ?? 0;
    const down = connections.bytes[b] ?? 0;
    connections.end(slot);
    if (listener === undefined) return;
    listener.bytesUp += up;
    listener.bytesDown += down;
    listener.outcomes[how] = (listener.outcomes[how] ?? 0) + 1;
    listener.active -= 1;
    if (how !== o.REFUSED) this.budget.give();
    if (listener.gone && listener.active === 0) this.lastEnded(listener);
  }

  #close(s: number, reset: boolean): void {
    const fd = this.connections.fd[s] ?? -1;
    if (fd < 0) return;
    if (reset) closeReset(fd);
    else close(fd);
  }

  #record(slot: number, how: number): void {
    const { connections } = this;
    const listener = connections.listener[slot];
    const outcome = OUTCOMES[how];
    if (listener === undefined || outcome === undefined) return;
    const durationMs = performance.now() - (connections.acceptedAt[slot] ?? 0);
    this.events.record({
      startedAt: Date.now() - durationMs,
      durationMs,
      servicePort: listener.spec.servicePort,
      client: connections.clientText[slot] ?? '',
      listener: hostPort(listener.spec.host, listener.port),
      backend: connections.state[slot] === c.ESTABLISHED ? (connections.target[slot]?.key ?? '') : '',
      bytesUp: connections.bytes[2 * slot] ?? 0,
      bytesDown: connections.bytes[2 * slot + 1] ?? 0,
      attempts: connections.attempts[slot] ?? 0,
      outcome,
    });
  }
}

/** What an event says of its socket. */
function flagsOf(events: number): number {
  let flags = 0;
  if ((events & READABLE) !== 0) flags |= c.IN;
  if ((events & k.EPOLLOUT) !== 0) flags |= c.OUT;
  if ((events & k.EPOLLRDHUP) !== 0) flags |= c.RDHUP;
  if ((events & k.EPOLLPRI) !== 0) flags |= c.URGENT;
  return flags;
}
