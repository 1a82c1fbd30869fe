/**
 * Owns the moving of bytes from one socket of a connection to the other, for one turn.
 *
 *   small: source -> recv -> shared buffer -> send -> target        (what does not fit waits in a spill chunk)
 *          with several sources ready: recv -> send-batch -> flush, one call for all
 *   bulk:  source -> splice -> pipe -> splice -> target             (what does not fit waits in the pipe)
 *
 * While bytes wait, nothing more is read (rule T5). Sockets are edge-triggered, so a turn goes on until the source is drained,
 * the target is full, or the turn's budget is spent (then the caller gives it another turn).
 */
import {
  EAGAIN,
  ECANCELED,
  EINTR,
  IPPROTO_TCP,
  MSG_DONTWAIT,
  MSG_MORE,
  MSG_NOSIGNAL,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
  TCP_NODELAY,
} from '../../sys/constants.js';
import { errno, recv, send, splice } from '../../sys/libc.js';
import { Memory } from '../../sys/memory.js';
import { setInt } from '../../sys/socket.js';
import type { Connections } from './connections.js';
import * as flag from './flags.js';
import { type Pipes, SPLICE_BYTES } from './pipes.js';
import { MESSAGE_BYTES, type SendBatch } from './send-batch.js';
import { Spills } from './spills.js';

/** What a turn ended with. */
export const DRAINED = 0;
/** The budget is spent; there may be more. */
export const AGAIN = 1;
export const SOURCE_FAILED = 2;
export const TARGET_FAILED = 3;
/** The bytes go with the next flush, which tells what became of them. */
export const BATCHED = 4;

const NONE = -1;
const BUFFER_BYTES = 64 * 1024;
/** Two reads in a row of at least this much, and the direction goes to splice; two splices of less, and it comes back. */
const LARGE_BYTES = 16 * 1024;
/** One turn of one direction (fairness): about a millisecond of copying. */
const BUDGET_BYTES = 1024 * 1024;

export class Pump {
  readonly #buffer = new Memory(BUFFER_BYTES);
  readonly #spills = new Spills(BUFFER_BYTES);

  constructor(
    private readonly connections: Connections,
    private readonly pipes: Pipes,
    private readonly batch: SendBatch | undefined,
  ) {}

  /** Several sockets are ready: what is read from one may wait for the others, to be sent together. */
  batching = false;

  /** No other message has room before the next flush. */
  get full(): boolean {
    return this.batch?.full ?? false;
  }

  /** Messages that wait for the next flush. */
  get waiting(): number {
    return this.batch?.size ?? 0;
  }

  /** Sends the messages of this turn; `sent` is told how the turn of each ended, as by `turn`. To be called before a connection that has one here ends. */
  flush(sent: (s: number, result: number) => void): void {
    this.batch?.flush(this.connections.generation, (s, slot, result) => sent(s, this.#sent(s, slot, result)));
  }

  /** One turn of the direction that is read from `s`. Sets EOF at `s` when the last byte was read; pending may still hold some. */
  turn(s: number): number {
    const { flags, pending } = this.connections;
    const t = s ^ 1;
    if (((flags[s] ?? 0) & flag.BATCHED) !== 0) return BATCHED;
    if (pending[s] !== 0) {
      if (((flags[t] ?? 0) & flag.OUT) === 0) return DRAINED;
      const result = this.#flush(s, t);
      if (result !== DRAINED || pending[s] !== 0) return result;
    }
    const limit = (this.connections.bytes[s] ?? 0) + BUDGET_BYTES;
    while (((flags[s] ?? 0) & (flag.IN | flag.EOF)) === flag.IN && ((flags[t] ?? 0) & flag.OUT) !== 0) {
      const result = ((flags[s] ?? 0) & flag.BULK) === 0 ? this.#copy(s, t) : this.#splice(s, t);
      if (result !== DRAINED) return result;
      if ((this.connections.bytes[s] ?? 0) >= limit) return AGAIN;
    }
    return DRAINED;
  }

  /** Forgets what waits from `s`: the connection ends. */
  discard(s: number): void {
    const { pending, hold, flags } = this.connections;
    if (pending[s] === 0 || ((flags[s] ?? 0) & flag.BATCHED) !== 0) return;
    if (((flags[s] ?? 0) & flag.PIPED) !== 0) this.pipes.drop(hold[s] ?? 0);
    else this.#spills.give(hold[s] ?? 0);
    pending[s] = 0;
  }

  #copy(s: number, t: number): number {
    const { fd, flags, bytes, pending } = this.connections;
    let f = flags[s] ?? 0;
    // What is left of a large read goes the way of its first part.
    const slot = this.batching && this.batch !== undefined && (f & flag.LARGE) === 0 ? this.batch.take() : NONE;
    const address = slot < 0 || this.batch === undefined ? this.#buffer.address : this.batch.address(slot);
    const room = slot < 0 ? BUFFER_BYTES : MESSAGE_BYTES;
    const got = recv(fd[s] ?? -1, address, room, 0);
    if (got <= 0) return this.#nothing(s, got);
    if (got >= LARGE_BYTES) f |= (f & flag.LARGE) === 0 ? flag.LARGE : flag.BULK;
    else f &= ~flag.LARGE;
    // A short read has drained the queue; with the FIN already in, it was also the end. Urgent data breaks that rule.
    if (got < room && (f & flag.URGENT) === 0) f = (f & flag.RDHUP) === 0 ? f & ~flag.IN : (f & ~flag.IN) | flag.EOF;
    flags[s] = f;
    this.#beforeSend(t);
    const target = fd[t] ?? -1;
    // The FIN follows at once: let it ride on the last segment.
    const how = (f & flag.EOF) === 0 ? MSG_NOSIGNAL : MSG_NOSIGNAL | MSG_MORE;
    if (slot >= 0 && got < MESSAGE_BYTES) {
      flags[s] = (f | flag.BATCHED) & ~flag.PIPED;
      pending[s] = got;
      this.batch?.add(s, this.connections.generation[s] ?? 0, target, got, how | MSG_DONTWAIT);
      return BATCHED;
    }
    for (let sent = 0; ; ) {
      const took = send(target, address + sent, got - sent, how);
      if (took >= 0) {
        sent += took;
        if (sent < got) continue;
        bytes[s] = (bytes[s] ?? 0) + sent;
        return DRAINED;
      }
      const error = errno();
      if (error === EINTR) continue;
      if (error !== EAGAIN) return TARGET_FAILED;
      bytes[s] = (bytes[s] ?? 0) + sent;
      flags[t] = (flags[t] ?? 0) & ~flag.OUT;
      this.#spill(s, address + sent, got - sent);
      return DRAINED;
    }
  }

  /** What a flush made of a message. */
  #sent(s: number, slot: number, result: number): number {
    const { flags, bytes, pending } = this.connections;
    const length = this.batch?.length(slot) ?? 0;
    flags[s] = (flags[s] ?? 0) & ~flag.BATCHED;
    pending[s] = 0;
    if (result < 0 && result !== -EAGAIN && result !== -ECANCELED) return TARGET_FAILED;
    const took = Math.max(0, result);
    bytes[s] = (bytes[s] ?? 0) + took;
    if (took === length) return DRAINED;
    this.#spill(s, (this.batch?.address(slot) ?? 0) + took, length - took);
    // Only EAGAIN promises another EPOLLOUT.
    return this.#flush(s, s ^ 1);
  }

