/**
 * Owns one listener of a relay thread: its socket while it has one, its balancer, and its counters.
 *
 *   engine -> listen, rest, retire -> socket -> loop -> tcp-relay (accept) | udp-relay (receive)
 */
import type { Balancer } from '../../balance/balancer.js';
import { hostPort } from '../../config/address.js';
import { type ServicePortKey, servicePortKey } from '../../model/service-port.js';
import { SystemError } from '../../sys/errors.js';
import { close } from '../../sys/libc.js';
import { localPort } from '../../sys/socket.js';
import { ListenError, type ListenerSpec, type ListenerStats, OUTCOMES, type Outcome } from '../engine.js';

export class Listener {
  readonly servicePort: ServicePortKey;
  /** -1 while it does not listen. */
  fd = -1;
  /** Chosen by the kernel at the first listen where the spec says 0, and kept from then on. */
  port: number;
  /** Removed from the engine; its connections drain. */
  gone = false;

  active = 0;
  total = 0;
  /** Of ended connections; those of open ones are with the connections. */
  bytesUp = 0;
  bytesDown = 0;
  datagramsUp = 0;
  datagramsDown = 0;
  datagramsDropped = 0;
  dialFailures = 0;
  dialRetries = 0;
  /** By place in `OUTCOMES`; empty until the first connection ends: most listeners never see one. */
  readonly outcomes: number[] = [];

  /** `index` is its id in the loop; `generation` is counted up when its socket is closed. */
  generation = 0;

  constructor(
    readonly spec: ListenerSpec,
    readonly index: number,
    readonly balancer: Balancer,
    private readonly openSocket: (spec: ListenerSpec, port: number) => number,
  ) {
    this.servicePort = servicePortKey(spec.servicePort);
    this.port = spec.port;
  }

  get listening(): boolean {
    return this.fd >= 0;
  }

  /** Opens the socket. Throws `ListenError`, and stays as it was. */
  listen(): void {
    let fd = -1;
    try {
      fd = this.openSocket(this.spec, this.port);
      this.port = localPort(fd);
      this.fd = fd;
    } catch (error) {
      if (fd >= 0) close(fd);
      if (!(error instanceof SystemError)) throw error;
      const { host, servicePort } = this.spec;
      throw new ListenError(error.code, `cannot listen on ${hostPort(host, this.port)}/${servicePort.protocol}`, {
        cause: error,
      });
    }
  }

  /** Closes the socket: clients are refused by the kernel (rule E5). */
  rest(): void {
    if (this.fd < 0) return;
    close(this.fd);
    this.fd = -1;
    this.generation += 1;
  }

  /** `upLive` and `downLive` are the bytes of connections that are still open. */
  stats(upLive: number, downLive: number): ListenerStats {
    const outcomes: Partial<Record<Outcome, number>> = {};
    OUTCOMES.forEach((outcome, index) => {
      const count = this.outcomes[index] ?? 0;
      if (count > 0) outcomes[outcome] = count;
    });
    return {
      key: this.spec.key,
      servicePort: this.spec.servicePort,
      listening: this.listening,
      port: this.port,
      active: this.active,
      total: this.total,
      outcomes,
      bytesUp: this.bytesUp + upLive,
      bytesDown: this.bytesDown + downLive,
      datagramsUp: this.datagramsUp,
      datagramsDown: this.datagramsDown,
      datagramsDropped: this.datagramsDropped,
      dialFailures: this.dialFailures,
      dialRetries: this.dialRetries,
      ejections: this.balancer.ejections,
    };
  }
}
