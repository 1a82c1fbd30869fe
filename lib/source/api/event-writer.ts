/**
 * Owns writing Events to the API server (events.k8s.io/v1), one after the other, beside what matters more.
 *
 *   KubeEvent -> queue (bounded) -> POST, again while the server cannot be reached -> written | given up
 */
import { randomBytes } from 'node:crypto';
import type { Log } from '../../config/log.js';
import type { KubeEvent, Regarding } from '../../model/event.js';
import type { ApiClient } from './api-client.js';
import { type ApiError, asApiError } from './api-error.js';
import { Backoff } from './backoff.js';
import { pause, type Timers } from './timers.js';

export interface EventWriterOptions {
  readonly client: Pick<ApiClient, 'text'>;
  /** The Node that reports. */
  readonly nodeName: string;
  readonly timers: Timers;
  readonly log: Log;
  /** As Date.now. */
  readonly nowEpochMs?: () => number;
}

/** More wait while the server is away than anybody would read. */
const MAX_WAITING = 100;
/** Half an hour with the pauses between them: then the server has had its chance. */
const MAX_ATTEMPTS = 60;
const SILENCE_MS = 30_000;
const MAX_ANSWER_BYTES = 256 << 10;
const MAX_NOTE_BYTES = 1_024;
const CONTROLLER = 'kproxy-us';

export class EventWriter {
  readonly #options: EventWriterOptions;
  readonly #waiting: { readonly event: KubeEvent; readonly atMs: number }[] = [];
  readonly #abort = new AbortController();
  #writing: Promise<void> | undefined;
  /** RBAC says no: asking again would cost the server more than it brings. */
  #isForbidden = false;

  constructor(options: EventWriterOptions) {
    this.#options = options;
  }

  /** Returns at once; never throws. */
  write(event: KubeEvent): void {
    if (this.#isForbidden || this.#abort.signal.aborted || this.#waiting.length >= MAX_WAITING) return;
    this.#waiting.push({ event, atMs: (this.#options.nowEpochMs ?? Date.now)() });
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
  }

  /** What still waits is given up. */
  async stop(): Promise<void> {
    this.#abort.abort();
    this.#waiting.length = 0;
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      await this.#writeOne(next.event, eventJson(next.event, this.#options.nodeName, next.atMs));
    }
  }

  async #writeOne(event: KubeEvent, json: object): Promise<void> {
    const { client, timers, log } = this.#options;
    const { signal } = this.#abort;
    const path = `/apis/events.k8s.io/v1/namespaces/${namespaceOf(event.regarding)}/events`;
    const backoff = new Backoff();
    while (!signal.aborted) {
      try {
        const request = {
          method: 'POST',
          path,
          body: JSON.stringify(json),
          signal,
          silenceMs: () => SILENCE_MS,
        } as const;
        await client.text(request, MAX_ANSWER_BYTES);
        return;
      } catch (err) {
        const error = asApiError(err);
        if (!mayPass(error) || backoff.failures >= MAX_ATTEMPTS) return this.#giveUp(event, error);
        const pauseMs = backoff.next();
        log.debug('cannot write an Event, will try again', {
          reason: event.reason,
          retryInMs: Math.round(pauseMs),
          err,
        });
        await pause(timers, Math.max(pauseMs, error.retryAfterMs ?? 0), signal);
      }
    }
  }

  #giveUp(event: KubeEvent, error: ApiError): void {
    const { log } = this.#options;
    if (this.#abort.signal.aborted) return;
    if (error.status !== 403) {
      log.debug('an Event could not be written', { reason: event.reason, err: error });
      return;
    }
    this.#isForbidden = true;
    this.#waiting.length = 0;
    const lost = 'Events about the Node and Services; the log says the same';
    const resource = 'events.events.k8s.io';
    log.warn('a permission is missing at the API server', { verb: 'create', resource, lost, answer: error.message });
  }
}

/** Whether the same may be taken later. */
function mayPass({ code, status = 0 }: ApiError): boolean {
  return code !== 'STATUS' || status === 401 || status === 429 || status >= 500;
}

/** What is not in a namespace has its Events in `default`, as with all of Kubernetes. */
function namespaceOf({ namespace }: Regarding): string {
  return namespace ?? 'default';
}

function eventJson({ type, reason, action, regarding, note }: KubeEvent, nodeName: string, atMs: number): object {
  const { namespace, ...named } = regarding;
  // Whoever describes a Node asks for Events with its name as the uid: kubelet and kube-proxy write them so.
  const uid = regarding.kind === 'Node' ? { uid: regarding.name } : {};
  const prefix = regarding.name.slice(0, 200).replace(/[-.]+$/, '');
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { namespace: namespaceOf(regarding), name: `${prefix}.${randomBytes(8).toString('hex')}` },
    // metav1.MicroTime.
    eventTime: new Date(atMs).toISOString().replace('Z', '000Z'),
    reportingController: CONTROLLER,
    reportingInstance: `${CONTROLLER}-${nodeName}`.slice(0, 128),
    type,
    reason,
    action,
    regarding: { ...named, ...(namespace === undefined ? {} : { namespace }), ...uid },
    note: cut(note, MAX_NOTE_BYTES),
  };
}

function cut(text: string, maxBytes: number): string {
  return Buffer.byteLength(text) <= maxBytes
    ? text
    : `${Buffer.from(text)
        .subarray(0, maxBytes - 6)
        .toString()}...`;
}
