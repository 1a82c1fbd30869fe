/**
 * Owns looking after rules that somebody else may change: compares and repairs once per sync period (rule R5).
 *
 *   every periodMs -> Redirector.repair -> log
 */
import type { Log } from '../config/log.js';
import type { Redirector } from '../redirect/redirector.js';

export class RepairLoop {
  readonly #redirector: Redirector;
  readonly #periodMs: number;
  readonly #log: Log;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(redirector: Redirector, periodMs: number, log: Log) {
    this.#redirector = redirector;
    this.#periodMs = periodMs;
    this.#log = log;
  }

  start(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#repair().finally(() => this.start());
    }, this.#periodMs);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #repair(): Promise<void> {
    try {
      const repaired = await this.#redirector.repair();
      if (repaired !== undefined) this.#log.warn('rules were changed by somebody else and are repaired', { repaired });
    } catch (error) {
      this.#log.error('cannot compare or repair rules', { err: error });
    }
  }
}
