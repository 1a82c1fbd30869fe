/**
 * Owns an engine in a process of its own, for what cannot be shown in ours: a bound of descriptors, and what the engine alone uses.
 *
 *   EngineProcess -> fork -> RelayThreads -> engine ... /proc/<pid> -> descriptors, memory, CPU
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EngineChoice } from '../../lib/config/options.js';
import {
  type Backend,
  type Bound,
  type ConnectionRecord,
  defaultEngineOptions,
  type Engine,
  type EngineOptions,
  type EngineStats,
  type ListenerKey,
  type ListenerSpec,
} from '../../lib/relay/engine.js';
import { until } from './until.js';

export interface HostStart {
  readonly engine: EngineChoice;
  readonly threads: number;
  readonly options: EngineOptions;
}

export type HostMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly message: string }
  | { readonly kind: 'log'; readonly level: string; readonly message: string; readonly fields: Record<string, unknown> }
  | { readonly kind: 'record'; readonly record: ConnectionRecord };

export interface EngineProcessOptions {
  readonly engine: EngineChoice;
  readonly options?: Partial<EngineOptions>;
  /** RLIMIT_NOFILE, soft and hard. */
  readonly maxDescriptors?: number;
  /** A program that runs the rest of its arguments: `unshare`. */
  readonly wrapper?: readonly string[];
  /** Where `spec` and `lib` lie compiled; those that run now where there is none. */
  readonly root?: string;
}

/** USER_HZ: 100 on every Linux architecture that Node runs on. */
const MS_A_TICK = 10;
const PROGRAM = 'spec/support/programs/engine-host.js';
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export class EngineProcess implements Engine {
  readonly logs: Extract<HostMessage, { kind: 'log' }>[] = [];
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  readonly #ready: Promise<void>;
  #isReady: () => void = () => undefined;
  #cannotStart: (error: Error) => void = () => undefined;
  #lastId = 0;
  #ended: Error | undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (message: HostMessage) => this.#receive(message));
    this.#ready = new Promise((resolve, reject) => {
      this.#isReady = resolve;
      this.#cannotStart = reject;
      child.on('exit', () => reject(new Error('the engine did not start')));
    });
    child.on('exit', (code, signal) => {
      const ended = new Error(`the engine's process ended: ${signal ?? `code ${code}`}`);
      for (const { reject } of this.#waiting.values()) reject(ended);
      this.#ended = ended;
    });
  }

  static async start({
    engine,
    options,
    maxDescriptors,
    wrapper = [],
    root = ROOT,
  }: EngineProcessOptions): Promise<EngineProcess> {
    const start: HostStart = { engine, threads: 1, options: { ...defaultEngineOptions, ...options } };
    const node = [process.execPath, join(root, PROGRAM), JSON.stringify(start)];
    const limit = maxDescriptors === undefined ? [] : ['prlimit', `--nofile=${maxDescriptors}:${maxDescriptors}`];
    const [command = '', ...args] = [...wrapper, ...limit, ...node];
    const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const started = new EngineProcess(child);
    await started.#ready;
    return started;
  }

  open(listener: ListenerSpec, backends: readonly Backend[]): Promise<Bound> {
    return this.#call('open', listener, backends);
  }

  update(key: ListenerKey, backends: readonly Backend[]): Promise<Bound> {
    return this.#call('update', key, backends);
  }

  setAffinity(key: ListenerKey, affinityTimeoutMs: number | undefined): Promise<void> {
    return this.#call('setAffinity', key, affinityTimeoutMs);
  }

  close(key: ListenerKey, drainMs: number): Promise<void> {
    return this.#call('close', key, drainMs);
  }

  stats(): Promise<EngineStats> {
    return this.#call('stats');
  }

  async stop(drainMs: number): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    await this.#call('stop', drainMs);
    await exited;
  }

  /** Runs `work` while the engine does not: what arrives meanwhile is there at once for it. */
  async whileFrozen(work: () => Promise<void>): Promise<void> {
    const state = async () => /\) (\S)/.exec(await readFile(`/proc/${this.#child.pid}/stat`, 'utf8'))?.[1];
    this.#child.kill('SIGSTOP');
    try {
      await until('the engine to stand still', async () => (await state()) === 'T');
      await work();
    } finally {
      this.#child.kill('SIGCONT');
    }
  }

  /** Open descriptors. */
  async descriptors(): Promise<number> {
    return (await readdir(`/proc/${this.#child.pid}/fd`)).length;
  }

  /** What each open descriptor is: `socket:[4711]`, `anon_inode:[eventpoll]`. */
  async links(): Promise<readonly string[]> {
    return linksOf(this.#child.pid ?? 0);
  }

  async residentKB(): Promise<number> {
    const status = await readFile(`/proc/${this.#child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  }

  /** User and system time of all its threads (proc(5), fields 14 and 15). */
  async cpuMs(): Promise<number> {
    const stat = await readFile(`/proc/${this.#child.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * MS_A_TICK;
  }

  async #call<T>(method: keyof Engine, ...args: readonly unknown[]): Promise<T> {
    if (this.#ended !== undefined) throw this.#ended;
    this.#lastId += 1;
    const id = this.#lastId;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, method, args }, () => undefined);
    });
    return (await answer) as T;
  }

  #receive(message: HostMessage): void {
    if (message.kind === 'log') this.logs.push(message);
    if (message.kind === 'ready') this.#isReady();
    if (message.kind === 'failure' && message.id === 0) this.#cannotStart(new Error(message.message));
    if (message.kind !== 'result' && message.kind !== 'failure') return;
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.kind === 'result') waiting?.resolve(message.value);
    else waiting?.reject(new Error(message.message));
  }
}

/** What each open descriptor of a process is (proc(5), fd). */
export async function linksOf(pid: number): Promise<readonly string[]> {
  const numbers = await readdir(`/proc/${pid}/fd`);
  return Promise.all(numbers.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
}
