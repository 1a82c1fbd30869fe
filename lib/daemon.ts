/**
 * Owns the program as a whole: builds its parts, starts them in order, stops them in reverse. Both paths can be read here.
 *
 *   configuration: ManifestSource | ApiSource -> ObjectStore -> Reconciler -> RelayThreads, Redirector -> SyncStatus
 *   a connection:  RelayThreads (accept, pick, dial, relay) -> ConnectionRecord -> AccessLog
 */
import { ListenerSet } from './apply/listener-set.js';
import { NodeAddresses } from './apply/node-addresses.js';
import { type FormerPorts, Reconciler } from './apply/reconciler.js';
import { RedirectPorts } from './apply/redirect-ports.js';
import { RepairLoop } from './apply/repair-loop.js';
import { collectGarbage } from './config/heap.js';
import type { Log } from './config/log.js';
import type { HostPort, Options } from './config/options.js';
import { packageVersion } from './config/version.js';
import { unpackBackends } from './model/backend.js';
import { monotonicClock } from './model/clock.js';
import type { KubeEvent } from './model/event.js';
import { type FrontendKey, frontendKey } from './model/frontend.js';
import type { View } from './plan/service-plan.js';
import { createRedirector } from './redirect/create.js';
import type { RedirectAction, Redirector } from './redirect/redirector.js';
import { defaultEngineOptions, type Engine, type EngineOptions } from './relay/engine.js';
import { RelayThreads } from './relay/thread/relay-threads.js';
import { ObjectStore } from './source/store.js';
import { AccessLog } from './status/access-log.js';
import { EventRecorder } from './status/events.js';
import { Health } from './status/health.js';
import { HealthChecks } from './status/health-checks.js';
import { StatusServers } from './status/server.js';
import type { ListenerView } from './status/sources.js';

/** A file system that reports no changes is looked at this often all the same. */
const MANIFEST_POLL_MS = 10_000;

/** One part that runs: stopped in the reverse order of starting. */
interface Part {
  readonly name: string;
  readonly stop: () => void | Promise<void>;
}

/** Where objects come from. */
interface Source {
  start(): Promise<void>;
  stop(): Promise<void>;
  reload(): Promise<void>;
  /** Where there is somebody to tell of Events; not before `start`. */
  writeEvent?(event: KubeEvent): void;
}

export class Daemon {
  readonly #options: Options;
  readonly #log: Log;
  readonly #store = new ObjectStore();
  readonly #started: Part[] = [];
  #source: Source | undefined;
  #events: EventRecorder | undefined;
  #accessLog: AccessLog | undefined;
  #stopping = false;
  #health: Health | undefined;
  #servers: StatusServers | undefined;

  constructor(options: Options, log: Log) {
    this.#options = options;
    this.#log = log;
  }

  /** Resolves when every part runs; the first sync may still be under way. On rejection `stop` cleans up what did start. */
  async start(): Promise<void> {
    const redirector = await this.#startRedirector();
    await this.#startAccessLog();
    const engine = await this.#startEngine();
    const reconciler = await this.#startReconciler(redirector, engine);
    await this.#startStatus(reconciler, engine);
    const source = await this.#createSource();
    this.#source = source;
    this.#running('source', () => source.stop());
    await source.start();
    if (source.writeEvent === undefined) return;
    const write = (event: KubeEvent) => source.writeEvent?.(event);
    this.#events = new EventRecorder(write, this.#options.nodeName, monotonicClock);
    this.#events.starting();
  }

