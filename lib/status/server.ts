/**
 * Owns the two status servers, with kube-proxy's addresses and paths (rules H2, H3).
 *
 *   0.0.0.0:10256    /healthz /livez                                        load balancers, the kubelet
 *   127.0.0.1:10249  /metrics /healthz /livez /proxyMode /configz /status   Prometheus, `kproxy-us status`
 */
import type { Log } from '../config/log.js';
import type { HostPort } from '../config/options.js';
import type { Health, HealthReply } from './health.js';
import { HttpServer, json, type Page, text } from './http-server.js';
import { Metrics } from './metrics.js';
import { createReport } from './report.js';
import type { StatusSources } from './sources.js';

export class StatusServers {
  readonly #servers: readonly { readonly name: 'healthz' | 'metrics'; readonly server: HttpServer }[];

  constructor(sources: StatusSources, health: Health, log: Log) {
    const { healthzBindAddress, metricsBindAddress, bindAddressHardFail: hardFail } = sources.options;
    const servers: { name: 'healthz' | 'metrics'; server: HttpServer }[] = [];
    const add = (name: 'healthz' | 'metrics', at: HostPort, pages: Readonly<Record<string, Page>>) =>
      servers.push({ name, server: new HttpServer({ name, at, pages, hardFail, log }) });
    if (healthzBindAddress !== undefined) add('healthz', healthzBindAddress, healthPages(health));
    if (metricsBindAddress !== undefined) {
      add('metrics', metricsBindAddress, { ...healthPages(health), ...statusPages(sources, health) });
    }
    this.#servers = servers;
  }

  /** Resolves when each listens or has failed once. Rejects only with `bindAddressHardFail`. */
  async start(): Promise<void> {
    await Promise.all(this.#servers.map(({ server }) => server.start()));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map(({ server }) => server.stop()));
  }

  /** Where a server listens; undefined where it is off or does not yet. */
  addressOf(name: 'healthz' | 'metrics'): HostPort | undefined {
    return this.#servers.find((one) => one.name === name)?.server.address;
  }
}

function healthPages(health: Health): Readonly<Record<string, Page>> {
  const reply = ({ status, body }: HealthReply) => json(status, body);
  return { '/healthz': () => reply(health.replyHealthz()), '/livez': () => reply(health.replyLivez()) };
}

function statusPages(sources: StatusSources, health: Health): Readonly<Record<string, Page>> {
  const metrics = new Metrics(sources, health);
  return {
    '/metrics': async () => ({ status: 200, contentType: metrics.contentType, body: await metrics.scrape() }),
    '/proxyMode': () => text(200, 'userspace'),
    '/configz': () => json(200, JSON.stringify({ 'kubeproxy.config.k8s.io': sources.options })),
    '/status': async () => json(200, JSON.stringify(await createReport(sources, health))),
  };
}
