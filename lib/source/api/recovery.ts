/**
 * Owns what a reflector does next: which request, after which wait, and what is said of it in the log.
 *
 *   begin -> stream | list | check | watch -> opened, listed, ended, failed(error) -> wait -> begin ...
 *
 *   what happened                          what follows
 *   the watch ended                        resume at once
 *   410 Gone, by HTTP or in the stream     list anew at once; again soon after: with backoff
 *   version unknown yet, runs backwards    list the latest from storage
 *   no answer, broke off, silent           resume with backoff; after long: check first that it is the same history
 *   429, 5xx                               resume with backoff, not before Retry-After
 *   bad events, three times in a row       list anew
 *   403                                    slowly again; said once, with verb, resource and what is lost
 *   404                                    slowly again; the owner may fall back
 *   a stream refused                       lists from now on
 */
import type { Log } from '../../config/log.js';
import type { ApiError } from './api-error.js';
import { Backoff } from './backoff.js';
import type { Resource } from './resource.js';
import type { Timers } from './timers.js';

export type Step = 'stream' | 'list' | 'check' | 'watch';

export interface RecoveryOptions {
  readonly resource: Resource;
  readonly timers: Timers;
  readonly log: Log;
  readonly random?: (() => number) | undefined;
  readonly onNotServed?: () => void;
}

/** A watch that lived this long wipes out the failures before it. */
const GOOD_SPELL_MS = 30_000;
/** A server away for this long may come back with a restored backup. */
const LONG_AWAY_MS = 30_000;
/** A permission, or an API, does not come by itself. */
const SLOW_MS = 60_000;
const MAX_BARREN = 3;
/** How a server, or what stands before it, says that it does not know streams. */
const REFUSES_STREAM: ReadonlySet<number | undefined> = new Set([400, 403, 405, 406, 415, 422, 501]);
/** Refusals of a watch that say nothing of its version. */
const KEEPS_VERSION: ReadonlySet<number> = new Set([401, 403, 408, 429]);

export class Recovery {
  readonly #options: RecoveryOptions;
  readonly #backoff: Backoff;
  #mustList = true;
  #mustCheck = false;
  #canStream = true;
  /** The server does not have the version that we know, any more or yet. */
  #isVersionUnavailable = false;
  #step: Step = 'stream';
  #isOpen = false;
  /** Failures in the stream since the last event that was good. */
  #barren = 0;
  #failingSinceMs: number | undefined;
  #saidDenied = '';
  #isSaid = false;

