/**
 * Owns one relay thread from the outside: calls that wait for their answers, and its end.
 *
 *   Engine method -> call -> worker -> Promise
 */
import { Worker } from 'node:worker_threads';
import type { EngineEvents } from '../engine.js';
import { type Call, type FromWorker, type Request, unpackError, type WorkerStart } from './messages.js';

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A thread that does not end by itself this long after it stopped is ended. */
const END_MS = 1_000;

export class RelayThread {
  /** The engine in use; '' before `ready`. */
  engine = '';
  readonly #worker: Worker;
  readonly #events: EngineEvents;
  readonly #waiting = new Map<number, Waiting>();
  readonly #exited: Promise<void>;
  #isReady: () => void = () => undefined;
  #nextId = 1;
  #stopping = false;
  #dead: Error | undefined;

  /** `onDeath` is told once when the thread ends without having been asked to. */
  constructor(start: WorkerStart, events: EngineEvents, onDeath: (error: Error) => void) {
    this.#events = events;
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: start, name: 'relay' });
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    let failure: Error | undefined;
    this.#worker.on('error', (error: Error) => {
      failure = error;
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        this.#fail(new Error(`a relay thread ended (exit code ${code})`, { cause: failure }));
        resolve();
        if (!this.#stopping && this.#dead !== undefined) onDeath(this.#dead);
      });
    });
  }

  /** Resolves when its engine is made; rejects where it cannot be. */
  async ready(): Promise<void> {
    const made = new Promise<void>((resolve) => {
      this.#isReady = resolve;
    });
    const ended = this.#exited.then(() => Promise.reject(this.#dead));
    ended.catch(() => undefined);
    await Promise.race([made, ended]);
  }

  async call<T>(call: Call): Promise<T> {
    if (this.#dead !== undefined) throw this.#dead;
    const id = this.#nextId++;
    const request: Request = { id, call };
    const answer = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#worker.postMessage(request);
    return (await answer) as T;
  }

  /** Ends the thread when its connections have ended, or `drainMs` is over. */
  async stop(drainMs: number): Promise<void> {
    if (this.#stopping || this.#dead !== undefined) return this.#exited;
    this.#stopping = true;
    await this.call({ op: 'stop', drainMs });
    const timer = setTimeout(() => void this.#worker.terminate(), END_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case 'ready':
        this.engine = message.engine;
        this.#isReady();
        return;
      case 'log':
        this.#events.log(message.level, message.message, message.fields);
        return;
      case 'record':
        this.#events.record(message.record);
        return;
      case 'value':
        this.#take(message.id)?.resolve(message.value);
        return;
      case 'error':
        this.#take(message.id)?.reject(unpackError(message.error));
        return;
    }
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }

  #fail(error: Error): void {
    this.#dead = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
