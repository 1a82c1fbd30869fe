/**
 * Owns one UDP listener: a socket for each address it is dialled at, and its flows.
 *
 *   datagram -> flow of (client, our address) -> UdpFlow -> backend
 *
 * `0.0.0.0` and `::` mean every address that the machine lists, one socket each, so that a reply goes out from the address that
 * was dialled (rule U1). A local address that is not listed (127.0.0.2, an AnyIP route) is refused: a socket bound to the
 * wildcard would take its datagrams too, but answer them from an address of the kernel's choice.
 */
import type { Socket } from 'node:dgram';
import { Balancer } from '../../balance/balancer.js';
import { familyOf } from '../../config/address.js';
import type { Backends } from '../../model/backend.js';
import { servicePortKey } from '../../model/service-port.js';
import { Counters } from '../counters.js';
import { type Bound, ListenError, type ListenerSpec, type ListenerStats } from '../engine.js';
import type { EngineContext, PortableListener } from './context.js';
import { bindUdp } from './datagram.js';
import { UdpFlow } from './udp-flow.js';

/** A port the kernel chose on one address may be taken on the next one. */
const PORT_CHOICES = 16;
/** With no descriptor left, flows idle for this long make room (rule T8). */
const SHED_IDLE_MS = 1_000;

export class UdpListener implements PortableListener {
  readonly connections = 0;
  readonly balancer: Balancer;
  readonly counters = new Counters();
  /** By our address. */
  readonly #sockets = new Map<string, Socket>();
  /** Longest idle first. */
  readonly #flows = new Map<string, UdpFlow>();
  readonly #unbindable = new Set<string>();
  #port: number;
  #unfollow: (() => void) | undefined;

  constructor(
    readonly context: EngineContext,
    readonly spec: ListenerSpec,
  ) {
    this.#port = spec.port;
    this.balancer = new Balancer({ backends: [], clock: context.clock });
  }

  async setBackends(backends: Backends): Promise<Bound> {
    const left = this.balancer.replace(backends);
    if (left.length > 0) this.#endFlows((flow) => flow.target !== undefined && left.includes(flow.target));
    if (this.balancer.size === 0) this.#unlisten();
    else if (this.#sockets.size === 0) this.#listen();
    return { port: this.#port };
  }

  setAffinity(affinityTimeoutMs: number | undefined): void {
    this.balancer.affinity = this.context.affinities.table(servicePortKey(this.spec.servicePort), affinityTimeoutMs);
  }

  #listen(): void {
    const { host } = this.spec;
    const wildcard = host === '0.0.0.0' || host === '::';
    for (let choice = 1; this.#sockets.size === 0; choice++) {
      try {
        for (const address of wildcard ? this.context.localAddresses.of(familyOf(host)) : [host])
          this.#bind(address, wildcard);
        if (this.#sockets.size === 0) throw new ListenError('EADDRNOTAVAIL', `no address to listen on for ${host}/UDP`);
      } catch (error) {
        for (const address of this.#sockets.keys()) this.#unbind(address);
        const again = this.spec.port === 0 && error instanceof ListenError && error.code === 'EADDRINUSE';
        if (!again || choice === PORT_CHOICES) throw error;
        this.#port = 0;
      }
    }
    if (wildcard) this.#unfollow ??= this.context.localAddresses.subscribe(() => this.#follow());
  }

  /** Where an address may be missing, one that is not ready (IPv6 duplicate detection) is left for the next look. */
  #bind(address: string, mayMiss: boolean): void {
    let socket: Socket;
    try {
      socket = bindUdp(address, this.#port);
    } catch (error) {
      if (mayMiss && error instanceof ListenError && error.code === 'EADDRNOTAVAIL') return;
      throw error;
    }
    this.#port = socket.address().port;
    this.#sockets.set(address, socket);
    socket.on('error', (error) => this.#log('UDP socket failed', { address, err: error }));
    socket.on('message', (datagram, from) => this.#receive(address, socket, datagram, from));
  }

  #unbind(address: string): void {
    this.#sockets.get(address)?.close();
    this.#sockets.delete(address);
  }

  /** The addresses of the machine may have changed. */
  #follow(): void {
    const now = new Set(this.context.localAddresses.of(familyOf(this.spec.host)));
    for (const [address, socket] of this.#sockets) {
      if (now.has(address)) continue;
      this.#endFlows((flow) => flow.client.local === socket);
      this.#unbind(address);
    }
    for (const address of this.#unbindable) if (!now.has(address)) this.#unbindable.delete(address);
    for (const address of now) {
      if (this.#sockets.has(address)) continue;
      try {
        this.#bind(address, true);
        this.#unbindable.delete(address);
      } catch (error) {
        if (!this.#unbindable.has(address)) this.#log('cannot listen on a new address', { address, err: error });
        this.#unbindable.add(address);
      }
    }
  }

  #receive(
    local: string,
    socket: Socket,
    datagram: Buffer,
    from: { readonly address: string; readonly port: number },
  ): void {
    const key = `${local} ${from.address} ${from.port}`;
    const flow = this.#flows.get(key) ?? this.#begin(key, socket, from);
    this.counters.datagramsUp += 1;
    this.counters.bytesUp += datagram.length;
    flow.send(datagram);
  }

  #begin(key: string, local: Socket, from: { readonly address: string; readonly port: number }): UdpFlow {
    if (this.#flows.size >= this.context.options.maxUdpFlows) {
      for (const oldest of this.#flows.values()) {
        oldest.end();
        break;
      }
    }
    this.counters.total += 1;
    this.counters.active += 1;
    return new UdpFlow(this, { key, local, address: from.address, port: from.port });
  }

  touch(flow: UdpFlow): void {
    flow.lastUseMs = this.context.clock.nowMs();
    this.#flows.delete(flow.client.key);
    this.#flows.set(flow.client.key, flow);
  }

  ended(flow: UdpFlow): void {
    this.#flows.delete(flow.client.key);
    this.counters.active -= 1;
  }

  sweep(nowMs: number): void {
    const { udpTimeoutMs, udpUnrepliedTimeoutMs } = this.context.options;
    const least = Math.min(udpTimeoutMs, udpUnrepliedTimeoutMs);
    for (const flow of this.#flows.values()) {
      const idleMs = nowMs - flow.lastUseMs;
      if (idleMs < least) return;
      if (idleMs >= (flow.replied ? udpTimeoutMs : udpUnrepliedTimeoutMs)) flow.end();
    }
  }

  shed(nowMs: number): void {
    for (const flow of this.#flows.values()) {
      if (nowMs - flow.lastUseMs < SHED_IDLE_MS) return;
      flow.end();
    }
  }

  async close(): Promise<void> {
    this.#unlisten();
  }

  whenEmpty(callback: () => void): void {
    callback();
  }

  /** The kernel refuses from here on (rule E5). Flows have no meaning without the socket that answers. */
  #unlisten(): void {
    this.#unfollow?.();
    this.#unfollow = undefined;
    this.#endFlows(() => true);
    for (const address of this.#sockets.keys()) this.#unbind(address);
  }

  #endFlows(which: (flow: UdpFlow) => boolean): void {
    for (const flow of this.#flows.values()) if (which(flow)) flow.end();
  }

  stats(): ListenerStats {
    const listening = this.#sockets.size > 0;
    return this.counters.stats(this.spec, { listening, port: this.#port, ejections: this.balancer.ejections });
  }

  #log(message: string, fields: Record<string, unknown>): void {
    this.context.events.log('warn', message, { servicePort: servicePortKey(this.spec.servicePort), ...fields });
  }
}
