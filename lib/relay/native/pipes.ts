/**
 * Owns the pipes that splice(2) needs between two sockets. They are pooled: a direction holds one only while bytes are in it, so
 * that a few serve thousands of connections.
 *
 *   take -> pipe -> splice in, splice out -> give (empty) | drop (bytes left)
 */
import { F_SETPIPE_SZ, O_CLOEXEC, O_NONBLOCK } from '../../sys/constants.js';
import { close, fcntl, pipe2 } from '../../sys/libc.js';
import { Memory } from '../../sys/memory.js';
import { Slots } from './slots.js';

/**
 * pipe(7): 16 pages by default, which a 64 KiB segment burst with one fragment a slot fills early. A user without
 * CAP_SYS_RESOURCE gets no more than pipe-user-pages-soft in all, and then pipes of two pages: those still work.
 */
const PIPE_BYTES = 1024 * 1024;
/** Empty pipes kept for the next flow; more are closed. */
const MAX_IDLE = 64;

export class Pipes {
  /** Descriptors by pipe number. */
  readonly readEnd: number[] = [];
  readonly writeEnd: number[] = [];
  /** Empty, last used last. */
  readonly #idle: number[] = [];
  readonly #slots = new Slots(64, () => undefined);
  readonly #pair = new Memory(8);
  /** The fewest that were idle at one time since the last `shrink`: so many were not needed. */
  #leastIdle = 0;

  /** Pipes that exist, idle ones included. */
  get size(): number {
    return this.#slots.used;
  }

  get idle(): number {
    return this.#idle.length;
  }

  /** An empty pipe, or -1 where none can be made (descriptors, memory): the caller copies instead. */
  take(): number {
    const pipe = this.#idle.pop();
    if (pipe === undefined) return this.#make();
    if (this.#idle.length < this.#leastIdle) this.#leastIdle = this.#idle.length;
    return pipe;
  }

  /** Gives an empty pipe back. */
  give(pipe: number): void {
    if (this.#idle.length < MAX_IDLE) this.#idle.push(pipe);
    else this.drop(pipe);
  }

  /** Closes a pipe; bytes in it are gone. */
  drop(pipe: number): void {
    close(this.readEnd[pipe] ?? -1);
    close(this.writeEnd[pipe] ?? -1);
    this.#slots.give(pipe);
  }

  /** Closes what was not needed since the last call. */
  shrink(): void {
    for (const pipe of this.#idle.splice(0, this.#leastIdle)) this.drop(pipe);
    this.#leastIdle = this.#idle.length;
  }

  /** Closes the idle ones: their descriptors are wanted elsewhere. */
  trim(): void {
    for (const pipe of this.#idle.splice(0)) this.drop(pipe);
    this.#leastIdle = 0;
  }

  #make(): number {
    if (pipe2(this.#pair.address, O_NONBLOCK | O_CLOEXEC) < 0) return -1;
    const pipe = this.#slots.take();
    const write = this.#pair.words[1] ?? -1;
    this.readEnd[pipe] = this.#pair.words[0] ?? -1;
    this.writeEnd[pipe] = write;
    fcntl(write, F_SETPIPE_SZ, PIPE_BYTES);
    return pipe;
  }
}

/** What one splice into a pipe of this pool may ask for. The pipe's own capacity bounds what it gets. */
export const SPLICE_BYTES = 4 * 1024 * 1024;
