/**
 * Owns keeping the store as the API server says: which resources are followed, and when their first lists are in (rule Y1).
 *
 *   loadAccess -> ApiClient -> Reflectors: Services, EndpointSlices (or Endpoints), our Node -> ObjectStore -> markSynced
 */

import type { Log } from '../../config/log.js';
import type { KubeEvent } from '../../model/event.js';
import { SourceError } from '../source-error.js';
import type { ObjectStore } from '../store.js';
import { loadAccess } from './access.js';
import { ApiClient } from './api-client.js';
import type { AccessSettings } from './choose-access.js';
import { EventWriter } from './event-writer.js';
import { Reflector } from './reflector.js';
import type { Resource } from './resource.js';
import * as resources from './resource.js';
import { StoreMirror } from './store-mirror.js';
import { realTimers, type Timers } from './timers.js';

export interface ApiSourceOptions {
  readonly access: AccessSettings;
  readonly nodeName: string;
  readonly serviceProxyName: string | undefined;
  readonly qps: number;
  readonly burst: number;
  readonly store: ObjectStore;
  readonly log: Log;
  readonly timers?: Timers;
  /** As Math.random. */
  readonly random?: () => number;
}

/** One resource that is followed. */
interface Followed {
  readonly reflector: Reflector;
  readonly mirror: StoreMirror;
  isListed: boolean;
}

type Role = 'services' | 'slices' | 'endpoints' | 'node';

export class ApiSource {
  readonly #options: ApiSourceOptions;
  readonly #followed = new Map<Role, Followed>();
  #client: ApiClient | undefined;
  #events: EventWriter | undefined;
  #isStopped = false;
  /** A fall-back on its way out. */
  #ending: Promise<void> = Promise.resolve();

  constructor(options: ApiSourceOptions) {
    this.#options = options;
  }

  /** Writes an Event when there is time for it; nothing before `start`. */
  writeEvent(event: KubeEvent): void {
    this.#events?.write(event);
  }

  /**
   * Resolves when the server is being asked, not when it has answered: that may take for ever, and is tried for ever. Rejects
   * with SourceError BAD_CONFIG where it is not said how to reach it, or with what credentials.
   */
  async start(): Promise<void> {
    const { log, store, nodeName, serviceProxyName, timers = realTimers } = this.#options;
    if (serviceProxyName !== undefined && !/^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/.test(serviceProxyName)) {
      throw new SourceError(
        'BAD_CONFIG',
        `--service-proxy-name: ${JSON.stringify(serviceProxyName)}: expected a label value`,
      );
    }
    const client = await this.#connect();
    if (this.#isStopped) return client.stop();
    this.#client = client;
    this.#events = new EventWriter({ client, nodeName, timers, log });
    this.#follow('node', resources.ownNode(nodeName), () => {
      if (store.node(nodeName) === undefined) log.warn('the API server has no Node of our name', { node: nodeName });
    });
    this.#follow('services', resources.services(serviceProxyName));
    this.#follow('slices', resources.endpointSlices(serviceProxyName), () => this.#endFallback());
  }

  /** Lists everything anew. */
  async reload(): Promise<void> {
    for (const { reflector } of this.#followed.values()) reflector.relist();
  }

  /** Breaks off what is under way; the store stays as it is. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#followed.values()].map(({ reflector }) => reflector.stop()));
    await this.#events?.stop();
    await this.#ending;
    this.#client?.stop();
  }

  async #connect(): Promise<ApiClient> {
    const { log, qps, burst, timers = realTimers } = this.#options;
    const access = await loadAccess(this.#options.access);
    const client = new ApiClient({ access, qps, burst, timers, log });
    const server = access.server.href;
    log.info('objects come from the API server', { server, config: access.origin, user: access.user.name });
    if (access.cluster.skipTLSVerify)
      log.warn('the API server is trusted unseen: insecure-skip-tls-verify', { server });
    return client;
  }

  #follow(role: Role, resource: Resource, onListed?: () => void): void {
    const { store, log, timers = realTimers, random } = this.#options;
    const client = this.#client;
    if (client === undefined || this.#isStopped || this.#followed.has(role)) return;
    const mirror = new StoreMirror({ kind: resource.kind, store, log });
    const reflector = new Reflector({
      client,
      resource,
      mirror,
      timers,
      log,
      random,
      onListed: () => {
        followed.isListed = true;
        onListed?.();
        this.#checkSynced();
      },
      onNotServed: () => {
        if (role === 'slices') this.#fallBack();
      },
    });
    const followed: Followed = { reflector, mirror, isListed: false };
    this.#followed.set(role, followed);
    reflector.start();
  }

  /** Rule S3: Endpoints where there are no slices; what was known of slices goes when the Endpoints have come. */
  #fallBack(): void {
    this.#follow('endpoints', resources.endpoints(this.#options.serviceProxyName), () => {
      this.#followed.get('slices')?.mirror.clear();
    });
  }

  /** There are slices after all. */
  #endFallback(): void {
    const fallback = this.#followed.get('endpoints');
    if (fallback === undefined) return;
    this.#followed.delete('endpoints');
    this.#ending = fallback.reflector.stop().then(() => fallback.mirror.clear());
  }

  #checkSynced(): void {
    const isListed = (role: Role) => this.#followed.get(role)?.isListed === true;
    if (isListed('services') && (isListed('slices') || isListed('endpoints'))) this.#options.store.markSynced();
  }
}
