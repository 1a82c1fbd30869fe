/**
 * Owns the metrics: kube-proxy's names with their meaning, and ours under `kproxy_us_` (rule H4). docs/metrics.md lists them.
 *
 *   GET /metrics -> engineStats() -> sums by Service port -> registry -> text
 */
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { EngineStats } from '../relay/engine.js';
import { answerWithin } from './answer-within.js';
import type { Health } from './health.js';
import { PulledMetrics, type Sample } from './pulled.js';
import { type PortCounters, sumByServicePort } from './series.js';
import type { StatusSources } from './sources.js';
import { addSyncHistograms, addSyncMetrics } from './sync-metrics.js';

/** A scrape that waited this long for the engine goes without it: Prometheus gives up after 10 s by default. */
const ENGINE_TIMEOUT_MS = 3_000;

export class Metrics {
  readonly #registry = new Registry();
  readonly #sources: StatusSources;
  /** What the scrape under way reads; undefined where the engine did not answer. */
  #engine: EngineStats | undefined;
  #ports: readonly PortCounters[] = [];

  constructor(sources: StatusSources, health: Health) {
    this.#sources = sources;
    // The default precision wakes the thread 100 times a second.
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: 100 });
    const pulled = new PulledMetrics(this.#registry);
    addSyncMetrics(pulled, sources, health);
    addSyncHistograms(this.#registry, sources);
    this.#addProcessMetrics(pulled);
    this.#addPortMetrics(pulled);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async scrape(): Promise<string> {
    this.#engine = await answerWithin(this.#sources.engineStats(), ENGINE_TIMEOUT_MS);
    this.#ports = sumByServicePort(this.#engine?.listeners ?? []);
    return this.#registry.metrics();
  }

  #addProcessMetrics(pulled: PulledMetrics): void {
    const { version, options, sync } = this.#sources;
    pulled.gauges('kproxy_us_build_info', 'The version that runs, and what does its work', () => [
      { labels: { version, engine: this.#engine?.engine ?? '', redirect: options.redirect }, value: 1 },
    ]);
    const one = (name: string, help: string, read: () => number) => pulled.gauge(`kproxy_us_${name}`, help, read);
    one('engine_up', '1 where the engine answered this scrape', () => (this.#engine === undefined ? 0 : 1));
    one('listener_faults', 'Ports that could not be bound and are tried again', () => sync.faults.length);
    const notServed = 'Parts of Services that are not served: SCTP ports, and what an older Service has';
    one('parts_not_served', notServed, () => sync.partsNotServed);
    one('draining_connections', 'Connections of closed listeners that still drain', () => this.#engine?.draining ?? 0);
    const pauses = 'Times that accepting stopped for want of descriptors';
    pulled.counter('kproxy_us_accept_pauses_total', pauses, () => this.#engine?.acceptPauses ?? 0);
    const dropped = 'Connection records that could not be written to the access log';
    pulled.counter('kproxy_us_access_log_dropped_total', dropped, () => this.#sources.recordsDropped());
  }

  /** Series per Service port: connections for TCP, flows for UDP. */
  #addPortMetrics(pulled: PulledMetrics): void {
    const of = (protocol: string, value: (port: PortCounters) => number) => () =>
      this.#ports.filter(({ labels }) => labels.protocol === protocol).map((port) => sample(port, value(port)));
    const all = (value: (port: PortCounters) => number) => () => this.#ports.map((port) => sample(port, value(port)));
    const bothWays =
      (up: (port: PortCounters) => number, down: (port: PortCounters) => number, protocol?: string) => () =>
        this.#ports
          .filter(({ labels }) => protocol === undefined || labels.protocol === protocol)
          .flatMap((port) => [
            sample(port, up(port), { direction: 'up' }),
            sample(port, down(port), { direction: 'down' }),
          ]);

    pulled.gauges(
      'kproxy_us_listeners',
      'Listeners that accept or receive now',
      all((port) => port.listening),
    );
    pulled.gauges(
      'kproxy_us_connections_active',
      'TCP connections open now',
      of('TCP', (port) => port.active),
    );
    pulled.counters(
      'kproxy_us_connections_total',
      'TCP connections accepted',
      of('TCP', (port) => port.total),
    );
    pulled.counters('kproxy_us_connections_ended_total', 'TCP connections ended, by outcome', () =>
      this.#ports.flatMap((port) => [...port.outcomes].map(([outcome, count]) => sample(port, count, { outcome }))),
    );
    pulled.gauges(
      'kproxy_us_udp_flows_active',
      'UDP flows open now',
      of('UDP', (port) => port.active),
    );
    pulled.counters(
      'kproxy_us_udp_flows_total',
      'UDP flows begun',
      of('UDP', (port) => port.total),
    );
    pulled.counters(
      'kproxy_us_bytes_total',
      'Bytes relayed; up is client to backend',
      bothWays(
        (port) => port.bytesUp,
        (port) => port.bytesDown,
      ),
    );
    pulled.counters(
      'kproxy_us_udp_datagrams_total',
      'Datagrams relayed; up is client to backend',
      bothWays(
        (port) => port.datagramsUp,
        (port) => port.datagramsDown,
        'UDP',
      ),
    );
    const dropped = 'Datagrams that could not be relayed';
    pulled.counters(
      'kproxy_us_udp_datagrams_dropped_total',
      dropped,
      of('UDP', (port) => port.datagramsDropped),
    );
    pulled.counters(
      'kproxy_us_dial_failures_total',
      'Attempts to reach a backend that failed',
      all((port) => port.dialFailures),
    );
    const retries = 'Attempts beyond the first of a connection, and flows moved to another backend';
    pulled.counters(
      'kproxy_us_dial_retries_total',
      retries,
      all((port) => port.dialRetries),
    );
    pulled.counters(
      'kproxy_us_ejections_total',
      'Backends taken out for a time',
      all((port) => port.ejections),
    );
  }
}

function sample(port: PortCounters, value: number, more?: Readonly<Record<string, string>>): Sample {
  return { labels: more === undefined ? port.labels : { ...port.labels, ...more }, value };
}
