/**
 * Owns one TCP listener: its server, which comes and goes with the backends, and the connections it accepted.
 *
 *   setBackends -> listen | unlisten
 *   accept -> Connection -> ended -> record
 */
import { createServer, type Server, type Socket } from 'node:net';
import { Balancer } from '../../balance/balancer.js';
import { hostPort } from '../../config/address.js';
import type { Backends } from '../../model/backend.js';
import { servicePortKey } from '../../model/service-port.js';
import { Counters } from '../counters.js';
import { type Bound, ListenError, type ListenerSpec, type ListenerStats } from '../engine.js';
import { Connection } from './connection.js';
import { codeOf, type EngineContext, isOutOfDescriptors, type PortableListener } from './context.js';
import { HIGH_WATER_BYTES, KEEPALIVE_MS } from './dial.js';

/** The kernel caps it by net.core.somaxconn. */
const BACKLOG = 4_096;

const SOCKET_OPTIONS = {
  allowHalfOpen: true,
  pauseOnConnect: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: KEEPALIVE_MS,
  highWaterMark: HIGH_WATER_BYTES,
} as const;

export class TcpListener implements PortableListener {
  readonly balancer: Balancer;
  readonly counters = new Counters();
  readonly #connections = new Set<Connection>();
  #server: Server | undefined;
  #port: number;
  #drainTimer: NodeJS.Timeout | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(
    readonly context: EngineContext,
    readonly spec: ListenerSpec,
  ) {
    this.#port = spec.port;
    this.balancer = new Balancer({ backends: [], clock: context.clock });
  }

  get connections(): number {
    return this.#connections.size;
  }

  async setBackends(backends: Backends): Promise<Bound> {
    this.balancer.replace(backends);
    if (this.balancer.size === 0) this.#unlisten();
    else if (this.#server === undefined) await this.#listen();
    return { port: this.#port };
  }

  setAffinity(affinityTimeoutMs: number | undefined): void {
    this.balancer.affinity = this.context.affinities.table(servicePortKey(this.spec.servicePort), affinityTimeoutMs);
  }

  async #listen(): Promise<void> {
    const { host } = this.spec;
    const server = createServer(SOCKET_OPTIONS, (client) => this.#accept(client));
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(
          { host, port: this.#port, ipv6Only: host.includes(':'), exclusive: true, backlog: BACKLOG },
          resolve,
        );
      });
    } catch (cause) {
      throw new ListenError(codeOf(cause), `cannot listen on ${hostPort(host, this.#port)}/TCP`, { cause });
    }
    server.removeAllListeners('error');
    server.on('error', (error) => this.#acceptFailed(error));
    const address = server.address();
    if (address !== null && typeof address === 'object') this.#port = address.port;
    this.#server = server;
  }

  /** The kernel refuses from here on (rule E5), and resets those that it has accepted and we have not. */
  #unlisten(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  /** Accepting goes on by itself: libuv accepts and closes where it has no descriptor, so nothing spins (rule T8). */
  #acceptFailed(error: Error): void {
    const code = codeOf(error);
    if (isOutOfDescriptors(code)) this.context.outOfDescriptors();
    else this.context.events.log('warn', 'accept failed', { servicePort: servicePortKey(this.spec.servicePort), code });
  }

  #accept(client: Socket): void {
    const { options, budget } = this.context;
    const connection = new Connection(this, client);
    this.counters.total += 1;
    const full = options.maxConnectionsPerListener > 0 && this.counters.active >= options.maxConnectionsPerListener;
    if (full || !budget.take()) {
      connection.end('refused');
      return;
    }
    this.counters.active += 1;
    this.#connections.add(connection);
    connection.start();
  }

  /** Called by each connection once, also by those refused, which were never counted as active. */
  ended(connection: Connection): void {
    this.counters.ended(connection.outcome);
    if (this.context.options.records) this.context.events.record(connection.record(this.#port));
    if (!this.#connections.delete(connection)) return;
    this.counters.active -= 1;
    this.context.budget.give();
    if (this.#connections.size === 0) this.#empty();
  }

  async close(drainMs: number): Promise<void> {
    this.#unlisten();
    clearTimeout(this.#drainTimer);
    if (drainMs > 0 && this.#connections.size > 0) this.#drainTimer = setTimeout(() => this.#drained(), drainMs);
    else this.#drained();
  }

  whenEmpty(callback: () => void): void {
    this.#onEmpty = callback;
    if (this.#connections.size === 0) this.#empty();
  }

  #drained(): void {
    for (const connection of this.#connections) connection.end('drained');
  }

  #empty(): void {
    clearTimeout(this.#drainTimer);
    this.#onEmpty?.();
    this.#onEmpty = undefined;
  }

  sweep(nowMs: number): void {
    for (const connection of this.#connections) connection.sweep(nowMs);
  }

  shed(): void {}

  stats(): ListenerStats {
    const listening = this.#server !== undefined;
    return this.counters.stats(this.spec, { listening, port: this.#port, ejections: this.balancer.ejections });
  }
}
