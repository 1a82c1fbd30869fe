/**
 * Owns following the file of --config while the program runs.
 *
 *   event, poll, SIGHUP -> read again -> what can change live is applied; the rest is named: it needs a restart
 *                                     -> faults, logged: what was read before stays in force
 */

import { FLAGS_OF_FIELDS, fieldOf } from '../config/kube-proxy-configuration-fields.js';
import type { Log } from '../config/log.js';
import type { Options } from '../config/options.js';
import { Debounce } from '../source/manifests/debounce.js';
import { DirectoryWatch } from '../source/manifests/directory-watch.js';
import { directoriesToWatch, listFiles } from '../source/manifests/listing.js';
import type { ResolvedRun } from './resolve-run.js';

export interface LiveConfigOptions {
  /** What runs. */
  readonly running: ResolvedRun;
  readonly resolve: () => Promise<ResolvedRun>;
  /** Takes over the options that may change while the program runs. */
  readonly apply: (options: Options) => void;
  readonly log: Log;
  readonly pollMs?: number;
}

/** Flags whose values `apply` takes over. */
const LIVE: readonly string[] = ['v', 'oom-score-adj'];

const QUIET_MS = 100;
const AT_MOST_MS = 500;
/** A file system that tells no events is looked at this often. */
const POLL_MS = 30_000;

export class LiveConfig {
  readonly #options: LiveConfigOptions;
  readonly #debounce: Debounce;
  readonly #watch: DirectoryWatch;
  /** The flags that run: those of the start, and what was applied since. */
  #running: Readonly<Record<string, unknown>>;
  /** What was said of the file last; said once. */
  #said = '';
  #poll: NodeJS.Timeout | undefined;
  /** The look under way, or the last one: they never overlap. */
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: LiveConfigOptions) {
    this.#options = options;
    this.#running = options.running.flags;
    this.#debounce = new Debounce({ quietMs: QUIET_MS, atMostMs: AT_MOST_MS, run: () => this.#lookLater() });
    // Any event in the directory: a ConfigMap swaps a link beside the file, and reading one small file is cheap.
    this.#watch = new DirectoryWatch({ onEvent: () => this.#debounce.trigger(), log: options.log });
  }

  async start(): Promise<void> {
    await this.#follow();
    this.#poll = setInterval(() => this.#lookLater(), this.#options.pollMs ?? POLL_MS).unref();
  }

  /** Resolves when the file is read again and what it says is applied or said. */
  reload(): Promise<void> {
    this.#looking = this.#looking.catch(() => undefined).then(() => this.#look());
    return this.#looking;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#poll);
    this.#debounce.stop();
    this.#watch.stop();
    await this.#looking.catch(() => undefined);
  }

  #lookLater(): void {
    this.reload().catch((err: unknown) => this.#options.log.error('could not read the configuration again', { err }));
  }

  async #look(): Promise<void> {
    if (this.#stopped) return;
    await this.#follow();
    const resolved = await this.#options.resolve();
    if (this.#stopped) return;
    if (resolved.faults.length > 0) return this.#sayFaults(resolved.faults);
    const flags: Readonly<Record<string, unknown>> = resolved.flags;
    const changed = [...FLAGS_OF_FIELDS].filter((flag) => !isSame(flags[flag], this.#running[flag]));
    const live = changed.filter((flag) => LIVE.includes(flag));
    if (live.length > 0) {
      this.#options.apply(resolved.options);
      this.#running = {
        ...this.#running,
        ...Object.fromEntries(live.map((flag) => [flag, flags[flag]])),
      };
      this.#options.log.info('configuration applied', { fields: fieldsText(live) });
    }
    this.#sayRestart(changed.filter((flag) => !LIVE.includes(flag)));
  }

  #sayFaults(faults: readonly string[]): void {
    if (!this.#isNews(`faults ${faults.join('\n')}`)) return;
    for (const fault of faults) {
      this.#options.log.warn('fault in the configuration, what was read before stays in force', { key: fault, fault });
    }
  }

  #sayRestart(flags: readonly string[]): void {
    if (!this.#isNews(fieldsText(flags)) || flags.length === 0) return;
    this.#options.log.warn('the configuration has changed, restart to apply it', { fields: fieldsText(flags) });
  }

  #isNews(said: string): boolean {
    if (said === this.#said) return false;
    this.#said = said;
    return true;
  }

  async #follow(): Promise<void> {
    const path = this.#options.running.config?.path;
    if (path === undefined) return;
    const isNewWatch = await this.#watch.follow(await directoriesToWatch(await listFiles([path])));
    // What came before the watch was missed.
    if (isNewWatch && !this.#stopped) this.#debounce.trigger();
  }
}

function fieldsText(flags: readonly string[]): string {
  return flags.map((flag) => fieldOf(flag) ?? flag).join(' ');
}

/** Values of flags are plain data. */
function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
