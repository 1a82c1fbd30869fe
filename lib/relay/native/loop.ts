/**
 * Owns the turn of a relay thread: wait, hand events to the parts, let timers and left-over work run, wait again. It blocks its
 * thread in epoll_wait and goes back to Node's own loop only when the control plane has something to say.
 *
 *   epoll_wait -> events -> part.ready(index, generation, events) -> part.afterBatch -> epoll_wait ...
 *   host: postMessage, wake -> eventfd -> the turns pause -> Node delivers the messages -> setImmediate -> the turns go on
 */
import { EFD_CLOEXEC, EFD_NONBLOCK, EPOLLIN } from '../../sys/constants.js';
import { Epoll } from '../../sys/epoll.js';
import { eventfd, must, read } from '../../sys/libc.js';
import { Memory } from '../../sys/memory.js';

/** A part's descriptors carry its number in the upper bits of their id; 28 bits are left for its own index. */
export type Kind = 0 | 1 | 2 | 3;
export const TCP_SOCKET: Kind = 0;
export const TCP_LISTENER: Kind = 1;
export const UDP_LISTENER: Kind = 2;
export const UDP_FLOW: Kind = 3;
const WAKE = 4;
const KIND_SHIFT = 28;
const INDEX_MASK = (1 << KIND_SHIFT) - 1;

const MAX_EVENTS = 256;

/** Receives the events of one kind. `generation` is what `add` was given: an index may have another owner by now. */
export type Ready = (index: number, generation: number, events: number) => void;

export interface Part {
  /** After every batch of events: left-over work and deadlines. */
  afterBatch(nowMs: number): void;
  /** Milliseconds until `afterBatch` has work without any event; 0: at once, -1: never. */
  waitMs(nowMs: number): number;
}

export class Loop {
  /** Of the current turn; monotonic. One clock read serves a whole batch. */
  nowMs = performance.now();
  /**
   * eventfd(2): 8 bytes written to it end the wait. It stays open: the host may still write to it after `stop`, and must not hit a
   * descriptor that has taken its number. The host closes it when the thread has ended.
   */
  readonly wakeFd: number;
  /** Events of the current turn. */
  ready = 0;
  readonly #epoll = new Epoll(MAX_EVENTS);
  readonly #handlers: Ready[] = [];
  readonly #parts: Part[] = [];
  readonly #count = new Memory(8);
  #pausing = false;
  #stopped = false;

  constructor() {
    this.wakeFd = must('eventfd', eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    must('epoll_ctl', this.#epoll.add(this.wakeFd, EPOLLIN, WAKE << KIND_SHIFT, 0));
  }

  handle(kind: Kind, ready: Ready): void {
    this.#handlers[kind] = ready;
  }

  addPart(part: Part): void {
    this.#parts.push(part);
  }

  /** 0, or -1 with errno set. A descriptor that is closed leaves by itself. */
  watch(fd: number, events: number, kind: Kind, index: number, generation: number): number {
    return this.#epoll.add(fd, events, (kind << KIND_SHIFT) | index, generation);
  }

  unwatch(fd: number): void {
    this.#epoll.remove(fd);
  }

  /** Lets Node run once before the next wait: a promise of the control plane was settled. */
  pauseSoon(): void {
    this.#pausing = true;
  }

  start(): void {
    setImmediate(this.#turns);
  }

  /** Ends the turns. Call it from outside a turn. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#epoll.close();
  }

  readonly #turns = (): void => {
    if (this.#stopped) return;
    this.#pausing = false;
    while (!this.#pausing) this.#turn();
    setImmediate(this.#turns);
  };

  #turn(): void {
    const count = this.#epoll.wait(this.#waitMs());
    this.nowMs = performance.now();
    this.ready = count;
    for (let i = 0; i < count; i++) {
      const id = this.#epoll.id(i);
      const kind = id >>> KIND_SHIFT;
      if (kind === WAKE) this.#woken();
      else this.#handlers[kind]?.(id & INDEX_MASK, this.#epoll.generation(i), this.#epoll.events(i));
    }
    for (const part of this.#parts) part.afterBatch(this.nowMs);
  }

  #waitMs(): number {
    let least = -1;
    for (const part of this.#parts) {
      const wait = part.waitMs(this.nowMs);
      if (wait >= 0 && (least < 0 || wait < least)) least = wait;
    }
    return least;
  }

  #woken(): void {
    read(this.wakeFd, this.#count.address, 8);
    this.#pausing = true;
  }
}
