/**
 * Owns kube-proxy's own metrics: names, help and buckets of kubernetes pkg/proxy/metrics/metrics.go, v1.31 to v1.35 (rule H4).
 *
 *   SyncStatus, Health -> kubeproxy_* -> registry
 */
import { Histogram, type Registry } from 'prom-client';
import type { Health } from './health.js';
import type { PulledMetrics } from './pulled.js';
import type { StatusSources } from './sources.js';

export function addSyncMetrics(pulled: PulledMetrics, { sync }: StatusSources, health: Health): void {
  const gauge = (name: string, help: string, read: () => number) => pulled.gauge(`kubeproxy_${name}`, help, read);
  const counter = (name: string, help: string, read: () => number) => pulled.counter(`kubeproxy_${name}`, help, read);
  const rules = 'sync_proxy_rules';
  gauge(
    `${rules}_last_timestamp_seconds`,
    'The last time proxy rules were successfully synced',
    () => sync.lastSyncedAtMs / 1_000,
  );
  gauge(
    `${rules}_last_queued_timestamp_seconds`,
    'The last time a sync of proxy rules was queued',
    () => sync.lastQueuedAtMs / 1_000,
  );
  gauge(`${rules}_endpoint_changes_pending`, 'Pending proxy rules Endpoint changes', () => sync.endpointChangesPending);
  counter(
    `${rules}_endpoint_changes_total`,
    'Cumulative proxy rules Endpoint changes',
    () => sync.endpointChangesTotal,
  );
  gauge(`${rules}_service_changes_pending`, 'Pending proxy rules Service changes', () => sync.serviceChangesPending);
  counter(`${rules}_service_changes_total`, 'Cumulative proxy rules Service changes', () => sync.serviceChangesTotal);
  pulled.gauges(
    `kubeproxy_${rules}_no_local_endpoints_total`,
    'Number of services with a Local traffic policy and no endpoints',
    () =>
      Object.entries(sync.noLocalEndpoints).map(([policy, value]) => ({ labels: { traffic_policy: policy }, value })),
  );
  const byCode = (counts: Record<200 | 503, number>) => () =>
    Object.entries(counts).map(([code, value]) => ({ labels: { code }, value }));
  pulled.counters('kubeproxy_proxy_healthz_total', 'Cumulative proxy healthz HTTP status', byCode(health.healthz));
  pulled.counters('kubeproxy_proxy_livez_total', 'Cumulative proxy livez HTTP status', byCode(health.livez));
}

/** Two histograms of the process: at most one observation a sync, never one a Service. */
export function addSyncHistograms(registry: Registry, { sync }: StatusSources): void {
  const duration = new Histogram({
    name: 'kubeproxy_sync_proxy_rules_duration_seconds',
    help: 'SyncProxyRules latency in seconds',
    buckets: Array.from({ length: 15 }, (_, power) => 0.001 * 2 ** power),
    registers: [registry],
  });
  const programming = new Histogram({
    name: 'kubeproxy_network_programming_duration_seconds',
    help: 'In Cluster Network Programming Latency in seconds',
    buckets: [0, ...linear(0.25, 0.25, 2), ...linear(1, 1, 59), ...linear(60, 5, 12), ...linear(120, 30, 7)],
    registers: [registry],
  });
  sync.onSync((durationMs, latenciesMs) => {
    duration.observe(durationMs / 1_000);
    for (const latencyMs of latenciesMs) programming.observe(latencyMs / 1_000);
  });
}

function linear(start: number, width: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => start + width * index);
}