  /** Stops accepting, lets connections end for the drain time (rule Y6), and leaves the rules in place (rule R6). */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (let part = this.#started.pop(); part !== undefined; part = this.#started.pop()) {
      this.#log.debug('stopping a part', { part: part.name });
      await part.stop();
    }
  }

  /** SIGHUP: reads the manifests, or lists of the API server, again, and opens the access log anew. */
  async reload(): Promise<void> {
    await this.#accessLog?.reopen();
    await this.#source?.reload();
  }

  /** Where a status server listens; undefined where it is off. */
  statusAddress(name: 'healthz' | 'metrics'): HostPort | undefined {
    return this.#servers?.addressOf(name);
  }

  #running(name: string, stop: Part['stop']): void {
    this.#started.push({ name, stop });
  }

  /** What reads manifests, or talks to an API server, is loaded only where it is used: it costs time and memory. */
  async #createSource(): Promise<Source> {
    const { manifests, kubeconfig, master, nodeName, serviceProxyName, configSyncPeriodMs } = this.#options;
    const [store, log] = [this.#store, this.#log];
    if (manifests.length > 0) {
      const pollMs = Math.min(configSyncPeriodMs, MANIFEST_POLL_MS);
      const { ManifestSource } = await import('./source/manifests/manifest-source.js');
      return new ManifestSource({ paths: manifests, store, log, pollMs });
    }
    const { ApiSource } = await import('./source/api/api-source.js');
    const access = { kubeconfig, master, env: process.env };
    const { kubeApiQps: qps, kubeApiBurst: burst } = this.#options;
    return new ApiSource({ access, nodeName, serviceProxyName, qps, burst, store, log });
  }

  async #startRedirector(): Promise<Redirector> {
    const { redirect, clusterCidrs: insideCidrs } = this.#options;
    const redirector = createRedirector(redirect, { log: this.#log, insideCidrs });
    await redirector.start();
    this.#followPodCidrs(redirector);
    const repairs = new RepairLoop(redirector, this.#options.syncPeriodMs, this.#log);
    repairs.start();
    this.#running('repairs', () => repairs.stop());
    return redirector;
  }

  /** Pods of our Node are inside too, where the Node says who they are (rule E7). */
  #followPodCidrs(redirector: Redirector): void {
    const { nodeName, clusterCidrs } = this.#options;
    let known = '';
    this.#store.subscribe({
      serviceChanged: () => undefined,
      synced: () => undefined,
      nodeChanged: () => {
        const podCIDRs = this.#store.node(nodeName)?.podCIDRs ?? [];
        if (podCIDRs.join() === known) return;
        known = podCIDRs.join();
        // What could not be written stays pending: the sync that the Node's change brings about writes it.
        redirector.setInsideCidrs([...clusterCidrs, ...podCIDRs]).catch((err: unknown) => {
          this.#log.error('cannot write who is inside, will try again', { err });
        });
      },
    });
  }

  async #startAccessLog(): Promise<void> {
    if (this.#options.accessLog === undefined) return;
    const accessLog = new AccessLog({ path: this.#options.accessLog, log: this.#log });
    this.#running('access log', () => accessLog.stop());
    await accessLog.start();
    this.#accessLog = accessLog;
  }

  async #startEngine(): Promise<Engine> {
    const threads = new RelayThreads({
      threads: this.#options.relayThreads,
      engine: this.#options.engine,
      options: engineOptions(this.#options),
      events: {
        log: (level, message, fields) => this.#log[level](message, fields),
        record: (record) => this.#accessLog?.write(record),
      },
    });
    this.#running('relay threads', () => threads.stop(this.#options.drainTimeoutMs));
    await threads.start();
    return threads;
  }

  async #startReconciler(redirector: Redirector, engine: Engine): Promise<ReconcilerAndListeners> {
    const { nodeName, serviceProxyName, minSyncPeriodMs, drainTimeoutMs, proxyPortRange } = this.#options;
    const node = () => this.#store.node(nodeName);
    const addresses = new NodeAddresses({
      nodePortAddresses: this.#options.nodePortAddresses,
      bindAddress: this.#options.bindAddress,
      node,
      onChange: () => reconciler.replanAll(),
    });
    const view = (): Omit<View, 'holderOf'> => ({
      nodeName,
      zone: node()?.zone,
      serviceProxyName,
      nodePortHosts: (family) => addresses.nodePortHosts(family),
      redirectHost: (family) => (redirector.serves(family) ? addresses.redirectHost(family) : undefined),
    });
    const listeners = new ListenerSet({
      engine,
      ports: new RedirectPorts(proxyPortRange),
      drainMs: drainTimeoutMs,
      onFault: (service, { message, code }) => this.#events?.cannotListen(service, `${message}: ${code}`),
      clock: monotonicClock,
      log: this.#log,
    });
    const isHealthy = () => this.#health?.isHealthy() ?? false;
    const healthChecks = new HealthChecks({ isHealthy, log: this.#log });
    this.#running('health checks', () => healthChecks.stop());
    const reconciler = new Reconciler({
      store: this.#store,
      listeners,
      redirector,
      view,
      minSyncPeriodMs,
      formerPorts: await formerPorts(redirector),
      onNote: (service, note) => this.#events?.notServed(service, note),
      onApplied: (service, plan) => healthChecks.update(service, plan.healthCheck),
      clock: monotonicClock,
      log: this.#log,
    });
    this.#sayReady(reconciler);
    reconciler.start();
    addresses.start();
    this.#running('reconciler', () => reconciler.stop());
    this.#running('node addresses', () => addresses.stop());
    return { reconciler, listeners };
  }

  #sayReady({ status }: Reconciler): void {
    let said = false;
    status.onSync((durationMs) => {
      if (said) return;
      said = true;
      // What the first lists and the first sync left behind.
      collectGarbage();
      this.#log.info('ready', {
        services: [...this.#store.services()].length,
        redirect: this.#options.redirect,
        syncMs: Math.round(durationMs),
      });
    });
  }

  async #startStatus({ reconciler, listeners }: ReconcilerAndListeners, engine: Engine): Promise<void> {
    const { status } = reconciler;
    // A load balancer is to send nobody here any more, as if the Node were going.
    const nodeEligible = () => !this.#stopping && (this.#store.node(this.#options.nodeName)?.eligible ?? true);
    const health = new Health({ sync: status, nodeEligible }, this.#options.syncPeriodMs);
    this.#health = health;
    const sources = {
      options: this.#options,
      version: packageVersion(),
      sync: status,
      engineStats: () => engine.stats(),
      listener: (key: string): ListenerView | undefined => {
        const planned = listeners.plannedOf(key);
        if (planned === undefined) return undefined;
        const { at } = planned;
        const [frontends, rejected] = [reconciler.frontendsOf(planned), reconciler.rejectedOf(planned)];
        return { host: at.host, frontends, rejected, backends: unpackBackends(planned.backends) };
      },
      nodeEligible,
      recordsDropped: () => this.#accessLog?.dropped ?? 0,
    };
    const servers = new StatusServers(sources, health, this.#log);
    this.#servers = servers;
    // The last to stop: draining is to be watched, and the kubelet not to lose patience.
    this.#started.unshift({ name: 'status servers', stop: () => servers.stop() });
    await servers.start();
  }
}

interface ReconcilerAndListeners {
  readonly reconciler: Reconciler;
  readonly listeners: ListenerSet;
}

/** Rule U3: before its first reply a flow is not kept longer than after it. */
function engineOptions(options: Options): EngineOptions {
  return {
    ...defaultEngineOptions,
    dialTimeoutMs: options.dialTimeoutMs,
    dialAttempts: options.dialAttempts,
    halfCloseTimeoutMs: options.halfCloseTimeoutMs,
    tcpIdleTimeoutMs: options.tcpIdleTimeoutMs,
    udpUnrepliedTimeoutMs: Math.min(defaultEngineOptions.udpUnrepliedTimeoutMs, options.udpTimeoutMs),
    udpTimeoutMs: options.udpTimeoutMs,
    maxConnections: options.maxConnections,
    maxConnectionsPerListener: options.maxConnectionsPerListener,
    ioUring: options.ioUring === 'auto',
    records: options.accessLog !== undefined,
  };
}

async function formerPorts(redirector: Redirector): Promise<ReadonlyMap<FrontendKey, FormerPorts>> {
  const found = await redirector.existing();
  const portOf = (action: RedirectAction | undefined) => (action?.kind === 'listener' ? action.port : undefined);
  const entries = found.map(({ frontend, action, insideAction }) => {
    return [frontendKey(frontend), { port: portOf(action), insidePort: portOf(insideAction) }] as const;
  });
  return new Map(entries);
}
