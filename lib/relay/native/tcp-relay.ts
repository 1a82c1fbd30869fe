/**
 * Owns the TCP connections of a relay thread from accept to record.
 *
 *   listener readable -> accept -> dialer -> connected -> pump both ways -> FIN and RST passed on -> end -> record
 *
 * Every path out of a connection is `#end`: it closes both descriptors, frees the slot and counts the outcome.
 */
import type { Ip } from '../../config/address.js';
import * as linux from '../../sys/constants.js';
import { close, shutdown } from '../../sys/libc.js';
import { closeReset, takeError } from '../../sys/socket.js';
import type { ConnectionBudget } from '../budget.js';
import type { EngineEvents, EngineOptions } from '../engine.js';
import type { AcceptGate } from './accept-gate.js';
import { recordOf } from './connection-record.js';
import { Connections, DIALING, ESTABLISHED, FREE } from './connections.js';
import { Deadlines } from './deadlines.js';
import { Dialer, SOCKET_EVENTS } from './dialer.js';
import * as flag from './flags.js';
import type { Listener } from './listener.js';
import { type Loop, type Part, TCP_SOCKET } from './loop.js';
import * as outcome from './outcomes.js';
import { Pipes } from './pipes.js';
import { AGAIN, BATCHED, DRAINED, Pump, SOURCE_FAILED, TARGET_FAILED } from './pump.js';
import type { SendBatch } from './send-batch.js';
import { TcpAcceptor } from './tcp-acceptor.js';
import { push, releaseAcks } from './tcp-options.js';
import { TimerWheel } from './wheel.js';

const INITIAL_SLOTS = 64;

export class TcpRelay implements Part {
  readonly connections: Connections;
  readonly pipes = new Pipes();
  readonly #pump: Pump;
  readonly #wheel: TimerWheel;
  readonly #dialer: Dialer;
  readonly #deadlines: Deadlines;
  readonly #gate: AcceptGate;
  readonly acceptor: TcpAcceptor;
  /** Sockets whose turn ended for fairness, not for want of bytes. */
  #again: number[] = [];
  #next: number[] = [];
  /** Backends with their ACK held back that have answered in this turn, and in the one before. */
  #answered: number[] = [];
  #toRelease: number[] = [];