  constructor(options: RecoveryOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.random);
  }

  get isVersionUsable(): boolean {
    return !this.#isVersionUnavailable;
  }

  /** What to do now. */
  begin(): Step {
    this.#isOpen = false;
    if (this.#mustList) this.#step = this.#canStream ? 'stream' : 'list';
    else this.#step = this.#mustCheck ? 'check' : 'watch';
    return this.#step;
  }

  listAnew(): void {
    this.#mustList = true;
    this.#isVersionUnavailable = true;
  }

  /** A watch, or a stream, was granted. */
  opened(): void {
    this.#isOpen = true;
    if (this.#step === 'watch') this.#reached();
  }

  listed(): void {
    this.#mustList = false;
    this.#mustCheck = false;
    this.#isVersionUnavailable = false;
    this.#barren = 0;
    // What follows in a stream is a watch.
    this.#step = 'watch';
    this.#reached();
  }

  checked(): void {
    this.#mustCheck = false;
  }

  /** A request came to its regular end. A watch without even a bookmark proves nothing. */
  ended(livedMs: number, events: number): void {
    if (livedMs >= GOOD_SPELL_MS) this.#backoff.reset();
    if (events > 0) this.#barren = 0;
    else if (this.#isOpen) this.#mustCheck = true;
  }

  /** Returns how long to wait, in milliseconds. */
  failed(error: ApiError, livedMs: number, events: number): number {
    if (this.#isOpen && livedMs >= GOOD_SPELL_MS) this.#backoff.reset();
    if (events > 0) this.#barren = 0;
    this.#failingSinceMs ??= this.#options.timers.nowMs();
    if (this.#step === 'stream' && this.#refusesStream(error)) return this.#listInstead(error);
    const isGone = error.isExpired || error.isVersionTooLarge || error.code === 'HISTORY';
    if (isGone) return this.#goneDelayMs(error);
    const isDenied = error.status === 403 || (error.status === 404 && !this.#isOpen);
    if (isDenied && this.#step !== 'check') return this.#slowDelayMs(error);
    this.#judge(error);
    const delayMs = Math.max(this.#backoff.next(), error.retryAfterMs ?? 0);
    this.#sayFailed(error, delayMs);
    return delayMs;
  }

  #refusesStream(error: ApiError): boolean {
    if (error.code === 'BAD_ANSWER' || error.code === 'STALLED') return true;
    return error.code === 'STATUS' && !error.isExpired && !error.isVersionTooLarge && REFUSES_STREAM.has(error.status);
  }

  #listInstead(err: ApiError): number {
    this.#canStream = false;
    this.#options.log.debug('no streaming list, using plain ones', { resource: this.#options.resource.name, err });
    return 0;
  }

  #goneDelayMs(err: ApiError): number {
    const { log, resource } = this.#options;
    if (this.#step !== 'watch' || !err.isExpired) this.#isVersionUnavailable = true;
    this.#mustList = true;
    if (err.code === 'HISTORY')
      log.warn('the API server has another history than before', { resource: resource.name, err });
    else log.debug('what we know is too old, listing anew', { resource: resource.name, err });
    return Math.max(this.#backoff.nextAfterExpiry(), err.retryAfterMs ?? 0);
  }

  #slowDelayMs(error: ApiError): number {
    const { random = Math.random, onNotServed } = this.#options;
    this.#isSaid = true;
    if (error.status === 403) this.#sayDenied(error);
    else this.#sayNotServed(error);
    if (error.status === 404) onNotServed?.();
    return SLOW_MS * (1 + random());
  }

  #judge(error: ApiError): void {
    const { status, code } = error;
    if (this.#step === 'check' && status !== undefined && status < 500) this.#mustCheck = false;
    const isWatch = this.#step === 'watch';
    const isRefused = status !== undefined && status < 500 && !KEEPS_VERSION.has(status);
    if (isWatch && isRefused) this.listAnew();
    if (isWatch && this.#isOpen && (code === 'STATUS' || code === 'BAD_ANSWER') && ++this.#barren >= MAX_BARREN) {
      this.#mustList = true;
    }
    const awayMs = this.#options.timers.nowMs() - (this.#failingSinceMs ?? 0);
    if (code === 'STALLED' || awayMs >= LONG_AWAY_MS) this.#mustCheck = true;
  }

  #sayDenied({ message }: ApiError): void {
    const { log, resource } = this.#options;
    const verb = this.#step === 'watch' || this.#step === 'stream' ? 'watch' : 'list';
    if (this.#saidDenied === verb) return;
    this.#saidDenied = verb;
    const key = `${verb} ${resource.name}`;
    log.error('a permission is missing at the API server', {
      key,
      verb,
      resource: resource.name,
      lost: resource.lostWithout,
      answer: message,
    });
  }

  #sayNotServed({ message }: ApiError): void {
    const { log, resource } = this.#options;
    if (this.#saidDenied === 'serve') return;
    this.#saidDenied = 'serve';
    log.warn('the API server does not know a resource', {
      key: resource.name,
      resource: resource.name,
      answer: message,
    });
  }

  #sayFailed(err: ApiError, retryInMs: number): void {
    const { log, resource } = this.#options;
    this.#isSaid = true;
    const fields = { key: resource.name, resource: resource.name, err, retryInMs: Math.round(retryInMs) };
    log.warn('cannot follow the API server, what is known stays in force', fields);
  }

  #reached(): void {
    this.#failingSinceMs = undefined;
    this.#saidDenied = '';
    if (!this.#isSaid) return;
    this.#isSaid = false;
    this.#options.log.info('following the API server again', { resource: this.#options.resource.name });
  }
}
