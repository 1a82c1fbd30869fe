/**
 * Owns the report behind `GET /status` and `kproxy-us status`: what is open, where it leads, and how it does.
 *
 *   StatusSources -> createReport -> StatusReport (JSON) -> a program, or the table of `kproxy-us status`
 */
import { hostPort } from '../config/address.js';
import { backendKey } from '../model/backend.js';
import { servicePortKey } from '../model/service-port.js';
import type { EngineStats, ListenerStats } from '../relay/engine.js';
import { answerWithin } from './answer-within.js';
import type { Health } from './health.js';
import type { StatusSources } from './sources.js';

export interface StatusReport {
  readonly version: string;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly node: string;
  readonly healthy: boolean;
  /** '' where the engine did not answer: then `listeners` is empty. */
  readonly engine: string;
  readonly redirect: string;
  readonly sync: {
    readonly synced: boolean;
    /** RFC 3339, or undefined for never. */
    readonly lastSyncedAt: string | undefined;
    /** When the oldest change that is not applied yet was queued: RFC 3339, or undefined where all are. */
    readonly oldestPendingAt: string | undefined;
    readonly serviceChangesPending: number;
    readonly endpointChangesPending: number;
    readonly faults: readonly { servicePort: string; listener: string; code: string; message: string }[];
  };
  readonly draining: number;
  readonly acceptPauses: number;
  readonly listeners: readonly ListenerReport[];
}

export interface ListenerReport extends Omit<ListenerStats, 'key' | 'servicePort' | 'port'> {
  /** `default/web:http/TCP`. */
  readonly servicePort: string;
  /** A node port, or a socket that the rules for other addresses lead to. */
  readonly kind: 'nodePort' | 'redirect';
  /** `0.0.0.0:30080`, also while it is closed; the host is empty where the reconciler does not know the listener. */
  readonly listener: string;
  readonly frontends: readonly string[];
  /** Addresses refused for want of backends. */
  readonly rejected: readonly string[];
  readonly backends: readonly string[];
}

const ENGINE_TIMEOUT_MS = 3_000;

export async function createReport(sources: StatusSources, health: Health): Promise<StatusReport> {
  const engine = await answerWithin(sources.engineStats(), ENGINE_TIMEOUT_MS);
  const { options, sync, version } = sources;
  return {
    version,
    pid: process.pid,
    uptimeSeconds: Math.floor(process.uptime()),
    node: options.nodeName,
    healthy: health.isHealthy(),
    engine: engine?.engine ?? '',
    redirect: options.redirect,
    sync: {
      synced: sync.synced,
      lastSyncedAt: sync.lastSyncedAtMs === 0 ? undefined : new Date(sync.lastSyncedAtMs).toISOString(),
      oldestPendingAt:
        sync.oldestPendingAtMs === undefined ? undefined : new Date(sync.oldestPendingAtMs).toISOString(),
      serviceChangesPending: sync.serviceChangesPending,
      endpointChangesPending: sync.endpointChangesPending,
      faults: sync.faults,
    },
    draining: engine?.draining ?? 0,
    acceptPauses: engine?.acceptPauses ?? 0,
    listeners: listenerReports(engine, sources),
  };
}

function listenerReports(engine: EngineStats | undefined, sources: StatusSources): readonly ListenerReport[] {
  const reports = (engine?.listeners ?? []).map(({ key, servicePort, port, ...counts }) => {
    const view = sources.listener(key);
    const listener = hostPort(view?.host ?? '', port);
    return {
      servicePort: servicePortKey(servicePort),
      // The planner names a node port by its place, a redirect listener by what it is for.
      kind: key.endsWith(`@${listener}`) ? ('nodePort' as const) : ('redirect' as const),
      listener,
      frontends: view?.frontends ?? [],
      rejected: view?.rejected ?? [],
      backends: (view?.backends ?? []).map(backendKey),
      ...counts,
    };
  });
  return reports.sort((a, b) => compare(a.servicePort, b.servicePort) || compare(a.listener, b.listener));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
