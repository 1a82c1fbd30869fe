/**
 * Owns one epoll instance and the events it last reported.
 *
 *   add(fd, events, id, generation) -> kernel -> wait -> events(i), id(i), generation(i)
 *
 * epoll_ctl(2): struct epoll_event is events (u32) and data (u64), packed on x86-64 (12 bytes, data at 4) and naturally aligned
 * elsewhere (16 bytes, data at 8). `data` carries the id of the owner in its low word and the generation of that id in the high
 * one: a descriptor that was closed and opened again within one batch shows events of the former owner, which the generation tells.
 */
import { EINTR, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD } from './constants.js';
import { close, epollCreate1, epollCtl, epollWait, errno, must } from './libc.js';
import { Memory } from './memory.js';

const PACKED = process.arch === 'x64';
const EVENT_WORDS = PACKED ? 3 : 4;
const DATA_WORD = PACKED ? 1 : 2;

export class Epoll {
  readonly #fd: number;
  readonly #capacity: number;
  readonly #events: Memory;
  readonly #one = new Memory(16);

  /** Reports up to `capacity` events in one `wait`. */
  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#events = new Memory(capacity * EVENT_WORDS * 4);
    this.#fd = must('epoll_create1', epollCreate1(EPOLL_CLOEXEC));
  }

  /** 0, or -1 with errno set. The kernel forgets a descriptor by itself when it is closed. */
  add(fd: number, events: number, id: number, generation: number): number {
    return this.#control(EPOLL_CTL_ADD, fd, events, id, generation);
  }

  modify(fd: number, events: number, id: number, generation: number): number {
    return this.#control(EPOLL_CTL_MOD, fd, events, id, generation);
  }

  remove(fd: number): number {
    return this.#control(EPOLL_CTL_DEL, fd, 0, 0, 0);
  }

  /** Blocks up to `timeoutMs` (-1: for ever) and returns the number of events; 0 also where a signal came. */
  wait(timeoutMs: number): number {
    const count = epollWait(this.#fd, this.#events.address, this.#capacity, timeoutMs);
    if (count >= 0) return count;
    if (errno() === EINTR) return 0;
    return must('epoll_wait', count);
  }

  events(index: number): number {
    return this.#events.words[index * EVENT_WORDS] ?? 0;
  }

  id(index: number): number {
    return this.#events.words[index * EVENT_WORDS + DATA_WORD] ?? 0;
  }

  generation(index: number): number {
    return this.#events.words[index * EVENT_WORDS + DATA_WORD + 1] ?? 0;
  }

  close(): void {
    close(this.#fd);
  }

  #control(operation: number, fd: number, events: number, id: number, generation: number): number {
    const { words, address } = this.#one;
    words[0] = events;
    words[DATA_WORD] = id;
    words[DATA_WORD + 1] = generation;
    return epollCtl(this.#fd, operation, fd, address);
  }
}