  constructor(
    private readonly loop: Loop,
    gate: AcceptGate,
    private readonly events: EngineEvents,
    private readonly options: EngineOptions,
    private readonly budget: ConnectionBudget,
    private readonly lastEnded: (listener: Listener) => void,
    batch: SendBatch | undefined,
  ) {
    this.#gate = gate;
    this.#wheel = new TimerWheel(INITIAL_SLOTS, loop.nowMs);
    this.connections = new Connections(INITIAL_SLOTS, (capacity) => this.#wheel.grow(capacity));
    this.#pump = new Pump(this.connections, this.pipes, batch);
    this.#dialer = new Dialer(this.connections, loop, this.#wheel, gate, events, options, (slot) =>
      this.#end(slot, outcome.DIAL_FAILED, true, false),
    );
    this.#deadlines = new Deadlines(this.connections, loop, this.#wheel, this.#dialer, options, (slot, how) =>
      this.#end(slot, how, true, true),
    );
    this.acceptor = new TcpAcceptor(loop, gate, options.records, (...accepted) => this.#adopt(...accepted));
    loop.handle(TCP_SOCKET, (s, generation, events) => this.#socketReady(s, generation, events));
  }

  /** Gives the connections of a listener `drainMs` to end (rule T11). */
  drain(listener: Listener, drainMs: number): void {
    const { state } = this.connections;
    for (let slot = 0; slot < state.length; slot++) {
      if (state[slot] === FREE || this.connections.listener[slot] !== listener) continue;
      if (drainMs <= 0) {
        this.#end(slot, outcome.DRAINED, true, true);
        continue;
      }
      this.#deadlines.drain(slot, performance.now() + drainMs);
    }
  }

  /** The thread ends: resets every connection. */
  abandon(): void {
    for (let slot = 0; slot < this.connections.state.length; slot++) {
      if (this.connections.state[slot] !== FREE) this.#end(slot, outcome.DRAINED, true, true);
    }
    this.pipes.trim();
  }

  /** Out of descriptors: closes the pipes that nothing is in. */
  paused(): void {
    this.pipes.trim();
    this.acceptor.paused();
  }

  /** Those that wait for a descriptor come before those that are not accepted yet. */
  resumed(): void {
    this.#dialer.resume();
    if (!this.#gate.paused) this.acceptor.resumed();
  }

  waitMs(nowMs: number): number {
    return this.#again.length + this.#toRelease.length > 0 ? 0 : this.#wheel.waitMs(nowMs);
  }

  afterBatch(nowMs: number): void {
    this.#pump.batching = false;
    this.#flush();
    if (this.#again.length > 0) this.#anotherTurn();
    if (this.#toRelease.length + this.#answered.length > 0) this.#releaseAnswered();
    this.#wheel.advance(nowMs, this.#deadlines.passed);
  }

  #adopt(listener: Listener, fd: number, client: Ip | undefined, clientPort: number): void {
    const { connections } = this;
    const slot = connections.begin(listener, fd, this.loop.nowMs);
    connections.client[slot] = client;
    connections.clientPort[slot] = clientPort;
    listener.total += 1;
    listener.active += 1;
    const { maxConnectionsPerListener } = this.options;
    const full = maxConnectionsPerListener > 0 && listener.active > maxConnectionsPerListener;
    if (full || !this.budget.take()) {
      this.#end(slot, outcome.REFUSED, true, false);
      return;
    }
    connections.state[slot] = DIALING;
    const s = 2 * slot;
    if (this.loop.watch(fd, SOCKET_EVENTS, TCP_SOCKET, s, connections.generation[s] ?? 0) < 0) {
      this.#end(slot, outcome.DIAL_FAILED, true, false);
      return;
    }
    this.#dialer.dial(slot);
  }

  #socketReady(s: number, generation: number, events: number): void {
    const { flags } = this.connections;
    // Those that wait should not wait for bulk, nor let those behind them go first.
    if (this.#pump.full || (this.#pump.waiting > 0 && (((flags[s] ?? 0) | (flags[s ^ 1] ?? 0)) & flag.BULK) !== 0))
      this.#flush();
    // The descriptor was closed in this batch, and its slot may serve somebody else.
    if (this.connections.generation[s] !== generation) return;
    const slot = s >> 1;
    if (this.connections.state[slot] !== ESTABLISHED) {
      this.#dialing(slot, s, events);
      return;
    }
    const before = flags[s] ?? 0;
    flags[s] = before | flag.flagsOf(events);
    this.#pump.batching = this.loop.ready > 1;
    if ((events & flag.READABLE) !== 0) this.#drive(slot, s);
    // EPOLLOUT comes with every event; it is news only after a write met EAGAIN.
    if ((events & linux.EPOLLOUT) !== 0 && (before & flag.OUT) === 0 && this.connections.generation[s] === generation) {
      this.#drive(slot, s ^ 1);
    }
    if ((events & linux.EPOLLERR) !== 0 && this.connections.generation[s] === generation) this.#failed(slot, s);
  }

  #dialing(slot: number, s: number, events: number): void {
    const { flags, fd } = this.connections;
    if ((s & 1) === 0) {
      // A FIN is no abort: the client may have said all it has to say (rule T4).
      flags[s] = (flags[s] ?? 0) | flag.flagsOf(events);
      if ((events & linux.EPOLLERR) !== 0) this.#end(slot, outcome.CLIENT_ABORTED, false, true);
      return;
    }
    if ((events & (linux.EPOLLERR | linux.EPOLLHUP)) !== 0) {
      this.#dialer.failed(slot, takeError(fd[s] ?? -1) || linux.ECONNREFUSED);
    } else if ((events & linux.EPOLLOUT) !== 0) {
      flags[s] = (flags[s] ?? 0) | flag.flagsOf(events);
      this.#connected(slot);
    }
  }

  #connected(slot: number): void {
    const { connections } = this;
    const target = connections.target[slot];
    const s = 2 * slot;
    connections.state[slot] = ESTABLISHED;
    connections.tried[slot] = undefined;
    connections.activeAt[slot] = this.loop.nowMs;
    if (target !== undefined) connections.listener[slot]?.balancer.succeeded(target);
    this.#deadlines.whenConnected(slot);
    const generation = connections.generation[s];
    if (((connections.flags[s] ?? 0) & flag.IN) !== 0) this.#drive(slot, s);
    else this.#releaseAcks(s + 1);
    if (connections.generation[s] === generation && ((connections.flags[s + 1] ?? 0) & flag.IN) !== 0)
      this.#drive(slot, s + 1);
  }

  /** One turn of the direction read from `s`, and what follows from it. */
  #drive(slot: number, s: number): void {
    const { connections } = this;
    connections.activeAt[slot] = this.loop.nowMs;
    const result = this.#pump.turn(s);
    if (result !== BATCHED) this.#turned(slot, s, result);
  }

