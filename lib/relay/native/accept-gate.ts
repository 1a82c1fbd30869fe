/**
 * Owns what happens when descriptors run out (rule T8): accepting pauses everywhere at once, idle things are let go, and after a
 * moment it goes on. Listening sockets are level-triggered: one that cannot accept must leave epoll, or the loop would spin.
 *
 *   EMFILE, ENFILE, ENOMEM -> pause -> (listeners out of epoll) -> RETRY_MS -> (listeners back in) -> waiting dials first
 */
import { EADDRNOTAVAIL, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM } from '../../sys/constants.js';
import { errnoName } from '../../sys/errors.js';
import type { EngineEvents } from '../engine.js';
import type { Part } from './loop.js';

const RETRY_MS = 100;
/** Pauses that follow each other this closely are one spell: counted and told once. */
const SPELL_MS = 5_000;

/** The call failed for want of descriptors or memory: nobody's fault but ours, and it will pass. */
export function isExhaustion(errno: number): boolean {
  return errno === EMFILE || errno === ENFILE || errno === ENOBUFS || errno === ENOMEM;
}

/** A failed dial that says nothing about the backend. */
export function isLocalFault(errno: number): boolean {
  return isExhaustion(errno) || errno === EADDRNOTAVAIL || errno === EINVAL;
}

export class AcceptGate implements Part {
  /** Spells in which accepting stopped. */
  pauses = 0;
  #resumeAt = 0;
  #pausedAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly events: EngineEvents,
    private readonly on: { readonly paused: (nowMs: number) => void; readonly resumed: (nowMs: number) => void },
  ) {}

  get paused(): boolean {
    return this.#resumeAt !== 0;
  }

  pause(nowMs: number, errno: number): void {
    if (this.paused) return;
    this.#resumeAt = nowMs + RETRY_MS;
    const sameSpell = nowMs - this.#pausedAt < SPELL_MS;
    this.#pausedAt = nowMs;
    if (!sameSpell) {
      this.pauses += 1;
      const message = 'out of file descriptors: accepting pauses and idle UDP flows end';
      this.events.log('error', message, { code: errnoName(errno) });
    }
    this.on.paused(nowMs);
  }

  waitMs(nowMs: number): number {
    return this.paused ? Math.max(0, Math.ceil(this.#resumeAt - nowMs)) : -1;
  }

  afterBatch(nowMs: number): void {
    if (!this.paused || nowMs < this.#resumeAt) return;
    this.#resumeAt = 0;
    this.on.resumed(nowMs);
  }
}
