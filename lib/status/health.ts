/**
 * Owns whether this process is healthy (rule H2), in kube-proxy's words: pkg/proxy/healthcheck/proxy_health.go.
 *
 *   SyncStatus, Node -> Health -> /healthz, /livez -> 200 | 503
 */
import type { StatusSources } from './sources.js';

export type HealthSources = Pick<StatusSources, 'sync' | 'nodeEligible'>;

export interface HealthReply {
  readonly status: 200 | 503;
  /** JSON. */
  readonly body: string;
}

export class Health {
  readonly #sources: HealthSources;
  readonly #timeoutMs: number;
  readonly #nowEpochMs: () => number;
  /** Replies by status code, for the metrics. */
  readonly healthz = { 200: 0, 503: 0 };
  readonly livez = { 200: 0, 503: 0 };

  /** Unhealthy from two sync periods without success on. */
  constructor(sources: HealthSources, syncPeriodMs: number, nowEpochMs: () => number = Date.now) {
    this.#sources = sources;
    this.#timeoutMs = 2 * syncPeriodMs;
    this.#nowEpochMs = nowEpochMs;
  }

  /** Whether what was queued is applied in time: so too while nothing has been queued yet, at start. */
  isHealthy(): boolean {
    const { oldestPendingAtMs } = this.#sources.sync;
    return oldestPendingAtMs === undefined || this.#nowEpochMs() - oldestPendingAtMs < this.#timeoutMs;
  }

  /** For load balancers: also 503 while the Node is going. */
  replyHealthz(): HealthReply {
    const nodeEligible = this.#sources.nodeEligible();
    return this.#reply(this.healthz, this.isHealthy() && nodeEligible, `, "nodeEligible": ${nodeEligible}`);
  }

  /** For the kubelet: restarting us would not bring the Node back. */
  replyLivez(): HealthReply {
    return this.#reply(this.livez, this.isHealthy(), '');
  }

  #reply(counts: Record<200 | 503, number>, healthy: boolean, more: string): HealthReply {
    const status = healthy ? 200 : 503;
    counts[status]++;
    const now = this.#nowEpochMs();
    // kube-proxy's meaning: a healthy process is up to date, whenever it last had something to do.
    const lastUpdated = healthy ? now : this.#sources.sync.lastSyncedAtMs;
    // Rule C3: ports that could not be bound. The key is absent where there are none: then the body is kube-proxy's.
    const faults = this.#sources.sync.faults.length;
    const trouble = faults > 0 ? `, "portsNotBound": ${faults}` : '';
    return {
      status,
      body: `{"lastUpdated": "${goTime(lastUpdated)}","currentTime": "${goTime(now)}"${more}${trouble}}`,
    };
  }
}

/** As Go prints a time: `2026-01-02 03:04:05.678 +0000 UTC`; for 0, Go's zero time. */
function goTime(epochMs: number): string {
  if (epochMs === 0) return '0001-01-01 00:00:00 +0000 UTC';
  return new Date(epochMs)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.?0*Z$/, ' +0000 UTC');
}
