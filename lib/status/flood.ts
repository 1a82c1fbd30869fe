/**
 * Owns the bound on repeated log lines (rule H6): the first of a kind passes, the others of its window are counted.
 *
 *   warn, error -> FloodGate.admit -> line | counted; window over -> FloodGate.due -> one line with the count
 */
import type { LogFields } from '../config/log.js';
import type { Clock } from '../model/clock.js';

export interface Repeated {
  readonly level: 'warn' | 'error';
  readonly message: string;
  /** Those of the last line that was held back. */
  readonly fields: LogFields;
  /** Lines held back since one was written. */
  readonly repeated: number;
}

interface Kind extends Repeated {
  fields: LogFields;
  repeated: number;
  windowEndsAtMs: number;
}

/** Kinds remembered at once; the field that tells them apart may come from outside. */
const MAX_KINDS = 1_024;

export class FloodGate {
  readonly #windowMs: number;
  readonly #clock: Clock;
  /** In the order their windows end: the window is the same for all. */
  readonly #kinds = new Map<string, Kind>();

  constructor(windowMs: number, clock: Clock) {
    this.#windowMs = windowMs;
    this.#clock = clock;
  }

  /** Whether the line may be written now. What is to be written before it comes from `due`. */
  admit(level: Repeated['level'], message: string, fields: LogFields): boolean {
    const key = keyOf(level, message, fields);
    const known = this.#kinds.get(key);
    if (known !== undefined) {
      known.repeated++;
      known.fields = fields;
      return false;
    }
    this.#open(key, { level, message, fields, repeated: 0, windowEndsAtMs: 0 });
    return true;
  }

  /** The kinds whose window is over and that held lines back, each beginning a new window; the quiet ones are forgotten. */
  due(): readonly Repeated[] {
    const now = this.#clock.nowMs();
    const due: Repeated[] = [];
    for (const [key, kind] of this.#kinds) {
      if (kind.windowEndsAtMs > now && this.#kinds.size <= MAX_KINDS) break;
      this.#kinds.delete(key);
      if (kind.repeated === 0) continue;
      due.push({ ...kind });
      if (kind.windowEndsAtMs <= now) this.#open(key, { ...kind, repeated: 0 });
    }
    return due;
  }

  /** Everything that was held back; afterwards nothing is remembered. */
  drain(): readonly Repeated[] {
    const held = [...this.#kinds.values()].filter((kind) => kind.repeated > 0);
    this.#kinds.clear();
    return held;
  }

  /** Time until `due` may have something, or undefined while nothing is remembered. */
  nextDueMs(): number | undefined {
    const [first] = this.#kinds.values();
    return first === undefined ? undefined : Math.max(0, first.windowEndsAtMs - this.#clock.nowMs());
  }

  #open(key: string, kind: Kind): void {
    kind.windowEndsAtMs = this.#clock.nowMs() + this.#windowMs;
    this.#kinds.set(key, kind);
  }
}

/** One message about one thing: the `key` field names it (a frontend, a listener), else the Service. */
function keyOf(level: string, message: string, { key, service, servicePort }: LogFields): string {
  return JSON.stringify([level, message, key ?? servicePort ?? service ?? '']);
}
