/**
 * Owns one TCP connection from accept to its end: both sockets, and which backends were tried.
 *
 *   start -> pick -> dial -> (failed: pick another) -> relay both ways -> FIN, FIN | RST | silence -> ended
 *
 * Closes `client` and the backend's socket on every path; calls `ended` of its listener once, when both are closed.
 */
import type { Socket } from 'node:net';
import type { Balancer } from '../../balance/balancer.js';
import type { Target } from '../../balance/target.js';
import { hostPort } from '../../config/address.js';
import { servicePortKey } from '../../model/service-port.js';
import type { Counters } from '../counters.js';
import type { ConnectionRecord, ListenerSpec, Outcome } from '../engine.js';
import { type EngineContext, isLocalFault, isOutOfDescriptors } from './context.js';
import { dial } from './dial.js';
import { afterFin, finish, reset, resetAfterWrites } from './sockets.js';

/** What a connection needs of its listener. */
export interface ConnectionOwner {
  readonly spec: ListenerSpec;
  readonly context: EngineContext;
  readonly balancer: Balancer;
  readonly counters: Counters;
  ended(connection: Connection): void;
}

/** A peer that reads nothing may hold up the RST that is behind its bytes for this long. */
const RESET_LINGER_MS = 5_000;

export class Connection {
  readonly #client: Socket;
  readonly #owner: ConnectionOwner;
  readonly #startMs: number;
  /** `address:port`, for the record alone: it cannot be asked for once the socket is closed. */
  readonly #clientName: string;
  readonly #tried: Target[] = [];
  #attempts = 0;
  /** The backend reached. */
  #target: Target | undefined;
  #abortDial: (() => void) | undefined;
  #backend: Socket | undefined;
  /** Sockets not yet closed. */
  #open = 1;
  #bytesUp = 0;
  #bytesDown = 0;
  #outcome: Outcome | undefined;
  #finSeen = false;
  #resetting = false;
  /** A byte or FIN passed since the last sweep. */
  #moved = true;
  #silentSinceMs = 0;

  constructor(owner: ConnectionOwner, client: Socket) {
    this.#owner = owner;
    this.#client = client;
    this.#startMs = owner.context.clock.nowMs();
    this.#clientName = owner.context.options.records ? nameOf(client) : '';
    client.on('error', () => this.#failed(client, this.#backend === undefined ? 'client-aborted' : 'client-reset'));
    client.on('close', () => this.#closed());
  }

  get outcome(): Outcome {
    return this.#outcome ?? 'closed';
  }

  record(listenerPort: number): ConnectionRecord {
    const { context, spec } = this.#owner;
    const durationMs = context.clock.nowMs() - this.#startMs;
    return {
      startedAt: Math.round(Date.now() - durationMs),
      durationMs,
      servicePort: spec.servicePort,
      client: this.#clientName,
      listener: hostPort(spec.host, listenerPort),
      backend: this.#target?.key ?? '',
      bytesUp: this.#bytesUp,
      bytesDown: this.#bytesDown,
      attempts: this.#attempts,
      outcome: this.outcome,
    };
  }

  /** The client's bytes wait in its socket until a backend is reached (rule T2): it is paused. */
  start(): void {
    const { balancer, context, counters } = this.#owner;
    const { dialAttempts, dialTimeoutMs } = context.options;
    // Asked for only where it matters: it is a system call.
    const clientIp = balancer.affinity === undefined ? undefined : this.#client.remoteAddress;
    const target = this.#attempts < dialAttempts ? balancer.pick(clientIp, this.#tried) : undefined;
    if (target === undefined) {
      this.#log('warn', 'no backend could be reached, the client is reset', {});
      this.end('dial-failed');
      return;
    }
    this.#attempts += 1;
    if (this.#attempts > 1) counters.dialRetries += 1;
    this.#abortDial = dial(target.backend, dialTimeoutMs, {
      connected: (socket) => this.#dialled(target, socket),
      failed: (code) => this.#dialFailed(target, code),
    });
  }

  /** Resets both sides; the first reason given counts. */
  end(outcome: Outcome): void {
    this.#outcome ??= outcome;
    this.#abortDial?.();
    this.#abortDial = undefined;
    if (this.#backend !== undefined) reset(this.#backend);
    reset(this.#client);
  }

  sweep(nowMs: number): void {
    if (this.#moved) {
      this.#moved = false;
      this.#silentSinceMs = nowMs;
    }
    if (this.#backend === undefined) return;
    const { halfCloseTimeoutMs, tcpIdleTimeoutMs } = this.#owner.context.options;
    const over = (timeoutMs: number): boolean => timeoutMs > 0 && nowMs - this.#silentSinceMs >= timeoutMs;
    if (this.#resetting && over(RESET_LINGER_MS)) this.end('closed');
    else if (this.#finSeen && over(halfCloseTimeoutMs)) this.end('half-close-timeout');
    else if (over(tcpIdleTimeoutMs)) this.end('idle-timeout');
  }

  #dialFailed(target: Target, code: string): void {
    const { balancer, context, counters } = this.#owner;
    this.#abortDial = undefined;
    counters.dialFailures += 1;
    this.#log('debug', 'dial failed', { backend: target.key, code, attempt: this.#attempts });
    if (isOutOfDescriptors(code)) context.outOfDescriptors();
    if (!isLocalFault(code)) balancer.failed(target);
    this.#tried.push(target);
    this.start();
  }

  #dialled(target: Target, backend: Socket): void {
    this.#abortDial = undefined;
    this.#owner.balancer.succeeded(target);
    this.#target = target;
    this.#backend = backend;
    this.#open += 1;
    this.#moved = true;
    backend.on('error', () => this.#failed(backend, 'backend-reset'));
    backend.on('close', () => this.#closed());
    this.#relay(this.#client, backend, (bytes) => {
      this.#bytesUp += bytes;
      this.#owner.counters.bytesUp += bytes;
    });
    this.#relay(backend, this.#client, (bytes) => {
      this.#bytesDown += bytes;
      this.#owner.counters.bytesDown += bytes;
    });
    this.#client.resume();
  }

  /** One direction, to its FIN. A slow reader pauses the writer: at most two high-water marks are held (rule T5). */
  #relay(from: Socket, to: Socket, count: (bytes: number) => void): void {
    from.on('data', (chunk: Buffer) => {
      this.#moved = true;
      count(chunk.length);
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => {
      this.#moved = true;
      if (!this.#resetting) from.resume();
    });
    from.on('end', () =>
      afterFin(from, () => {
        this.#moved = true;
        this.#finSeen = true;
        finish(to);
      }),
    );
  }

  /** A socket failed, mostly by RST: the other side learns it by RST too (rule T4), after the bytes that came before. */
  #failed(socket: Socket, outcome: Outcome): void {
    this.#outcome ??= outcome;
    this.#abortDial?.();
    this.#abortDial = undefined;
    const other = socket === this.#client ? this.#backend : this.#client;
    if (other === undefined || this.#resetting) return;
    this.#resetting = true;
    this.#moved = true;
    other.pause();
    resetAfterWrites(other);
  }

  #closed(): void {
    this.#open -= 1;
    if (this.#open === 0) this.#owner.ended(this);
  }

  #log(level: 'debug' | 'warn', message: string, fields: Record<string, unknown>): void {
    const { context, spec } = this.#owner;
    context.events.log(level, message, {
      servicePort: servicePortKey(spec.servicePort),
      client: nameOf(this.#client),
      ...fields,
    });
  }
}

function nameOf({ remoteAddress = '?', remotePort = 0 }: Socket): string {
  return hostPort(remoteAddress, remotePort);
}
