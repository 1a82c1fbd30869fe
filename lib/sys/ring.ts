/**
 * Owns one io_uring (io_uring(7)): calls that are collected and then made by a single one into the kernel, one after another,
 * where no other process runs in between.
 *
 *   send -> submission entries -> submit (io_uring_enter) -> completion entries -> done(id, result)
 *
 * Only calls that never wait are made this way (sockets with MSG_DONTWAIT), so all of them are complete when `submit` returns.
 *
 *   io_uring_params  entries 0, completion entries 4, features 20, submission offsets 40, completion offsets 80           120 bytes
 *     submission offsets  head 0, tail 4, mask 8, array 24     completion offsets  head 0, tail 4, mask 8, entries 20
 *   io_uring_sqe     operation 0 (u8), fd 4, address 16 (u64), length 24, msg_flags 28, user_data 32 (u64), zeros          64 bytes
 *   io_uring_cqe     user_data 0 (u64), result 8 (negative: errno), flags 12                                             16 bytes
 */
import * as linux from './constants.js';
import { SystemError } from './errors.js';
import { close, errno, ioUringEnter, ioUringSetup, mmap, munmap, must, viewOf } from './libc.js';
import { Memory } from './memory.js';

const PARAMS_BYTES = 120;
const ENTRY_WORDS = 16;
const COMPLETION_WORDS = 4;

/** `result` is that of the call, or a negative errno. */
export type Done = (id: number, result: number) => void;

export class Ring {
  readonly #fd: number;
  readonly #mapped: (readonly [address: number, bytes: number])[] = [];
  /** Shared with the kernel: heads, tails, and the completions. */
  #shared: Int32Array = new Int32Array(0);
  #entries: Int32Array = new Int32Array(0);
  readonly #mask: number;
  readonly #tailAt: number;
  readonly #headAt: number;
  readonly #completion: { readonly head: number; readonly tail: number; readonly mask: number; readonly at: number };
  #tail = 0;
  #pending = 0;
  #closed = false;
  /** Completions are copied before anybody is told: `done` may collect the next calls. */
  readonly #done: Int32Array;

  /** Room for `capacity` calls, a power of two. Throws `SystemError` where the kernel or a container forbids it. */
  constructor(readonly capacity: number) {
    const params = new Memory(PARAMS_BYTES);
    const { words } = params;
    this.#fd = must('io_uring_setup', ioUringSetup(capacity, params.address));
    this.#done = new Int32Array(2 * capacity);
    try {
      const word = (offset: number): number => words[offset >> 2] ?? 0;
      if ((word(20) & linux.IORING_FEAT_SINGLE_MMAP) === 0) throw new SystemError('io_uring_setup', linux.EINVAL);
      const bytes = Math.max(word(40 + 24) + 4 * word(0), word(80 + 20) + 16 * word(4));
      this.#shared = this.#map(bytes, linux.IORING_OFF_SQ_RING);
      this.#entries = this.#map(word(0) * ENTRY_WORDS * 4, linux.IORING_OFF_SQES);
      this.#mask = this.#shared[word(40 + 8) >> 2] ?? 0;
      this.#headAt = word(40) >> 2;
      this.#tailAt = word(40 + 4) >> 2;
      const mask = this.#shared[word(80 + 8) >> 2] ?? 0;
      this.#completion = { head: word(80) >> 2, tail: word(80 + 4) >> 2, mask, at: word(80 + 20) >> 2 };
      const array = word(40 + 24) >> 2;
      for (let index = 0; index < word(0); index++) this.#shared[array + index] = index;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Calls collected and not made. */
  get pending(): number {
    return this.#pending;
  }

  /** As send(2). Memory must stay as it is until `submit`. */
  send(fd: number, address: number, length: number, flags: number, id: number): void {
    if (this.#pending === this.capacity) throw new RangeError(`a ring of ${this.capacity} is full`);
    const entries = this.#entries;
    const at = (this.#tail & this.#mask) * ENTRY_WORDS;
    // The words that no call of ours uses are zero from the start.
    entries[at] = linux.IORING_OP_SEND;
    entries[at + 1] = fd;
    entries[at + 4] = address | 0;
    entries[at + 5] = Math.floor(address / 2 ** 32);
    entries[at + 6] = length;
    entries[at + 7] = flags;
    entries[at + 8] = id;
    this.#tail = (this.#tail + 1) | 0;
    this.#pending += 1;
  }

  /**
   * Makes the calls, in order, and reports each to `done`, which must not submit itself. Those that the kernel does not take, since
   * it is short of something, fail with ECANCELED: nothing of them was done. Throws `SystemError` where it has taken calls and never ends them.
   */
  submit(done: Done): void {
    const count = this.#pending;
    if (count === 0) return;
    this.#pending = 0;
    this.#shared[this.#tailAt] = this.#tail;
    for (let completed = 0; completed < count; ) {
      const error = this.#enter(count - completed);
      completed = this.#collect(completed);
      if (error !== 0) completed = this.#takeBack(completed, error);
    }
    for (let i = 0; i < count; i++) done(this.#done[2 * i] ?? 0, this.#done[2 * i + 1] ?? 0);
  }

  /** What is pending is never made. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    close(this.#fd);
    this.#shared = new Int32Array(0);
    this.#entries = new Int32Array(0);
    for (const [address, bytes] of this.#mapped.splice(0)) munmap(address, bytes);
  }

  /** Lets the kernel take what it has not taken, and waits until `count` completions are there. Returns an errno, 0 for none. */
  #enter(count: number): number {
    const left = (this.#tail - (this.#shared[this.#headAt] ?? 0)) | 0;
    const result = ioUringEnter(this.#fd, left, count, linux.IORING_ENTER_GETEVENTS);
    const error = result < 0 ? errno() : 0;
    return error === linux.EINTR ? 0 : error;
  }

  /** What the kernel has not taken fails. */
  #takeBack(completed: number, error: number): number {
    const head = this.#shared[this.#headAt] ?? 0;
    // With all of them taken there is nothing to wait for, and nobody to tell.
    if (head === this.#tail) throw new SystemError('io_uring_enter', error);
    let count = completed;
    for (let one = head; one !== this.#tail; one = (one + 1) | 0, count++) {
      this.#done[2 * count] = this.#entries[(one & this.#mask) * ENTRY_WORDS + 8] ?? 0;
      this.#done[2 * count + 1] = -linux.ECANCELED;
    }
    this.#tail = head;
    this.#shared[this.#tailAt] = head;
    return count;
  }

  #collect(completed: number): number {
    const shared = this.#shared;
    const { head: headAt, tail: tailAt, mask, at } = this.#completion;
    const tail = shared[tailAt] ?? 0;
    let head = shared[headAt] ?? 0;
    let count = completed;
    for (; head !== tail; head = (head + 1) | 0, count++) {
      const completion = at + (head & mask) * COMPLETION_WORDS;
      this.#done[2 * count] = shared[completion] ?? 0;
      this.#done[2 * count + 1] = shared[completion + 2] ?? 0;
    }
    shared[headAt] = head;
    return count;
  }

  #map(bytes: number, offset: number): Int32Array {
    const address = mmap(0, bytes, linux.PROT_READ_WRITE, linux.MAP_SHARED_POPULATE, this.#fd, offset);
    if (address === linux.MAP_FAILED) throw new SystemError('mmap', errno());
    this.#mapped.push([address, bytes]);
    return new Int32Array(viewOf(address, bytes));
  }
}