  #spill(s: number, address: number, length: number): void {
    const { flags, pending, skip, hold } = this.connections;
    flags[s] = (flags[s] ?? 0) & ~flag.PIPED;
    pending[s] = length;
    skip[s] = 0;
    hold[s] = this.#spills.keep(address, length);
  }

  #splice(s: number, t: number): number {
    const { fd, flags, pending } = this.connections;
    const pipe = this.pipes.take();
    const f = flags[s] ?? 0;
    if (pipe < 0) {
      flags[s] = f & ~(flag.BULK | flag.LARGE);
      return this.#copy(s, t);
    }
    const into = this.pipes.writeEnd[pipe] ?? -1;
    const got = splice(fd[s] ?? -1, 0, into, 0, SPLICE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (got <= 0) {
      this.pipes.give(pipe);
      return this.#nothing(s, got);
    }
    // The pipe may have been full before the queue was empty, so a short splice proves nothing: IN stays.
    if (got >= LARGE_BYTES) flags[s] = f | flag.LARGE | flag.PIPED;
    else flags[s] = ((f & flag.LARGE) === 0 ? f & ~flag.BULK : f & ~flag.LARGE) | flag.PIPED;
    pending[s] = got;
    this.connections.hold[s] = pipe;
    this.#beforeSend(t);
    return this.#flush(s, t);
  }

  /** A read gave no bytes: EOF, nothing for now, or a failure. */
  #nothing(s: number, result: number): number {
    const { flags } = this.connections;
    if (result === 0) {
      flags[s] = ((flags[s] ?? 0) & ~flag.IN) | flag.EOF;
      return DRAINED;
    }
    const error = errno();
    if (error === EINTR) return DRAINED;
    if (error !== EAGAIN) return SOURCE_FAILED;
    flags[s] = (flags[s] ?? 0) & ~flag.IN;
    return DRAINED;
  }

  /** Sends what waits. Goes on until EAGAIN even after a partial write: only EAGAIN promises another EPOLLOUT. */
  #flush(s: number, t: number): number {
    const { fd, flags, pending, hold, skip, bytes } = this.connections;
    const target = fd[t] ?? -1;
    const held = hold[s] ?? 0;
    const piped = ((flags[s] ?? 0) & flag.PIPED) !== 0;
    const from = piped ? (this.pipes.readEnd[held] ?? -1) : this.#spills.address(held);
    for (;;) {
      const left = pending[s] ?? 0;
      if (left === 0) {
        if (piped) this.pipes.give(held);
        else this.#spills.give(held);
        return DRAINED;
      }
      const took = piped
        ? splice(from, 0, target, 0, left, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
        : send(target, from + (skip[s] ?? 0), left, MSG_NOSIGNAL);
      if (took > 0) {
        pending[s] = left - took;
        skip[s] = (skip[s] ?? 0) + took;
        bytes[s] = (bytes[s] ?? 0) + took;
        continue;
      }
      const error = took < 0 ? errno() : EAGAIN;
      if (error === EINTR) continue;
      if (error !== EAGAIN) return TARGET_FAILED;
      flags[t] = (flags[t] ?? 0) & ~flag.OUT;
      return DRAINED;
    }
  }

  /** Nagle holds back only what follows unacknowledged data, so the first send needs no option; clients inherit it. */
  #beforeSend(t: number): void {
    const { flags, fd } = this.connections;
    const f = flags[t] ?? 0;
    if ((f & flag.NODELAY) !== 0) return;
    if ((f & flag.SENT) === 0) {
      flags[t] = f | flag.SENT;
      return;
    }
    flags[t] = f | flag.NODELAY;
    setInt(fd[t] ?? -1, IPPROTO_TCP, TCP_NODELAY, 1);
  }
}
