/**
 * Owns the health check node ports of load-balancer Services with policy Local (rule H1). Modelled on kubernetes
 * pkg/proxy/healthcheck/service_health.go; the body is the same to the byte.
 *
 *   reconciler -> update(Service, check) -> one HttpServer for each address -> 200 with local endpoints, 503 without
 *
 * A port in use is reported and tried again (rule C3).
 */
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../config/log.js';
import type { ObjectKey } from '../model/objects.js';
import type { PlannedHealthCheck } from '../plan/service-plan.js';
import { HttpServer, type Reply } from './http-server.js';

export interface HealthChecksOptions {
  /** Whether this proxy serves what it was told to (rule H2, without the Node). */
  readonly isHealthy: () => boolean;
  readonly log: Log;
  readonly retryMs?: number;
}

interface Check {
  asked: PlannedHealthCheck;
  readonly servers: readonly HttpServer[];
}

export class HealthChecks {
  readonly #options: HealthChecksOptions;
  readonly #checks = new Map<ObjectKey, Check>();
  /** Ports are given up and taken one after the other: a Service may get the one that another has just left. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: HealthChecksOptions) {
    this.#options = options;
  }

  /** What a Service's load balancer is to be told from now on; undefined: it has none (any more). */
  update(service: ObjectKey, check: PlannedHealthCheck | undefined): void {
    const known = this.#checks.get(service);
    if (known !== undefined && check !== undefined && isSamePlace(known.asked, check)) {
      known.asked = check;
      return;
    }
    if (known !== undefined) this.#close(service, known);
    if (check !== undefined) this.#open(service, check);
  }

  /** Resolves when every port is open or closed as the last `update` said. */
  async settled(): Promise<void> {
    await this.#last;
  }

  async stop(): Promise<void> {
    for (const [service, check] of this.#checks) this.#close(service, check);
    await this.#last;
  }

  #open(service: ObjectKey, asked: PlannedHealthCheck): void {
    const { log, retryMs } = this.#options;
    const pages = { '*': () => this.#reply(service) };
    const servers = asked.hosts.map((host) => {
      const at = { host, port: asked.port };
      const name = `health check of ${service}`;
      const more = retryMs === undefined ? {} : { retryMs };
      return new HttpServer({ name, at, pages, hardFail: false, ipv6Only: true, log, ...more });
    });
    this.#checks.set(service, { asked, servers });
    this.#inTurn(servers.map((server) => () => server.start()));
  }

  #close(service: ObjectKey, { servers }: Check): void {
    this.#checks.delete(service);
    this.#inTurn(servers.map((server) => () => server.stop()));
  }

  #inTurn(work: readonly (() => Promise<void>)[]): void {
    this.#last = this.#last.then(() => Promise.all(work.map((one) => one())));
  }

  #reply(service: ObjectKey): Reply {
    const localEndpoints = this.#checks.get(service)?.asked.localEndpoints ?? 0;
    const healthy = this.#options.isHealthy();
    const [namespace, name] = service.split('/');
    return {
      status: localEndpoints > 0 && healthy ? 200 : 503,
      contentType: 'application/json',
      headers: { 'X-Load-Balancing-Endpoint-Weight': String(localEndpoints) },
      body: JSON.stringify({ service: { namespace, name }, localEndpoints, serviceProxyHealthy: healthy }, null, '\t'),
    };
  }
}

function isSamePlace(a: PlannedHealthCheck, b: PlannedHealthCheck): boolean {
  return a.port === b.port && isDeepStrictEqual(a.hosts, b.hosts);
}
