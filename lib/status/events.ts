/**
 * Owns which Events are written: each once, and never many, whatever happens to how many Services.
 *
 *   start, note, fault -> EventRecorder (deduplicates, limits the rate) -> EventSink
 */
import type { Clock } from '../model/clock.js';
import type { EventSink, KubeEvent } from '../model/event.js';
import type { ObjectKey } from '../model/objects.js';

/** What lasts is told again after this; the API server forgets an Event after an hour. */
const REPEAT_AFTER_MS = 30 * 60_000;
/** As many at once; those beyond it are dropped, the log has them all. */
const BURST = 25;
const REFILL_MS = 10_000;
/** Remembered at once: their texts come from outside. */
const MAX_KNOWN = 1_000;

export class EventRecorder {
  readonly #sink: EventSink;
  readonly #nodeName: string;
  readonly #clock: Clock;
  /** When each was written, the oldest first. */
  readonly #known = new Map<string, number>();
  #tokens = BURST;
  #refilledMs: number;

  constructor(sink: EventSink, nodeName: string, clock: Clock) {
    this.#sink = sink;
    this.#nodeName = nodeName;
    this.#clock = clock;
    this.#refilledMs = clock.nowMs();
  }

  /** As kube-proxy's own. */
  starting(): void {
    const regarding = { apiVersion: 'v1', kind: 'Node', namespace: undefined, name: this.#nodeName } as const;
    this.record({ type: 'Normal', reason: 'Starting', action: 'StartKubeProxy', regarding, note: '' });
  }

  /** Part of a Service is not served: its protocol is not supported, or an older Service has its port (rules S6, C2). */
  notServed(service: ObjectKey, note: string): void {
    this.#warn(service, 'NotServed', 'PlanService', note);
  }

  /** A port of a Service cannot be listened on, on this node (rule C3). */
  cannotListen(service: ObjectKey, note: string): void {
    this.#warn(service, 'CannotListen', 'OpenListener', `${note} (node ${this.#nodeName})`);
  }

  record(event: KubeEvent): void {
    const nowMs = this.#clock.nowMs();
    const key = keyOf(event);
    const writtenMs = this.#known.get(key);
    if (writtenMs !== undefined && nowMs - writtenMs < REPEAT_AFTER_MS) return;
    if (!this.#mayWrite(nowMs)) return;
    this.#known.delete(key);
    this.#known.set(key, nowMs);
    this.#forget();
    this.#sink(event);
  }

  #warn(service: ObjectKey, reason: string, action: string, note: string): void {
    const [namespace = '', name = ''] = service.split('/');
    const regarding = { apiVersion: 'v1', kind: 'Service', namespace, name } as const;
    this.record({ type: 'Warning', reason, action, regarding, note });
  }

  #mayWrite(nowMs: number): boolean {
    const refills = Math.floor((nowMs - this.#refilledMs) / REFILL_MS);
    this.#refilledMs += refills * REFILL_MS;
    this.#tokens = Math.min(BURST, this.#tokens + refills);
    if (this.#tokens === 0) return false;
    this.#tokens--;
    return true;
  }

  #forget(): void {
    if (this.#known.size <= MAX_KNOWN) return;
    const [oldest] = this.#known.keys();
    if (oldest !== undefined) this.#known.delete(oldest);
  }
}

function keyOf({ type, reason, action, regarding, note }: KubeEvent): string {
  return JSON.stringify([type, reason, action, regarding.kind, regarding.namespace, regarding.name, note]);
}
