/**
 * Owns one process inside a namespace: its output as text, waiting for a line of it, and its end.
 *
 *   Namespace.spawn -> Child -> waitFor(text) -> stop(signal)
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { until } from '../until.js';

export interface Exit {
  /** null where a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process that prints for ever must not fill our memory: the oldest text goes. */
const KEPT_CHARACTERS = 4_000_000;

export class Child {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  #exit: Exit | undefined;
  #stdout = '';
  #stderr = '';

  private constructor(
    private readonly process: ChildProcessWithoutNullStreams,
    private readonly title: string,
  ) {
    this.pid = process.pid ?? 0;
    process.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout = (this.#stdout + text).slice(-KEPT_CHARACTERS);
    });
    process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT_CHARACTERS);
    });
    // A process that ended before it read everything is reported by its exit, not by EPIPE.
    process.stdin.on('error', () => undefined);
    this.exited = new Promise((resolve) => {
      process.on('close', (code, signal) => {
        this.#exit = { code, signal };
        resolve(this.#exit);
      });
      // A program that cannot be run at all: `close` may not follow.
      process.on('error', (error) => {
        this.#stderr += `${error.message}\n`;
        this.#exit ??= { code: 127, signal: null };
        resolve(this.#exit);
      });
    });
  }

  /**
   * Starts a program. It leads a process group, so that what it forks goes with it, and dies with us even where we are
   * killed outright (`setpriv --pdeathsig`: exec keeps it).
   */
  static start(command: string, args: readonly string[], env?: NodeJS.ProcessEnv): Child {
    const argv = ['--pdeathsig', 'KILL', '--', command, ...args];
    const process_ = spawn('setpriv', argv, { detached: true, stdio: 'pipe', env: { ...process.env, ...env } });
    return new Child(process_, [command, ...args].join(' '));
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** Resolves when the text stands in stdout or stderr; rejects, with all output, when the process ends without it. */
  async waitFor(text: string | RegExp, timeoutMs = 10_000): Promise<void> {
    const has = (all: string) => (typeof text === 'string' ? all.includes(text) : text.test(all));
    const found = await until(
      `${this.title} to print ${text}; it printed: ${this.#output()}`,
      () => {
        if (has(this.#stdout) || has(this.#stderr)) return 'yes';
        return this.#exit === undefined ? undefined : 'ended';
      },
      timeoutMs,
    );
    if (found === 'ended') throw new Error(`${this.title} ended before it printed ${text}: ${this.#output()}`);
  }

  write(text: string): void {
    this.process.stdin.write(text);
  }

  /** Closes its stdin. */
  end(text = ''): void {
    this.process.stdin.end(text);
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#exit === undefined && this.pid > 0) this.process.kill(signal);
  }

  /** Ends it: the signal to the process, SIGKILL to its whole group after `withinMs`. Resolves with how it ended. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', withinMs = 5_000): Promise<Exit> {
    this.kill(signal);
    const timer = setTimeout(() => this.killGroup(), withinMs);
    const exit = await this.exited;
    clearTimeout(timer);
    return exit;
  }

  /** Synchronous, for teardown. A no-op once it has ended: its pid may by then be somebody else's. */
  killGroup(): void {
    if (this.#exit !== undefined || this.pid === 0) return;
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // ESRCH: it ended just now.
    }
  }

  #output(): string {
    return JSON.stringify({ stdout: this.#stdout.slice(-2_000), stderr: this.#stderr.slice(-2_000) });
  }
}
