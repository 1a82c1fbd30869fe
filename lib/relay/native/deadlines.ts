/**
 * Owns the deadlines of connections: dial, drain, half-close, silence, and the moment a connection counts as lasting. Each has one
 * entry in the wheel, at the earliest; which it was, and when the next one is, is looked up when it passes.
 *
 *   whenConnected, whenHalfClosed, whenFailed -> wheel ... passed(slot) -> dialer.failed | end(outcome) | scheduled again
 */
import { ETIMEDOUT } from '../../sys/constants.js';
import type { EngineOptions } from '../engine.js';
import { type Connections, DIALING, ESTABLISHED, FREE } from './connections.js';
import type { Dialer } from './dialer.js';
import * as flag from './flags.js';
import type { Loop } from './loop.js';
import * as outcome from './outcomes.js';
import { setBackendOptions } from './tcp-options.js';
import type { TimerWheel } from './wheel.js';

/** A peer that reads nothing may hold up the RST that is behind its bytes for this long. */
const RESET_LINGER_MS = 5_000;

export class Deadlines {
  constructor(
    private readonly connections: Connections,
    private readonly loop: Loop,
    private readonly wheel: TimerWheel,
    private readonly dialer: Dialer,
    private readonly options: EngineOptions,
    /** Ends a connection, both sides by RST. */
    private readonly end: (slot: number, how: number) => void,
  ) {}

  whenConnected(slot: number): void {
    this.#schedule(slot, this.options.tcpIdleTimeoutMs);
  }

  whenHalfClosed(slot: number): void {
    this.#schedule(slot, this.options.halfCloseTimeoutMs);
  }

  whenFailed(slot: number): void {
    this.#schedule(slot, RESET_LINGER_MS);
  }

  /** The connection has until `atMs`, whatever it does (rule T11). */
  drain(slot: number, atMs: number): void {
    this.connections.drainAt[slot] = atMs;
    this.wheel.schedule(slot, atMs);
  }

  /** For the wheel: the deadline of a slot is over. */
  readonly passed = (slot: number): void => {
    const state = this.connections.state[slot];
    if (state === FREE) return;
    const drainAt = this.connections.drainAt[slot] ?? 0;
    if (drainAt > 0 && this.loop.nowMs >= drainAt) {
      this.end(slot, outcome.DRAINED);
      return;
    }
    if (drainAt > 0) this.wheel.schedule(slot, drainAt);
    if (state === ESTABLISHED) this.#passedEstablished(slot);
    else this.#passedDial(slot);
  };

  #passedDial(slot: number): void {
    const until = this.connections.dialUntil[slot] ?? 0;
    if (this.loop.nowMs < until) this.wheel.schedule(slot, until);
    else if (this.connections.state[slot] === DIALING) this.dialer.failed(slot, ETIMEDOUT);
    else this.end(slot, outcome.DIAL_FAILED);
  }

  #passedEstablished(slot: number): void {
    const { flags } = this.connections;
    this.#mature(slot);
    const client = flags[2 * slot] ?? 0;
    const both = client | (flags[2 * slot + 1] ?? 0);
    if ((both & flag.FAILED) !== 0) {
      const how = (client & flag.FAILED) === 0 ? outcome.BACKEND_RESET : outcome.CLIENT_RESET;
      if (this.#overdue(slot, RESET_LINGER_MS, how)) return;
    }
    if ((both & flag.FIN) !== 0 && this.#overdue(slot, this.options.halfCloseTimeoutMs, outcome.HALF_CLOSE_TIMEOUT))
      return;
    this.#overdue(slot, this.options.tcpIdleTimeoutMs, outcome.IDLE_TIMEOUT);
  }

  /** Ends a connection that has been silent for `limitMs` (0: no bound), else looks again when it would have been. */
  #overdue(slot: number, limitMs: number, how: number): boolean {
    if (limitMs === 0) return false;
    const at = (this.connections.activeAt[slot] ?? 0) + limitMs;
    if (this.loop.nowMs >= at) {
      this.end(slot, how);
      return true;
    }
    this.wheel.schedule(slot, at);
    return false;
  }

  /** What only a lasting connection needs is set when its dial deadline passes: a short one saves the calls (rule T6). */
  #mature(slot: number): void {
    const b = 2 * slot + 1;
    const flags = this.connections.flags[b] ?? 0;
    if ((flags & flag.MATURE) !== 0) return;
    this.connections.flags[b] = flags | flag.MATURE;
    setBackendOptions(this.connections.fd[b] ?? -1);
  }

  #schedule(slot: number, afterMs: number): void {
    if (afterMs > 0) this.wheel.schedule(slot, this.loop.nowMs + afterMs);
  }
}
