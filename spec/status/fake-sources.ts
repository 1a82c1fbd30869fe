/** Owns sources for specs of the status side: plain values that a spec changes, and no engine. */
import type { SyncObserver } from '../../lib/apply/sync-status.js';
import { defaultOptions } from '../../lib/cli/run-options.js';
import type { Options } from '../../lib/config/options.js';
import type { EngineStats, ListenerStats } from '../../lib/relay/engine.js';
import type { ListenerView } from '../../lib/status/sources.js';

export class FakeSources {
  readonly options: Options;
  readonly version = '1.2.3';
  stats: EngineStats = { engine: 'portable', listeners: [], draining: 0, acceptPauses: 0 };
  readonly views = new Map<string, ListenerView>();
  eligible = true;
  dropped = 0;
  readonly observers: SyncObserver[] = [];
  readonly sync = {
    synced: true,
    lastQueuedAtMs: 0,
    lastSyncedAtMs: 0,
    oldestPendingAtMs: undefined as number | undefined,
    serviceChangesPending: 0,
    serviceChangesTotal: 0,
    endpointChangesPending: 0,
    endpointChangesTotal: 0,
    faults: [] as { servicePort: string; listener: string; code: string; message: string }[],
    noLocalEndpoints: { internal: 0, external: 0 },
    partsNotServed: 0,
    onSync: (observer: SyncObserver) => {
      this.observers.push(observer);
    },
  };

  constructor(changes: Partial<Options> = {}) {
    const loopback = { host: '127.0.0.1', port: 0 };
    const defaults = defaultOptions({ nodeName: 'node-1', hostname: 'host' });
    this.options = { ...defaults, healthzBindAddress: loopback, metricsBindAddress: loopback, ...changes };
  }

  engineStats(): Promise<EngineStats> {
    return Promise.resolve(this.stats);
  }

  listener(key: string): ListenerView | undefined {
    return this.views.get(key);
  }

  nodeEligible(): boolean {
    return this.eligible;
  }

  recordsDropped(): number {
    return this.dropped;
  }
}

/** Counters of one listener, all zero where `changes` says nothing. */
export function listenerStats(changes: Partial<ListenerStats>): ListenerStats {
  return {
    key: 'default/web/TCP@0.0.0.0:30080',
    servicePort: { namespace: 'default', service: 'web', port: '', protocol: 'TCP' },
    listening: true,
    port: 30_080,
    active: 0,
    total: 0,
    outcomes: {},
    bytesUp: 0,
    bytesDown: 0,
    datagramsUp: 0,
    datagramsDown: 0,
    datagramsDropped: 0,
    dialFailures: 0,
    dialRetries: 0,
    ejections: 0,
    ...changes,
  };
}
