/** Owns the numbers of one listener: plain fields that the data path adds to, read when somebody asks. */
import type { ListenerSpec, ListenerStats, Outcome } from './engine.js';

export class Counters {
  active = 0;
  total = 0;
  bytesUp = 0;
  bytesDown = 0;
  datagramsUp = 0;
  datagramsDown = 0;
  datagramsDropped = 0;
  dialFailures = 0;
  dialRetries = 0;
  readonly #outcomes: Partial<Record<Outcome, number>> = {};

  ended(outcome: Outcome): void {
    this.#outcomes[outcome] = (this.#outcomes[outcome] ?? 0) + 1;
  }

  stats(spec: ListenerSpec, state: { listening: boolean; port: number; ejections: number }): ListenerStats {
    return {
      key: spec.key,
      servicePort: spec.servicePort,
      ...state,
      active: this.active,
      total: this.total,
      outcomes: { ...this.#outcomes },
      bytesUp: this.bytesUp,
      bytesDown: this.bytesDown,
      datagramsUp: this.datagramsUp,
      datagramsDown: this.datagramsDown,
      datagramsDropped: this.datagramsDropped,
      dialFailures: this.dialFailures,
      dialRetries: this.dialRetries,
    };
  }
}
