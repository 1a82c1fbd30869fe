/**
 * Owns one worker as its host sees it: starts it, calls its engine, notices its end.
 *
 *   call -> postMessage, wake -> worker -> answer -> promise
 *   the worker ends unasked -> calls under way reject -> died
 */
import { closeSync, writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { setHeapFlags, threadLimits } from '../../config/heap.js';
import { type EngineEvents, ListenError } from '../engine.js';
import {
  type Arguments,
  errorOf,
  type FromThread,
  type Halt,
  type Method,
  type Result,
  type ThreadData,
} from './messages.js';

/** An engine cannot run on this machine, or a thread did not start. */
export class EngineUnavailableError extends Error {
  override readonly name = 'EngineUnavailableError';
  readonly code = 'ENGINE_UNAVAILABLE';
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** A thread that was asked to stop, and has nothing left to do, ends within this time or is ended. */
const EXIT_GRACE_MS = 2_000;
/** What an eventfd takes: an integer of 8 bytes. */
const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

export class RelayThread {
  readonly #worker: Worker;
  readonly #events: EngineEvents;
  readonly #died: (reason: Error) => void;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  #lastId = 0;
  #wakeFd: number | undefined;
  #failure: Error | undefined;
  /** Why no call can succeed any more. A ListenError: it is one listener's fault, which is tried again (rule C3). */
  #gone: ListenError | undefined;
  #ready = false;
  #stopping = false;

  /** `died` is called at most once, after `start` has resolved, and never after `stop` or `halt`. */
  constructor(code: URL, data: ThreadData, name: string, events: EngineEvents, died: (reason: Error) => void) {
    this.#events = events;
    this.#died = died;
    this.#worker = new Worker(code, { workerData: data, name, resourceLimits: threadLimits() });
    this.#worker.on('error', (error) => {
      this.#failure = error;
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#ended(new Error(`relay thread ended with code ${code}`, { cause: this.#failure }));
        resolve();
      });
    });
  }

  /** Resolves when the engine runs. Rejects with `EngineUnavailableError`. */
  async start(): Promise<void> {
    const unavailable = await new Promise<string | undefined>((resolve) => {
      this.#worker.on('message', (message: FromThread) => {
        if (message.kind === 'ready') {
          this.#wakeFd = message.wakeFd;
          resolve(undefined);
        } else if (message.kind === 'unavailable') resolve(message.message);
        else this.#receive(message);
      });
      void this.#exited.then(() => resolve('its thread ended'));
    });
    if (unavailable === undefined) {
      this.#ready = true;
      setHeapFlags();
      return;
    }
    this.#stopping = true;
    await this.#worker.terminate();
    throw new EngineUnavailableError(unavailable, { cause: this.#failure });
  }

  call<M extends Method>(method: M, ...args: Arguments<M>): Promise<Result<M>> {
    return new Promise<unknown>((resolve, reject) => {
      if (this.#gone !== undefined) {
        reject(this.#gone);
        return;
      }
      this.#lastId += 1;
      this.#pending.set(this.#lastId, { resolve, reject });
      this.#post({ id: this.#lastId, method, args });
    }) as Promise<Result<M>>;
  }

  /** Stops the engine, then the thread. */
  async stop(drainMs: number): Promise<void> {
    this.#stopping = true;
    await this.call('stop', drainMs).catch(() => undefined);
    const late = setTimeout(() => void this.#worker.terminate(), EXIT_GRACE_MS);
    await this.#exited;
    clearTimeout(late);
  }

  /** For the end of the process, which would wait for a thread that is blocked. */
  halt(): void {
    this.#stopping = true;
    this.#post({ method: 'halt' });
  }

  #post(message: Halt | { readonly id: number; readonly method: Method; readonly args: readonly unknown[] }): void {
    this.#worker.postMessage(message);
    if (this.#wakeFd !== undefined) writeSync(this.#wakeFd, ONE);
  }

  #receive(message: FromThread): void {
    switch (message.kind) {
      case 'log':
        this.#events.log(...message.line);
        break;
      case 'record':
        this.#events.record(message.record);
        break;
      case 'result':
        this.#settle(message.id)?.resolve(message.value);
        break;
      case 'failure':
        this.#settle(message.id)?.reject(errorOf(message.failure));
        break;
    }
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #ended(reason: Error): void {
    // Closed here and not in the thread: a call after its end must not write to whatever has taken the number.
    if (this.#wakeFd !== undefined) closeSync(this.#wakeFd);
    this.#wakeFd = undefined;
    this.#gone = new ListenError('EPIPE', 'its relay thread ended', { cause: reason });
    for (const { reject } of this.#pending.values()) reject(this.#gone);
    this.#pending.clear();
    if (this.#ready && !this.#stopping) this.#died(reason);
  }
}
