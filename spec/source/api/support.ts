/** Owns following a scripted API server in specs: time that runs fast or stands still, a source, and what it logged. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Log, LogFields } from '../../../lib/config/log.js';
import { ApiSource } from '../../../lib/source/api/api-source.js';
import type { Timers } from '../../../lib/source/api/timers.js';
import { ObjectStore } from '../../../lib/source/store.js';
import { ApiServer, kubeconfig } from '../../support/api-server/api-server.js';
import { nodeJson, serviceJson, sliceJson } from '../objects/kube-json.js';

/** Time that runs `factor` times as fast. */
export function fastTimers(factor = 100): Timers {
  return {
    nowMs: () => performance.now() * factor,
    after(ms, run) {
      const timer = setTimeout(run, ms / factor);
      return () => clearTimeout(timer);
    },
  };
}

/** Time that stands still until it is moved; whoever waits then is woken, in order. */
export class ManualTimers implements Timers {
  #nowMs = 1_000_000;
  readonly #waiting = new Map<number, { readonly atMs: number; readonly run: () => void }>();
  #next = 0;

  nowMs(): number {
    return this.#nowMs;
  }

  after(ms: number, run: () => void): () => void {
    const id = this.#next++;
    this.#waiting.set(id, { atMs: this.#nowMs + ms, run });
    return () => this.#waiting.delete(id);
  }

  /** Times until those who wait now are woken, in milliseconds, the nearest first. */
  get pending(): readonly number[] {
    return [...this.#waiting.values()].map(({ atMs }) => atMs - this.#nowMs).sort((a, b) => a - b);
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    for (const [id, { atMs, run }] of [...this.#waiting]) {
      if (atMs > this.#nowMs || !this.#waiting.delete(id)) continue;
      run();
    }
  }
}

/** A server with plain lists that knows `work/saythx-redis`, its slice `a` with 10.0.0.1, and our Node; the caller closes it. */
export async function seededServer(): Promise<ApiServer> {
  const server = await ApiServer.start({ streams: false });
  server.history.put('services', serviceJson());
  server.history.put('slices', slice('a', '10.0.0.1'));
  server.history.put('nodes', nodeJson());
  return server;
}

export interface LogLine {
  readonly level: keyof Log;
  readonly message: string;
  readonly fields: LogFields;
}

export function recordingLog(): { readonly log: Log; readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at =
    (level: keyof Log) =>
    (message: string, fields: LogFields = {}) => {
      lines.push({ level, message, fields });
    };
  return { log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }, lines };
}

export interface Following {
  readonly store: ObjectStore;
  readonly source: ApiSource;
  readonly lines: readonly LogLine[];
  /** Addresses of the endpoints of `work/saythx-redis`, sorted. */
  addresses(): string;
  services(): string;
  stop(): Promise<void>;
}

export interface FollowOptions {
  readonly timers?: Timers;
  /** Text of the kubeconfig. */
  readonly config?: string;
  readonly serviceProxyName?: string;
  readonly qps?: number;
  readonly burst?: number;
  readonly random?: () => number;
}

/** Starts a source on the server; the caller stops it. */
export async function follow(server: ApiServer, options: FollowOptions = {}): Promise<Following> {
  const dir = await mkdtemp(join(tmpdir(), 'kproxy-us-api-'));
  const file = join(dir, 'kubeconfig');
  await writeFile(file, options.config ?? kubeconfig(server));
  const { log, lines } = recordingLog();
  const store = new ObjectStore();
  const source = new ApiSource({
    access: { kubeconfig: file, master: undefined, env: {} },
    nodeName: 'node-a',
    serviceProxyName: options.serviceProxyName,
    qps: options.qps ?? -1,
    burst: options.burst ?? 0,
    store,
    log,
    timers: options.timers ?? fastTimers(),
    ...(options.random === undefined ? {} : { random: options.random }),
  });
  await source.start();
  return {
    store,
    source,
    lines,
    addresses: () => addressesOf(store),
    services: () =>
      [...store.services()]
        .map(({ key }) => key)
        .sort()
        .join(' '),
    stop: async () => {
      await source.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export function addressesOf(store: ObjectStore, service = 'work/saythx-redis'): string {
  const all = store.slicesOf(service).flatMap(({ endpoints }) => [...endpoints].map(({ address }) => address));
  return all.sort().join(' ');
}

/** Slice `work/<name>` of `saythx-redis` with these addresses. */
export function slice(name: string, ...addresses: readonly string[]) {
  return sliceJson({ endpoints: addresses.map((address) => ({ addresses: [address] })) }, { name });
}