  /** Sends what the turns of this batch of events left for the end. */
  #flush(): void {
    this.#pump.flush(this.#sent);
  }

  readonly #sent = (s: number, result: number): void => {
    const { generation, flags } = this.connections;
    const before = generation[s];
    this.#turned(s >> 1, s, result);
    // More may have come meanwhile, and no event tells of it again.
    if (result === DRAINED && generation[s] === before && ((flags[s] ?? 0) & (flag.IN | flag.EOF)) === flag.IN)
      this.#drive(s >> 1, s);
  };

  /** What follows from a turn. */
  #turned(slot: number, s: number, result: number): void {
    const { connections } = this;
    if (result === SOURCE_FAILED) {
      this.#reset(slot, s);
      return;
    }
    if (result === TARGET_FAILED) {
      if (((connections.flags[s] ?? 0) & flag.FAILED) !== 0) this.#reset(slot, s);
      else this.#failed(slot, s ^ 1);
      return;
    }
    const flags = connections.flags[s] ?? 0;
    if ((flags & flag.FAILED) !== 0 && connections.pending[s] === 0 && (flags & flag.IN) === 0) {
      // The last bytes may be held for a FIN that does not come now: an RST would take them along.
      if ((flags & flag.EOF) !== 0) push(connections.fd[s ^ 1] ?? -1);
      this.#reset(slot, s);
      return;
    }
    if (result === AGAIN && (flags & flag.QUEUED) === 0) {
      connections.flags[s] = flags | flag.QUEUED;
      this.#again.push(s);
    }
    if ((flags & flag.EOF) !== 0) {
      if (connections.pending[s] === 0) this.#passFin(slot, s);
    } else if ((flags & (flag.HELD | flag.RELEASING)) === flag.HELD) {
      connections.flags[s] = flags | flag.RELEASING;
      this.#answered.push(s);
    }
  }

  /** The backend may be waiting for an ACK: no bytes of ours are on the way that would carry it. */
  #releaseAcks(b: number): void {
    const { flags, fd } = this.connections;
    flags[b] = (flags[b] ?? 0) & ~(flag.HELD | flag.RELEASING);
    releaseAcks(fd[b] ?? -1);
  }

  /** Backends that answered in the turn before this one, and have not sent FIN since: then the ACK goes with ours. */
  #releaseAnswered(): void {
    for (const b of this.#toRelease) {
      const flags = this.connections.flags[b] ?? 0;
      // An entry may be of a connection that has ended; its flags are gone with it.
      if ((flags & flag.RELEASING) !== 0 && (flags & (flag.RDHUP | flag.EOF)) === 0) this.#releaseAcks(b);
    }
    const spare = this.#toRelease;
    spare.length = 0;
    this.#toRelease = this.#answered;
    this.#answered = spare;
  }

  /** Everything that will ever come from `s` is delivered. */
  #passFin(slot: number, s: number): void {
    const { flags, pending, fd } = this.connections;
    const t = s ^ 1;
    const f = flags[t] ?? 0;
    if ((f & flag.FIN) !== 0) return;
    if ((f & flag.EOF) !== 0 && pending[t] === 0) {
      // close(2) sends the second FIN; a shutdown before it would be a call for nothing.
      this.#end(slot, outcome.CLOSED, false, false);
      return;
    }
    shutdown(fd[t] ?? -1, linux.SHUT_WR);
    flags[t] = f | flag.FIN;
    this.#deadlines.whenHalfClosed(slot);
  }

  /**
   * The socket `s` was reset or has failed. Nothing more is sent to it; what came from it before (a server that answers early and
   * resets) is delivered first, as far as the other side takes it.
   */
  #failed(slot: number, s: number): void {
    const { flags } = this.connections;
    const f = flags[s] ?? 0;
    if ((f & flag.FAILED) !== 0) return;
    flags[s] = (f | flag.FAILED | ((f & flag.EOF) === 0 ? flag.IN : 0)) & ~flag.OUT;
    this.#deadlines.whenFailed(slot);
    this.#drive(slot, s);
  }

  /** The other side of a failed socket gets RST. */
  #reset(slot: number, s: number): void {
    const byClient = (s & 1) === 0;
    this.#end(slot, byClient ? outcome.CLIENT_RESET : outcome.BACKEND_RESET, !byClient, byClient);
  }

  #anotherTurn(): void {
    const turns = this.#again;
    this.#again = this.#next;
    this.#next = turns;
    for (const s of turns) {
      const flags = this.connections.flags[s] ?? 0;
      // An entry may be of a connection that has ended; its flags are gone with it.
      if ((flags & flag.QUEUED) === 0) continue;
      this.connections.flags[s] = flags & ~flag.QUEUED;
      this.#drive(s >> 1, s);
    }
    turns.length = 0;
  }

  #end(slot: number, how: number, resetClient: boolean, resetBackend: boolean): void {
    const { connections } = this;
    const a = 2 * slot;
    const b = a + 1;
    if ((((connections.flags[a] ?? 0) | (connections.flags[b] ?? 0)) & flag.BATCHED) !== 0) {
      // A descriptor that waits in the batch must not become another connection's; and what is sent may end this one.
      const generation = connections.generation[a];
      this.#flush();
      if (connections.generation[a] !== generation) return;
    }
    const listener = connections.listener[slot];
    this.#wheel.cancel(slot);
    this.#pump.discard(a);
    this.#pump.discard(b);
    if (this.options.records) {
      const record = recordOf(connections, slot, how);
      if (record !== undefined) this.events.record(record);
    }
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
    if (how !== outcome.REFUSED) this.budget.give();
    if (listener.gone && listener.active === 0) this.lastEnded(listener);
  }

  #close(s: number, reset: boolean): void {
    const fd = this.connections.fd[s] ?? -1;
    if (fd < 0) return;
    if (reset) closeReset(fd);
    else close(fd);
  }
}
