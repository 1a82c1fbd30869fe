/**
 * Owns one UDP flow: the datagrams of one client, through a connected socket of its own, to one backend (rule U1).
 *
 *   send -> upstream -> backend
 *   client <- owner.reply <- upstream
 *   ECONNREFUSED -> pick another -> send again what had no answer (rule U4)
 *
 * Closes its upstream on every path, and calls `ended` of its listener once.
 */
import type { Socket } from 'node:dgram';
import type { Balancer } from '../../balance/balancer.js';
import type { Target } from '../../balance/target.js';
import { hostPort, type Ip } from '../../config/address.js';
import { servicePortKey } from '../../model/service-port.js';
import type { Counters } from '../counters.js';
import type { ListenerSpec } from '../engine.js';
import { codeOf, type EngineContext, isLocalFault, isOutOfDescriptors } from './context.js';
import { connectUdp, hasRoom } from './datagram.js';

/** Who sends, and through which socket of ours the replies go. */
export interface FlowClient {
  readonly key: string;
  readonly address: Ip;
  readonly port: number;
  readonly local: Socket;
}

/** What a flow needs of its listener. */
export interface FlowOwner {
  readonly spec: ListenerSpec;
  readonly context: EngineContext;
  readonly balancer: Balancer;
  readonly counters: Counters;
  /** Makes the flow the last one to end for idleness. */
  touch(flow: UdpFlow): void;
  ended(flow: UdpFlow): void;
}

/** Datagrams kept for sending again, or while the upstream is not ready: resolvers send A and AAAA at once. */
const MAX_KEPT = 16;
/** By all flows of the engine; beyond it a refused datagram is lost, as it would be on any network. */
const MAX_KEPT_BYTES = 16 * 1024 * 1024;

export class UdpFlow {
  lastUseMs = 0;
  replied = false;
  target: Target | undefined;
  readonly #owner: FlowOwner;
  readonly #tried: Target[] = [];
  #upstream: Socket | undefined;
  #ready = false;
  /** Sent, or to be sent, and without an answer. */
  #kept: Buffer[] = [];
  #over = false;

  constructor(
    owner: FlowOwner,
    readonly client: FlowClient,
  ) {
    this.#owner = owner;
  }

  /** From the client. */
  send(datagram: Buffer): void {
    this.#owner.touch(this);
    if (this.#ready) this.#sendUp(datagram);
    this.#keep(datagram);
    if (this.#upstream === undefined) this.#connect();
  }

  /** Ends it at once; what waits is lost. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    if (!this.#ready) this.#owner.counters.datagramsDropped += this.#kept.length;
    this.#forget();
    this.#disconnect();
    this.#owner.ended(this);
  }

  #connect(): void {
    const { balancer, context, counters } = this.#owner;
    const target =
      this.#tried.length < context.options.dialAttempts ? balancer.pick(this.client.address, this.#tried) : undefined;
    if (target === undefined) {
      this.#ready = false;
      this.end();
      return;
    }
    if (this.#tried.length > 0) counters.dialRetries += 1;
    this.target = target;
    const upstream = connectUdp(target.backend, (error) => this.#connected(upstream, error));
    this.#upstream = upstream;
  }

  #connected(upstream: Socket, error: Error | undefined): void {
    if (upstream !== this.#upstream) return;
    const failed = (failure: Error | null): void => {
      if (failure !== null && upstream === this.#upstream) this.#failed(failure);
    };
    upstream.on('error', failed);
    if (error !== undefined) {
      this.#failed(error);
      return;
    }
    upstream.on('message', (reply) => this.#reply(reply));
    this.#sent = failed;
    this.#ready = true;
    for (const datagram of this.#kept) this.#sendUp(datagram);
    if (this.#owner.context.kept.bytes > MAX_KEPT_BYTES) this.#forget();
  }

  /** One function for all datagrams of an upstream. */
  #sent: (failure: Error | null) => void = () => undefined;

  #sendUp(datagram: Buffer): void {
    if (this.#upstream === undefined || !hasRoom(this.#upstream)) this.#owner.counters.datagramsDropped += 1;
    else this.#upstream.send(datagram, this.#sent);
  }

  #reply(datagram: Buffer): void {
    const { balancer, counters } = this.#owner;
    const { local, port, address } = this.client;
    this.replied = true;
    this.#owner.touch(this);
    this.#forget();
    this.#tried.length = 0;
    if (this.target !== undefined) balancer.succeeded(this.target);
    if (!hasRoom(local)) {
      counters.datagramsDropped += 1;
      return;
    }
    counters.datagramsDown += 1;
    counters.bytesDown += datagram.length;
    local.send(datagram, port, address, (failure) => {
      if (failure !== null) counters.datagramsDropped += 1;
    });
  }

  /** The backend refuses, or it cannot be reached: another one gets what has had no answer. */
  #failed(error: Error): void {
    const { balancer, context, counters, spec } = this.#owner;
    const code = codeOf(error);
    // Too large for the path: a fault of this datagram alone.
    if (code === 'EMSGSIZE' || this.target === undefined) {
      counters.datagramsDropped += 1;
      return;
    }
    counters.dialFailures += 1;
    const fields = {
      servicePort: servicePortKey(spec.servicePort),
      client: hostPort(this.client.address, this.client.port),
    };
    context.events.log('debug', 'flow failed', { ...fields, backend: this.target.key, code });
    if (isOutOfDescriptors(code)) context.outOfDescriptors();
    if (!isLocalFault(code)) balancer.failed(this.target);
    this.#tried.push(this.target);
    this.#disconnect();
    this.#connect();
  }

  #disconnect(): void {
    this.#ready = false;
    this.#upstream?.close();
    this.#upstream = undefined;
  }

  #keep(datagram: Buffer): void {
    const { context, counters } = this.#owner;
    if (this.#ready && context.kept.bytes + datagram.length > MAX_KEPT_BYTES) return;
    this.#kept.push(datagram);
    context.kept.bytes += datagram.length;
    if (this.#kept.length <= MAX_KEPT) return;
    context.kept.bytes -= this.#kept.shift()?.length ?? 0;
    if (!this.#ready) counters.datagramsDropped += 1;
  }

  #forget(): void {
    if (this.#kept.length === 0) return;
    for (const { length } of this.#kept) this.#owner.context.kept.bytes -= length;
    this.#kept = [];
  }
}
