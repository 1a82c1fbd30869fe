/**
 * Owns the sums behind the series of one Service port: its listeners (node port, redirect, both families) added up.
 *
 *   EngineStats.listeners -> sumByServicePort -> PortCounters -> metrics
 */
import type { ServicePortName } from '../model/service-port.js';
import { servicePortKey } from '../model/service-port.js';
import type { ListenerStats, Outcome } from '../relay/engine.js';

export interface PortCounters {
  readonly labels: PortLabels;
  listening: number;
  active: number;
  total: number;
  readonly outcomes: Map<Outcome, number>;
  bytesUp: number;
  bytesDown: number;
  datagramsUp: number;
  datagramsDown: number;
  datagramsDropped: number;
  dialFailures: number;
  dialRetries: number;
  ejections: number;
}

export type PortLabels = Readonly<Record<'namespace' | 'service' | 'port' | 'protocol', string>>;

export function sumByServicePort(listeners: readonly ListenerStats[]): readonly PortCounters[] {
  const sums = new Map<string, PortCounters>();
  for (const listener of listeners) {
    const key = servicePortKey(listener.servicePort);
    let sum = sums.get(key);
    if (sum === undefined) {
      sum = zero(listener.servicePort);
      sums.set(key, sum);
    }
    add(sum, listener);
  }
  return [...sums.values()];
}

function add(sum: PortCounters, listener: ListenerStats): void {
  if (listener.listening) sum.listening++;
  sum.active += listener.active;
  sum.total += listener.total;
  sum.bytesUp += listener.bytesUp;
  sum.bytesDown += listener.bytesDown;
  sum.datagramsUp += listener.datagramsUp;
  sum.datagramsDown += listener.datagramsDown;
  sum.datagramsDropped += listener.datagramsDropped;
  sum.dialFailures += listener.dialFailures;
  sum.dialRetries += listener.dialRetries;
  sum.ejections += listener.ejections;
  for (const [name, count] of Object.entries(listener.outcomes)) {
    const outcome = name as Outcome;
    sum.outcomes.set(outcome, (sum.outcomes.get(outcome) ?? 0) + count);
  }
}

function zero({ namespace, service, port, protocol }: ServicePortName): PortCounters {
  return {
    labels: { namespace, service, port, protocol },
    listening: 0,
    active: 0,
    total: 0,
    outcomes: new Map(),
    bytesUp: 0,
    bytesDown: 0,
    datagramsUp: 0,
    datagramsDown: 0,
    datagramsDropped: 0,
    dialFailures: 0,
    dialRetries: 0,
    ejections: 0,
  };
}
